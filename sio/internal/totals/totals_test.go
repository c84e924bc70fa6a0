package totals

import "testing"

func TestAdd(t *testing.T) {
	type inner struct{ A, B int64 }
	type part struct {
		B     int64
		Inner struct{ B int64 }
	}
	type whole struct {
		Name  string
		A, B  int64
		Array [2]int64
		Inner inner
		List  []int64
	}
	w := whole{"w", 1, 2, [2]int64{3, 4}, inner{5, 6}, []int64{7}}
	o := whole{"o", 10, 20, [2]int64{30, 40}, inner{50, 60}, nil}
	Add(&w, &o)
	Add(&w, &part{100, struct{ B int64 }{200}})
	if w.Name != "w" || w.A != 11 || w.B != 122 || w.Array != [2]int64{33, 44} || w.Inner != (inner{55, 266}) || len(w.List) != 1 {
		t.Errorf("the sum is %+v", w)
	}
	defer func() {
		if recover() == nil {
			t.Error("a name that the sum lacks was dropped")
		}
	}()
	Add(&w, &struct{ C int64 }{1})
}
