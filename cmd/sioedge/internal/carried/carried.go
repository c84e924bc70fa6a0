// Package carried is how parts of the server are written for a successor, and read by it:
// CBOR (RFC 8949) with numbers for fields. Fields that a reader does not know are skipped.
package carried

import "github.com/fxamacker/cbor/v2"

// What is read has come from another process: it is bounded, and has a shape.
var dec = must(cbor.DecOptions{DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, MaxNestedLevels: 16, MaxArrayElements: 16 << 20, MaxMapPairs: 16 << 20}.DecMode())

func must[T any](m T, err error) T {
	if err != nil {
		panic(err)
	}
	return m
}

// Marshal encodes v. Its fields have tags such as cbor:"1,keyasint,omitempty". The error is
// that v is of a type that cannot be encoded.
func Marshal(v any) ([]byte, error) { return cbor.Marshal(v) }

// Unmarshal decodes b, all of it, into v, which has its own memory then.
func Unmarshal(b []byte, v any) error { return dec.Unmarshal(b, v) }
