package jsonb_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/jsonb"
)

func TestCheckObject(t *testing.T) {
	members := []string{"content", "app", "categories", "metadata"}
	deep := func(n int) string {
		return `{"metadata":{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}}`
	}
	for body, pointer := range map[string]string{
		`{"content":"x","metadata":{"a":[1,2.5e3,-0,true,false,null,"\ud83d\ude00"]}}`: "ok",
		` { } `:                              "ok",
		deep(40):                             "ok",
		``:                                   "",
		`[]`:                                 "",
		`"x"`:                                "",
		`{`:                                  "",
		`{"content":"x"`:                     "",
		`{"content":"x"}}`:                   "",
		`{"content":"x"} {}`:                 "",
		`{"content":"x",}`:                   "",
		`{,"content":"x"}`:                   "",
		`{"content" "x"}`:                    "/content",
		`{"content":"x" "app":"y"}`:          "",
		`{content:"x"}`:                      "",
		`{"tenant":"b"}`:                     "/tenant",
		`{"Content":"x"}`:                    "/Content",
		`{"content":"a","content":"b"}`:      "/content",
		`{"content":"a","c\u006fntent":"b"}`: "/content",
		`{"content":null}`:                   "/content",
		`{"metadata":{"a":{"b":1,"b":2}}}`:   "/metadata/a/b",
		`{"metadata":{"a/b~":{"c":nul}}}`:    "/metadata/a~1b~0/c",
		`{"metadata":[{},"\u0000"]}`:         "/metadata/1",
		`{"content":"\ud800"}`:               "/content",
		`{"content":"\udc00\ud800"}`:         "/content",
		`{"content":"\ud800\u0041"}`:         "/content",
		"{\"content\":\"a\xffb\"}":           "/content",
		"{\"content\":\"a\x00b\"}":           "/content",
		"{\"content\":\"a\nb\"}":             "/content",
		`{"content":"\x"}`:                   "/content",
		`{"metadata":{"n":1e400000}}`:        "/metadata/n",
		`{"metadata":{"n":01}}`:              "/metadata/n",
		`{"metadata":{"n":1.}}`:              "/metadata/n",
		`{"metadata":{"n":+1}}`:              "/metadata/n",
		`{"metadata":{"n":NaN}}`:             "/metadata/n",
		`{"metadata":{"n":-Infinity}}`:       "/metadata/n",
		`{"metadata":{"n":` + strings.Repeat("9", 200_000) + `}}`: "/metadata/n",
		deep(70):      "/metadata/a" + strings.Repeat("/0", 63),
		deep(400_000): "/metadata/a" + strings.Repeat("/0", 63),
		"\ufeff{}":    "",
	} {
		name := body
		if len(name) > 60 {
			name = name[:60] + "..."
		}
		err := jsonb.CheckObject([]byte(body), members)
		p, _ := errors.AsType[*jsonb.PointerError](err)
		switch {
		case pointer == "ok" && err != nil:
			t.Errorf("%s: refused: %v", name, err)
		case pointer != "ok" && p == nil:
			t.Errorf("%s: %v, want a PointerError", name, err)
		case p != nil && p.Pointer != pointer:
			t.Errorf("%s: at %q, want %q", name, p.Pointer, pointer)
		}
	}
}

// Whatever passes is JSON to everybody else, and can be stored.
func TestCheck(t *testing.T) {
	for body, pointer := range map[string]string{
		`{"a":null,"b":[1]}`: "ok", ` ["x"] `: "ok", `null`: "ok", `7`: "ok",
		``: "", `[`: "/0", `[]]`: "", `tru`: "", `{"a":1,"a":2}`: "/a", `["\u0000"]`: "/0", `{"a":{"b":"\ud800"}}`: "/a/b", `[1e400000]`: "/0",
	} {
		err := jsonb.Check([]byte(body))
		p, _ := errors.AsType[*jsonb.PointerError](err)
		if (pointer == "ok") != (err == nil) || pointer != "ok" && (p == nil || p.Pointer != pointer) {
			t.Errorf("%s: %v, want %s", body, err, pointer)
		}
	}
}

func FuzzCheckObject(f *testing.F) {
	for _, seed := range []string{`{"content":"x"}`, `{"metadata":{"a":[1e5,"\ud83d\ude00"]}}`, `{"metadata":{"n":1e400000}}`, `{"a":"\u0000"}`} {
		f.Add([]byte(seed))
	}
	members := []string{"content", "app", "categories", "metadata"}
	f.Fuzz(func(t *testing.T, body []byte) {
		if jsonb.CheckObject(body, members) != nil {
			return
		}
		if !json.Valid(body) {
			t.Errorf("accepted what is no JSON: %q", body)
		}
		if _, err := jsonb.NormalizeObject(body); err != nil {
			t.Errorf("accepted what cannot be stored: %q: %v", body, err)
		}
	})
}
