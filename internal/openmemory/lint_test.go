package openmemory

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ raw, path, reason string }{
		"clean":                        {`{"a":[1,-2.5e10,true,null,"x\u00e9\n\ud83d\ude00",{}],"b":{}}`, "", ""},
		"NUL":                          {`{"a":{"b":"x\u0000y"}}`, "/a/b", "u0000"},
		"NUL in a name":                {`{"a\u0000":1}`, "", "u0000"},
		"escaped backslash before u":   {`{"a":"\\u0000"}`, "", ""},
		"high surrogate alone":         {`{"a":["\ud83d"]}`, "/a/0", "surrogate"},
		"high surrogate before letter": {`{"a":"\ud83dx"}`, "/a", "surrogate"},
		"high surrogate twice":         {`{"a":"\ud83d\ud83d"}`, "/a", "surrogate"},
		"low surrogate alone":          {`{"a":"\ude00"}`, "/a", "surrogate"},
		"replacement character":        {`{"a":"\ufffd"}`, "", ""},
		"invalid UTF-8":                {"{\"a\":\"\xff\"}", "/a", "UTF-8"},
		"invalid UTF-8 with escapes":   {"{\"a\":\"\\n\xc3\"}", "/a", "UTF-8"},
		"surrogate as bytes":           {"{\"a\":\"\xed\xa0\x80\"}", "/a", "UTF-8"},
		"huge exponent":                {`{"a":1e400000}`, "/a", "exponent"},
		"tiny exponent":                {`{"a":1e-400000}`, "/a", "exponent"},
		"exponent beyond int":          {`{"a":1e99999999999999999999}`, "/a", "exponent"},
		"endless digits":               {`{"a":` + strings.Repeat("9", NumberBytesMax+1) + `}`, "/a", "characters"},
		"member twice":                 {`{"a":1,"b":2,"a":3}`, "/a", "twice"},
		"member twice by escape":       {`{"a":1,"\u0061":3}`, "/a", "twice"},
		"slash in a name":              {`{"x/y~z":"\u0000"}`, "/x~1y~0z", "u0000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, got := lint([]byte(c.raw))
			if c.reason == "" {
				if got != nil {
					t.Fatalf("refused: %+v", got)
				}
				return
			}
			if got == nil || got.path != c.path || !strings.Contains(got.reason, c.reason) {
				t.Fatalf("got %+v, want path %q and reason %q", got, c.path, c.reason)
			}
		})
	}
}

// FuzzLint: no valid JSON makes it panic, and text that it lets pass comes back unchanged from encoding/json, which
// replaces what is no text.
func FuzzLint(f *testing.F) {
	for _, seed := range []string{`{"a":"\ud83d\ude00"}`, `["\ud83d"]`, `{"a":1,"a":2}`, `[1e5,-0,"\u0000"]`, `"\\\"\/\b"`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) || depthOf(raw) > DepthMax {
			return
		}
		members, bad := lint(raw)
		if bad != nil {
			return
		}
		checkMembers(t, raw, members)
		var value any
		if err := json.Unmarshal(raw, &value); err != nil {
			t.Fatalf("passed, but: %v", err)
		}
		if text, ok := value.(string); ok && strings.ContainsRune(text, 0) {
			t.Fatalf("%q holds NUL", text)
		}
	})
}

// checkMembers compares the members that lint found with those that encoding/json finds.
func checkMembers(t *testing.T, raw []byte, members []member) {
	t.Helper()
	got, want := map[string]string{}, map[string]json.RawMessage{}
	for _, m := range members {
		got[m.name] = string(m.raw)
	}
	if json.Unmarshal(raw, &want) != nil {
		want = nil // no object
	}
	if len(got) != len(want) || len(got) != len(members) {
		t.Fatalf("members %q, want %q", got, want)
	}
	for name, value := range want {
		if got[name] != string(value) {
			t.Fatalf("member %q is %q, want %q", name, got[name], value)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"2025-01-31T08:05:03.000001+00:00":    "2025-01-31T08:05:03.000001Z",
		"2025-01-31T08:05:03+05:30":           "2025-01-31T02:35:03Z",
		"2025-01-31T08:05:03Z":                "2025-01-31T08:05:03Z",
		"2025-01-31T08:05:03":                 "without a zone",
		"2025-01-31T08:05:03.25":              "without a zone",
		"2025-01-31":                          "must be a time",
		"2025-02-30T08:05:03Z":                "must be a time",
		"2025-01-31T08:05:03.0000001Z":        "finer than a microsecond",
		"9999-12-31T23:59:59-05:00":           "outside of the years",
		"0000-12-31T23:59:59Z":                "outside of the years",
		"yesterday":                           "must be a time",
		"":                                    "must be a time",
		"2025-01-31T08:05:03Z; DROP TABLE x;": "must be a time",
	} {
		got, err := parseTime(text)
		if err != nil {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", text, err, want)
			}
			continue
		}
		if s := got.Format("2006-01-02T15:04:05.999999999Z07:00"); s != want {
			t.Errorf("%q: got %s, want %s", text, s, want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	if _, err := parseID("857B6302-9179-531d-8c93-c1b379816563"); err != nil {
		t.Error(err)
	}
	for _, text := range []string{
		"", "1", "857b6302.9179.531d.8c93.c1b379816563", "857b6302-9179-531d-8c93-c1b37981656*",
		"857b6302-9179-531d-8c93-c1b37981656>", "857b6302-9179-531d-8c93-c1b37981656 ", " 857b6302-9179-531d-8c93-c1b379816563",
		"857b63029179531d8c93c1b379816563", "{857b6302-9179-531d-8c93-c1b379816563}",
		"urn:uuid:857b6302-9179-531d-8c93-c1b379816563", "00000000-0000-0000-0000-000000000000", "857b6302-9179-531d-8c93-c1b3798165é",
	} {
		if id, err := parseID(text); err == nil {
			t.Errorf("%q is taken as %s", text, id)
		}
	}
}
