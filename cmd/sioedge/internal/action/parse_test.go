package action

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

func wrap(result string) []byte { return []byte(`{"results":[` + result + `]}`) }

func one(t *testing.T, result string) Result {
	t.Helper()
	all, err := ParseResults(wrap(result), Limits{})
	if err != nil || len(all) != 1 {
		t.Fatalf("ParseResults(%s) = %d results, %v", result, len(all), err)
	}
	return all[0]
}

// All that a backend can answer is understood, in any order of members, beside others
// and with null for what is not there.
func TestParseResults(t *testing.T) {
	x := one(t, ` { "user" : "u7", "data":{"plan":"pro"}, "join":["campaign:42","user:u7"], "expireAt":1764003600.5, "scope":["a:b"],"rooms":["r:*"],
		"cache_ttl":1.5, "emit":[{"ev":"welcome","args":[{"v":3.0}]}], "unknown":{"deep":[[]]}, "error":null, "ack":null, "actions":[
			{"op":"emit","to":["r1"],"except":["$sid"],"ev":"chat message","args":[{"id":991},{"_placeholder":true,"num":0}],"attachments":["AQI="],"compress":false,"volatile":true,"local":true,"nsp":"/chat"},
			{"rooms":["r2"],"op":"join"},{"op":"leave","rooms":["lobby"]},{"op":"data","set":{"seen":991}},
			{"op":"disconnect","code":4403,"reason":"b\u0061nned","close":true},{"op":"disconnect"}],
		"id":"01J9\/1" } `)
	if x.Fault != nil {
		t.Fatal(x.Fault)
	}
	if x.ID != "01J9/1" || x.User != "u7" || string(x.Data) != `{"plan":"pro"}` || x.ExpireAt != 1764003600 || x.CacheTTL != 1500*time.Millisecond || x.Error != nil || x.Ack != nil {
		t.Errorf("the result is %+v", x)
	}
	if got, want := fmt.Sprint(x.Scope, x.Rooms, x.Join), "[a:b] [r:*] [campaign:42 user:u7]"; got != want {
		t.Errorf("its lists are %s, want %s", got, want)
	}
	if e := x.Emit[0]; e.Event != "welcome" || string(e.Args.Raw(0)) != `{"v":3.0}` || e.To != nil || e.Compress != nil {
		t.Errorf("the first emit is %+v", e)
	}
	e := x.Actions[0].Emit
	if e.Namespace != "/chat" || fmt.Sprint(e.To, e.Except) != "[r1] [$sid]" || !e.Volatile || !e.Local || *e.Compress || e.Args.Len() != 2 || string(e.Args.Binary()[0]) != "\x01\x02" {
		t.Errorf("the second emit is %+v", e)
	}
	x.Actions[0].Emit = nil
	for i := range x.Actions {
		x.Actions[i].most = 0
	}
	want := []Action{{Op: OpEmit}, {Op: OpJoin, Rooms: []string{"r2"}}, {Op: OpLeave, Rooms: []string{"lobby"}}, {Op: OpData, Set: []byte(`{"seen":991}`)},
		{Op: OpDisconnect, Close: true, Code: 4403, Reason: "banned"}, {Op: OpDisconnect}}
	if !reflect.DeepEqual(x.Actions, want) {
		t.Errorf("the actions are %+v", x.Actions)
	}
	x = one(t, `{"id":"a","attachments":["-_8","+/8=","AQ"],"ack":[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}, {"_placeholder":true,"num":2}]}`)
	if x.Ack == nil || x.Ack.Len() != 3 || fmt.Sprintf("%x", x.Ack.Binary()) != "[fbff fbff 01]" {
		t.Errorf("the acknowledgement is %+v, fault %v", x.Ack, x.Fault)
	}
	if x = one(t, `{"id":"a","ack":[]}`); x.Ack == nil || x.Ack.Len() != 0 {
		t.Error("an acknowledgement without arguments is none")
	}
	x = one(t, `{"id":"a","error":{"data":{"code":403},"message":"not allowed"}}`)
	if x.Error == nil || x.Error.Message != "not allowed" || string(x.Error.Data) != `{"code":403}` {
		t.Errorf("the refusal is %+v", x.Error)
	}
}

