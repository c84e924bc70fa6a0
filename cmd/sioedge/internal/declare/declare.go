// Package declare makes applications of declarations: namespaces with parameters,
// whose clients join rooms and relay events by rules that are compiled once, with
// permissions from their tokens, and without a backend.
package declare
