package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sioedge/sioedge/cmd/sioedge/internal/api/wire"
)

type object = map[string]any

// openAPI is the endpoint.
func (c *call) openAPI() (any, error) { return Document(), nil }

// Document returns the OpenAPI document of the API, as JSON: what the table of routes
// and the types of package wire say.
var Document = sync.OnceValue(func() json.RawMessage {
	d := &document{schemas: object{}}
	paths := object{}
	for _, r := range routes {
		at, _ := paths[r.path].(object)
		if at == nil {
			at = object{}
			paths[r.path] = at
		}
		at[strings.ToLower(r.method)] = d.operation(r)
	}
	b, err := json.Marshal(object{
		"openapi": "3.0.3",
		"info": object{"title": "sioedge", "version": "1", "description": "What backends and operators ask of a server of sioedge: on internal.listen, by a key of api.keys. " +
			"A member or a parameter that there is not is an error. Idempotency keys are known to the server that was asked, for five minutes."},
		"servers":  []any{object{"url": "http://127.0.0.1:9000"}},
		"security": []any{object{"bearer": []any{}}, object{"key": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas": d.schemas,
			"securitySchemes": object{
				"bearer": object{"type": "http", "scheme": "bearer"},
				"key":    object{"type": "apiKey", "in": "header", "name": "X-API-Key"},
			},
		},
	})
	if err != nil {
		panic("api: the document cannot be encoded: " + err.Error())
	}
	return b
})

// A document is one while it is made.
type document struct{ schemas object }

// common are the failures that every route has.
var common = []int{400, 401, 403, 429, 500}

func (d *document) operation(r *route) object {
	op := object{"operationId": r.name, "summary": r.doc}
	var params []any
	for _, name := range namesOf(r.path) {
		params = append(params, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range r.params {
		schema := object{"type": string(p.kind)}
		if p.many {
			schema = object{"type": "array", "items": schema}
		}
		params = append(params, object{"name": p.name, "in": "query", "description": p.doc, "schema": schema})
	}
	if params != nil {
		op["parameters"] = params
	}
	statuses := slices.Concat(common, r.statuses)
	if r.body != nil {
		kind := wire.JSON
		if r.stream {
			kind = wire.NDJSON
		}
		op["requestBody"] = object{"required": true, "content": object{kind: object{"schema": d.of(r.body)}}}
		statuses = append(statuses, 413, 415)
	}
	content := object{}
	if r.answer != nil {
		content[wire.JSON] = object{"schema": d.of(r.answer)}
	}
	if r.line != nil {
		content[wire.NDJSON] = object{"schema": d.of(r.line)} // of each line
	}
	responses := object{"200": object{"description": "done", "content": content}}
	for _, status := range statuses {
		responses[strconv.Itoa(status)] = object{
			"description": http.StatusText(status),
			"content":     object{wire.JSON: object{"schema": d.of(wire.Failure{})}},
		}
	}
	op["responses"] = responses
	return op
}

// of returns the schema of a value's type.
func (d *document) of(v any) object {
	if all, ok := v.(oneOf); ok {
		var schemas []any
		for _, x := range all {
			schemas = append(schemas, d.of(x))
		}
		return object{"anyOf": schemas}
	}
	return d.schema(reflect.TypeOf(v))
}

var rawMessage = reflect.TypeFor[json.RawMessage]()

func (d *document) schema(t reflect.Type) object {
	switch {
	case t == rawMessage || t.Kind() == reflect.Interface:
		return object{} // any JSON
	case t.Kind() == reflect.Pointer:
		return d.schema(t.Elem())
	}
	switch t.Kind() {
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		return d.named(t)
	}
	return object{"type": "integer"}
}

// named returns a reference to the schema of a struct, which is made if it is new.
func (d *document) named(t reflect.Type) object {
	if _, made := d.schemas[t.Name()]; !made {
		properties, required := object{}, []string{}
		d.schemas[t.Name()] = nil // it may be within itself
		d.fields(t, properties, &required)
		schema := object{"type": "object", "properties": properties, "additionalProperties": false}
		if len(required) > 0 {
			schema["required"] = required
		}
		d.schemas[t.Name()] = schema
	}
	return object{"$ref": "#/components/schemas/" + t.Name()}
}

func (d *document) fields(t reflect.Type, properties object, required *[]string) {
	for f := range t.Fields() {
		if f.Anonymous {
			d.fields(f.Type, properties, required)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		schema := d.schema(f.Type)
		if doc := f.Tag.Get("doc"); doc != "" {
			if schema["$ref"] != nil { // beside which nothing counts
				schema = object{"allOf": []any{schema}}
			}
			schema["description"] = doc
		}
		properties[name] = schema
		if options == "" {
			*required = append(*required, name)
		}
	}
}