// What is wrong with one result is its own fault, which names the member; nothing of it is
// done, and the others are as they are.
func TestFaults(t *testing.T) {
	deep := strings.Repeat(`[`, 65) + strings.Repeat(`]`, 65)
	many := func(n int, what string) string { return strings.Repeat(what+",", n-1) + what }
	bytes := base64.StdEncoding.EncodeToString(make([]byte, 1000))
	for _, x := range []struct {
		members, field string
		code           Code
	}{
		{`"user":7`, "user", WrongType},
		{`"user":"` + strings.Repeat("x", 257) + `"`, "user", TooLong},
		{`"error":"no"`, "error", WrongType},
		{`"error":{}`, "error.message", Missing},
		{`"error":{"message":["a"]}`, "error.message", WrongType},
		{`"error":{"message":"x","data":` + deep + `}`, "error.data", TooDeep},
		{`"data":[1]`, "data", WrongType},
		{`"data":{"x":` + deep + `}`, "data", TooDeep},
		{`"data":{"x":"` + strings.Repeat("x", 16<<10) + `"}`, "data", TooLong},
		{`"join":"r"`, "join", WrongType},
		{`"join":["a",""]`, "join[1]", Malformed},
		{`"join":["a",null]`, "join[1]", WrongType},
		{`"join":["` + strings.Repeat("r", 1025) + `"]`, "join[0]", TooLong},
		{`"join":["` + strings.Repeat("r", 100_000) + `"]`, "join[0]", TooLong},
		{`"join":[` + many(257, `"r"`) + `]`, "join", TooMany},
		{`"expireAt":"soon"`, "expireAt", WrongType},
		{`"expireAt":-1`, "expireAt", Malformed},
		{`"cache_ttl":1e400`, "cache_ttl", Malformed},
		{`"ack":{"ok":true}`, "ack", WrongType},
		{`"ack":[` + deep + `]`, "ack[0]", TooDeep},
		{`"ack":[` + many(4097, `1`) + `]`, "ack", TooMany},
		{`"ack":[{"_placeholder":true,"num":1}],"attachments":["AQ=="]`, "attachments", Placeholder},
		{`"ack":[` + many(5, `{"_placeholder":true,"num":0}`) + `],"attachments":["AQ=="]`, "attachments", Placeholder},
		{`"ack":[],"attachments":["A"]`, "attachments[0]", Malformed},
		{`"ack":[],"attachments":["A Q=="]`, "attachments[0]", Malformed},
		{`"ack":[],"attachments":["AQ==\n"]`, "attachments[0]", Malformed},
		{`"ack":[],"attachments":[1]`, "attachments[0]", WrongType},
		{`"ack":[],"attachments":[` + many(11, `"`+bytes+`"`) + `]`, "attachments", TooMany},
		{`"emit":[{}]`, "emit[0].ev", Missing},
		{`"emit":[{"ev":""}]`, "emit[0].ev", Malformed},
		{`"emit":[{"ev":7}]`, "emit[0].ev", WrongType},
		{`"emit":[{"ev":"disconnect"}]`, "emit[0].ev", Reserved},
		{`"emit":[{"ev":"conn\u0065ct"}]`, "emit[0].ev", Reserved},
		{`"emit":[{"ev":"` + strings.Repeat("e", 257) + `"}]`, "emit[0].ev", TooLong},
		{`"emit":[{"ev":"e","to":null}]`, "emit[0].to", WrongType},
		{`"emit":[{"ev":"e","to":"r"}]`, "emit[0].to", WrongType},
		{`"emit":[{"ev":"e","args":"text"}]`, "emit[0].args", WrongType},
		{`"emit":[{"ev":"e","attachments":["AQ=="]}]`, "emit[0].args", Missing},
		{`"emit":[{"ev":"e","volatile":"yes"}]`, "emit[0].volatile", WrongType},
		{`"emit":[{"ev":"e"},{"ev":"e","nsp":"/` + strings.Repeat("n", 1024) + `"}]`, "emit[1].nsp", TooLong},
		{`"emit":[` + many(257, `{"ev":"e"}`) + `]`, "emit", TooMany},
		{`"emit":[` + many(200, `{"ev":"e"}`) + `],"actions":[` + many(57, `{"op":"disconnect"}`) + `]`, "actions", TooMany},
		{`"actions":[{"op":"explode"}]`, "actions[0].op", UnknownOp},
		{`"actions":[{}]`, "actions[0].op", Missing},
		{`"actions":[7]`, "actions[0]", WrongType},
		{`"actions":[{"op":"emit","to":["a"]}]`, "actions[0].ev", Missing},
		{`"actions":[{"op":"join"}]`, "actions[0].rooms", Missing},
		{`"actions":[{"op":"leave","rooms":[]}]`, "actions[0].rooms", Missing},
		{`"actions":[{"op":"data"}]`, "actions[0].set", Missing},
		{`"actions":[{"op":"data","set":[]}]`, "actions[0].set", WrongType},
		{`"actions":[{"op":"disconnect","code":4403}]`, "actions[0].close", Missing},
		{`"actions":[{"op":"disconnect","code":1001,"close":true}]`, "actions[0].code", Malformed},
		{`"actions":[{"op":"disconnect","code":4000.5,"close":true}]`, "actions[0].code", Malformed},
		{`"actions":[{"op":"disconnect","code":70000,"close":true}]`, "actions[0].code", Malformed},
		{`"actions":[{"op":"disconnect","reason":"` + strings.Repeat("r", 124) + `","close":true}]`, "actions[0].reason", TooLong},
	} {
		short := x.members[:min(len(x.members), 80)]
		all, err := ParseResults(wrap(`{"id":"a","join":["x"]},{"id":"b","user":"u",`+x.members+`},{"id":"c","join":["y"]}`), Limits{})
		if err != nil || len(all) != 3 {
			t.Errorf("%s: %d results, %v", short, len(all), err)
			continue
		}
		if f := all[1].Fault; f == nil || f.Field != x.field || f.Code != x.code {
			t.Errorf("%s: the fault is %#v, want %s of %s", short, f, x.code, x.field)
		}
		if bad := (Result{ID: "b", Fault: all[1].Fault}); !reflect.DeepEqual(all[1], bad) {
			t.Errorf("%s: beside the fault there is %+v", short, all[1])
		}
		if all[0].Fault != nil || all[2].Fault != nil || all[2].Join[0] != "y" {
			t.Errorf("%s: the others have faults, %v and %v", short, all[0].Fault, all[2].Fault)
		}
	}
}

