package carried

import (
	"reflect"
	"testing"
)

type older struct {
	Name string `cbor:"1,keyasint,omitempty"`
}

type newer struct {
	Name string            `cbor:"1,keyasint,omitempty"`
	More map[string][]byte `cbor:"2,keyasint,omitempty"`
}

// A server of another version reads what it knows.
func TestFieldsThatAReaderDoesNotKnowAreSkipped(t *testing.T) {
	b, err := Marshal(newer{"n", map[string][]byte{"a": {1}}})
	if err != nil {
		t.Fatal(err)
	}
	var x older
	if err := Unmarshal(b, &x); err != nil || x.Name != "n" {
		t.Errorf("an older one reads %+v, %v", x, err)
	}
	var y, z newer
	if err := Unmarshal(b, &y); err != nil || !reflect.DeepEqual(y, newer{"n", map[string][]byte{"a": {1}}}) {
		t.Errorf("it reads %+v, %v", y, err)
	}
	if b, _ = Marshal(older{"n"}); Unmarshal(b, &z) != nil || z.Name != "n" {
		t.Errorf("a newer one reads %+v", z)
	}
	for n := range b {
		if Unmarshal(b[:n], &x) == nil {
			t.Errorf("%d bytes of %d are read", n, len(b))
		}
	}
	if Unmarshal(append(b, 0), &x) == nil {
		t.Error("something behind it is read")
	}
}
