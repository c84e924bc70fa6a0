// Package totals adds up what loops have counted.
package totals

import (
	"reflect"

	"github.com/sioedge/sioedge/eio"
)

// Departures are sockets that have left, by the reason.
type Departures struct {
	eio.Closes                     // of the connection
	Client, Server, Shutdown int64 // of Socket.IO: see package sio
}

// Count counts one.
func (d *Departures) Count(r eio.Reason) {
	switch r {
	case "client namespace disconnect":
		d.Client++
	case "server namespace disconnect":
		d.Server++
	case "server shutting down":
		d.Shutdown++
	default:
		*d.Closes.Of(r)++
	}
}

// Add adds each int64 in x, a pointer to a struct, to that of the same name in sum,
// another, and so on in structs and arrays within; x has no names that sum lacks. Other
// fields of sum are left as they are. It is for who asks, not for who counts.
func Add(sum, x any) { add(reflect.ValueOf(sum).Elem(), reflect.ValueOf(x).Elem()) }

func add(sum, x reflect.Value) {
	switch x.Kind() {
	case reflect.Int64:
		sum.SetInt(sum.Int() + x.Int())
	case reflect.Array:
		for i := range x.Len() {
			add(sum.Index(i), x.Index(i))
		}
	case reflect.Struct:
		same := x.Type() == sum.Type()
		for i := range x.NumField() {
			if same {
				add(sum.Field(i), x.Field(i))
			} else {
				add(sum.FieldByName(x.Type().Field(i).Name), x.Field(i))
			}
		}
	}
}