// The first of results with one id counts; a result without an id has a fault.
func TestIDs(t *testing.T) {
	all, err := ParseResults(wrap(`{"id":"a","user":"1"},{"id":"a","user":"2"},{"user":"3"},7,{"id":"`+strings.Repeat("i", 129)+`"},{"id":7},null,{"id":null}`), Limits{})
	if err != nil || len(all) != 8 {
		t.Fatalf("%d results, %v", len(all), err)
	}
	if all[0].User != "1" || all[0].Fault != nil {
		t.Errorf("the first is %+v", all[0])
	}
	for i, want := range []Code{1: Duplicate, Missing, WrongType, TooLong, WrongType, WrongType, WrongType} {
		if want != "" && (all[i].Fault == nil || all[i].Fault.Code != want || all[i].User != "") {
			t.Errorf("result %d is %+v, fault %v, want %s", i, all[i], all[i].Fault, want)
		}
	}
}

// What cannot be used as a whole is an error, which costs about as much as reading it.
func TestAnswersThatAreNone(t *testing.T) {
	for _, x := range []struct {
		body string
		code Code // "": there are no results
	}{
		{``, ""}, {"  \n", ""}, {`{}`, ""}, {`{"results":null}`, ""}, {`{"results":[]}`, ""}, {`{"other":1}`, ""},
		{`[]`, WrongType}, {`null`, WrongType}, {`"x"`, WrongType}, {`7`, WrongType}, {`{"results":{}}`, WrongType},
		{`{`, Malformed}, {`{"results":[{"id":"a"}]`, Malformed}, {`{"results":[{"id":"a"},]}`, Malformed}, {`{"results":[{"id":"a",}]}`, Malformed},
		{`{"results":[]} x`, Malformed}, {`{results:[]}`, Malformed}, {`{"results":[{"id":01}]}`, Malformed}, {"\x00", Malformed}, {"{}\x00", Malformed},
		{`<html>`, Malformed}, {"{\"a\":\"\xff\"}", Malformed}, {"\xef\xbb\xbf{}", Malformed},
		{`{"a":` + strings.Repeat("[", 500_000), Malformed}, {strings.Repeat(`{"a":`, 100_000), Malformed},
		{`{"results":[` + strings.Repeat(`{"id":"a"},`, 4096) + `{"id":"a"}]}`, TooMany},
		{`{"a":"` + strings.Repeat("x", 1<<20) + `"}`, TooLong}, {strings.Repeat(" ", 10<<20), TooLong},
	} {
		all, err := ParseResults([]byte(x.body), Limits{})
		var f *FieldError
		short := x.body[:min(len(x.body), 40)]
		if errors.As(err, &f); x.code == "" && err != nil || x.code != "" && (f == nil || f.Code != x.code) || len(all) > 0 {
			t.Errorf("ParseResults(%q) = %d results, %v, want %q", short, len(all), err, x.code)
		}
	}
}

func TestParseEmit(t *testing.T) {
	e, id, err := ParseEmit([]byte(`{"nsp":"/chat","to":[],"ev":"e","id":"idempotency"}`), Limits{})
	if err != nil || id != "idempotency" || e.To == nil || len(e.To) != 0 || e.Event != "e" || e.Args.Len() != 0 {
		t.Errorf("ParseEmit = %+v, %v", e, err)
	}
	for raw, want := range map[string]string{
		`{"ev":"e","to":["a",7]}`: "to[1]: is to be a text",
		`{"to":["a"]}`:            "ev: is missing",
		`{"ev":"e","ack":"5s"}`:   "ack: there is no such member",
		`{"ev":"e","id":7}`:       "id: is to be a text",
		`[]`:                      "is to be an object",
		``:                        "is no JSON",
		`{"ev":"e"}{}`:            "is no JSON",
		`{"ev":"e","args":[`:      "args[0]: is no JSON",
	} {
		if e, _, err := ParseEmit([]byte(raw), Limits{}); err == nil || err.Error() != want || e != nil {
			t.Errorf("ParseEmit(%s) = %v, want %s", raw, err, want)
		}
	}
	if _, err := ParseAction([]byte(`{"op":"join","rooms":["a"]}`), Limits{}); err != nil {
		t.Error(err)
	}
	if a, err := ParseAction([]byte(`{"op":"join"}`), Limits{}); err == nil || a != nil {
		t.Error("a join without rooms is one")
	}
}

func TestParseEvent(t *testing.T) {
	event, args, err := ParseEvent([]byte(` ["e", {"a" : 1.0},2]`), Limits{})
	if err != nil || event != "e" || args.Len() != 2 || string(args.Raw(0)) != `{"a" : 1.0}` {
		t.Errorf("ParseEvent = %q, %v, %v", event, args, err)
	}
	for raw, want := range map[string]Code{
		`[]`: Missing, `[7]`: WrongType, `{}`: WrongType, ``: Malformed, `["e"`: Malformed, `["e"] x`: Malformed, `["connect"]`: Reserved, `["e",` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `]`: TooDeep,
		`["e"` + strings.Repeat(",1", 4097) + `]`: TooMany,
	} {
		_, args, err := ParseEvent([]byte(raw), Limits{})
		var f *FieldError
		if errors.As(err, &f); f == nil || f.Code != want || args.Len() > 0 {
			t.Errorf("ParseEvent(%.40s) = %v, want %s", raw, err, want)
		}
	}
}

// Whatever a backend answers, what is parsed is within the limits, and can be emitted.
func FuzzParseResults(f *testing.F) {
	f.Add([]byte(`{"results":[{"id":"a","user":"u","data":{"a":1},"join":["r"],"expireAt":1,"emit":[{"ev":"e","args":[1]}]}]}`))
	f.Add([]byte(`{"results":[{"id":"a","ack":[{"_placeholder":true,"num":0}],"attachments":["AQ=="],"actions":[{"op":"data","set":{"a":null}},{"op":"join","rooms":["\u0061"]}]}]}`))
	f.Add([]byte(`{"results":[{"id":"a","error":{"message":"m","data":[]},"actions":[{"op":"disconnect","code":4403,"reason":"r","close":true},{"op":"x"}]},{"id":"a"}]}`))
	l := Limits{Body: 1 << 12, Depth: 4, Results: 3, Actions: 2, Rooms: 2, Attachments: 2, Data: 64}
	f.Fuzz(func(t *testing.T, body []byte) {
		all, err := ParseResults(body, l)
		if err != nil && all != nil || len(all) > l.Results {
			t.Fatalf("%d results, %v", len(all), err)
		}
		ids := map[string]bool{}
		for _, x := range all {
			if x.Fault != nil {
				continue
			}
			if x.ID == "" || ids[x.ID] || len(x.Emit)+len(x.Actions) > l.Actions || len(x.Join) > l.Rooms || len(x.Data) > l.Data {
				t.Fatalf("%+v", x)
			}
			ids[x.ID] = true
			emits := x.Emit
			for _, a := range x.Actions {
				if a.Op == OpEmit {
					emits = append(emits, *a.Emit)
				}
				if a.Op == OpData && !object(merge(x.Data, a.Set)) {
					t.Fatalf("data %s and %s is %s", x.Data, a.Set, merge(x.Data, a.Set))
				}
			}
			for _, e := range emits {
				checkSendable(t, e.Event, e.Args, l)
			}
			if x.Ack != nil {
				checkSendable(t, "ack", *x.Ack, l)
			}
		}
	})
}

// A second result of an id is its fault, in whatever order results are.
func TestAnswersTwiceInAnyOrder(t *testing.T) {
	for ids, twice := range map[string]string{"a b c": "", "c b a": "", "a b b": "b", "b a b": "b", "c a b d a": "a"} {
		var body []string
		for id := range strings.FieldsSeq(ids) {
			body = append(body, `{"id":"`+id+`"}`)
		}
		all, err := ParseResults([]byte(`{"results":[`+strings.Join(body, ",")+`]}`), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, r := range all {
			if r.Fault != nil {
				got += r.ID
			}
		}
		if got != twice {
			t.Errorf("of %s %q are doubles, want %q", ids, got, twice)
		}
	}
}
