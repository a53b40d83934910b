package jsonb_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/refold-dev/refold/events/jsonb"
)

// accepted has texts and their normal forms; the same table is put to a real PostgreSQL.
var accepted = map[string]string{
	`{}`:    `{}`,
	` [ ] `: `[]`,
	"\t{\"bb\":1,\r\n\"a\":[1,2 , {\"x\":null}],\"b\":true}\n": `{"a": [1, 2, {"x": null}], "b": true, "bb": 1}`,
	`{"a":1,"b":2,"a":3}`:                       `{"a": 3, "b": 2}`,
	`{"a": {"z": 1, "z": 2}, "b": 0, "a": "x"}`: `{"a": "x", "b": 0}`,
	`{"é":1,"zz":2,"z":3,"":4}`:                 `{"": 4, "z": 3, "zz": 2, "é": 1}`,
	`{"\u0061":1,"a":2}`:                        `{"a": 2}`,
	`{"\"":1,"\\":2}`:                           `{"\"": 1, "\\": 2}`,
	`"\u0001\u001f\u007f\/\b\f\n\r\t\"\\é"`:     "\"\\u0001\\u001f\x7f/\\b\\f\\n\\r\\t\\\"\\\\é\"",
	`"\ud83e\udde0 \uFFFF"`:                     "\"\U0001F9E0 \uffff\"",
	`"12345678 é 12345678"`:                     `"12345678 é 12345678"`,
	`1.50`:                                      `1.50`, `1e2`: `100`, `1.5e-3`: `0.0015`, `-0`: `0`, `-0.0`: `0.0`,
	`0e10`: `0`, `0e-5`: `0.00000`, `0.0e3`: `0`, `-0e0`: `0`, `0.0015e3`: `1.5`, `0.0015E+4`: `15`, `1.500e1`: `15.00`,
	`-1.5e1`: `-15`, `12345e-2`: `123.45`, `12345e-5`: `0.12345`, `12345e-7`: `0.0012345`, `0.10e1`: `1.0`, `-0.00e-1`: `0.000`,
	`100`: `100`, `1e299`: `1` + strings.Repeat("0", 299), `0.000e2`: `0.0`, `1E0`: `1`, `10.010`: `10.010`,
	`true`: `true`, `null`: `null`, `""`: `""`,
	strings.Repeat("[", 64) + strings.Repeat("]", 64): strings.Repeat("[", 64) + strings.Repeat("]", 64),
}

func TestNormalize(t *testing.T) {
	for src, want := range accepted {
		got, err := jsonb.Normalize([]byte(src))
		if err != nil || string(got) != want {
			t.Errorf("Normalize(%q) = %q, %v, want %q", src, got, err, want)
		}
		again, err := jsonb.Normalize(got)
		if err != nil || string(again) != want {
			t.Errorf("Normalize(%q) = %q, %v, want the same", got, again, err)
		}
	}
}

// refused has what PostgreSQL refuses, too.
var refused = []string{
	``, ` `, `{`, `[`, `[1`, `[1,]`, `[,1]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{a:1}`, `{"a" 1}`, `[1 2]`, `1 2`, `tru`, `nul`, `truefalse`,
	`01`, `-`, `1.`, `.5`, `1e`, `1e+`, `+1`, `0x1`, `NaN`, `--1`, `1..2`,
	`"`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, `"\u0000"`, `"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud83ea"`, `"\ud800\n"`,
	"\"\x00\"", "\"\n\"", "\"\x1f\"", "\"12345678\n\"", "\"\xff\"", "\"12345678\xc3\"", "\"\xed\xa0\x80\"", "\"\xc0\x80\"", "\"\xf5\x80\x80\x80\"",
	"\u00a01", "[1\v]", `{"\u0000":1}`, `]`, `[}`, `{]`,
}

// bounded has what only our bounds refuse.
var bounded = []string{
	strings.Repeat("[", 65) + strings.Repeat("]", 65),
	strings.Repeat(`{"a":`, 65) + `1` + strings.Repeat("}", 65),
	`1e300`, `1e-300`, `0e-301`, `1e400000`, `1e99999999999999999999`, `-1` + strings.Repeat("0", 300), `0.` + strings.Repeat("1", 300),
	`"` + strings.Repeat("a", jsonb.BytesMax) + `"`,
	`[` + strings.Repeat(`1e299,`, 1000) + `1]`, // too long once normalised
}

func TestNormalizeRefuses(t *testing.T) {
	for _, src := range append(bounded, refused...) {
		got, err := jsonb.Normalize([]byte(src))
		var refusal *jsonb.Error
		if !errors.As(err, &refusal) {
			t.Errorf("Normalize(%.80q) = %.80q, %v, want a *jsonb.Error", src, got, err)
			continue
		}
		if refusal.Offset < 0 || refusal.Offset > len(src) || refusal.Reason == "" {
			t.Errorf("Normalize(%.80q): offset %d, reason %q", src, refusal.Offset, refusal.Reason)
		}
	}
}

func TestNormalizeObject(t *testing.T) {
	for src, want := range map[string]string{``: `{}`, `{}`: `{}`, ` {"b":1,"a":2}`: `{"a": 2, "b": 1}`} {
		got, err := jsonb.NormalizeObject([]byte(src))
		if err != nil || string(got) != want {
			t.Errorf("NormalizeObject(%q) = %q, %v, want %q", src, got, err, want)
		}
	}
	for _, src := range []string{`[]`, `1`, ` `, `null`, `"{}"`, `{}{}`} {
		if got, err := jsonb.NormalizeObject([]byte(src)); err == nil {
			t.Errorf("NormalizeObject(%q) = %q, want an error", src, got)
		}
	}
}

// TestNormalFormCostsNothing: what is normal already, as all metadata of events is, comes back without a copy.
func TestNormalFormCostsNothing(t *testing.T) {
	src := []byte(`{"a": [1, 2.50, {"deep": null}], "bb": "text é", "cc": true}`)
	allocations := testing.AllocsPerRun(100, func() {
		if got, err := jsonb.Normalize(src); err != nil || &got[0] != &src[0] {
			t.Fatalf("%s, %v", got, err)
		}
	})
	if allocations != 0 {
		t.Errorf("%v allocations, want none", allocations)
	}
}

// TestManyMembersAreQuick: the order of members is not made by comparing each with each.
func TestManyMembersAreQuick(t *testing.T) {
	var src bytes.Buffer
	src.WriteByte('{')
	for i := range 20_000 {
		if i > 0 {
			src.WriteByte(',')
		}
		name, _ := json.Marshal(strings.Repeat("n", i%5) + string(rune('a'+i%26)))
		src.Write(name)
		src.WriteString(":1")
	}
	src.WriteByte('}')
	got, err := jsonb.Normalize(src.Bytes())
	if err != nil || !json.Valid(got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzNormalize(f *testing.F) {
	for src := range accepted {
		f.Add([]byte(src))
	}
	for _, src := range append(bounded, refused...) {
		f.Add([]byte(src))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		before := bytes.Clone(src)
		got, err := jsonb.Normalize(src)
		if !bytes.Equal(src, before) {
			t.Fatal("the input was changed")
		}
		end, skipErr := jsonb.Skip(src, jsonb.Blank(src, 0), 0, jsonb.DepthMax)
		if err != nil {
			return
		}
		if skipErr != nil || jsonb.Blank(src, end) != len(src) {
			t.Fatalf("Skip ends at %d of %d, %v", end, len(src), skipErr)
		}
		again, err := jsonb.Normalize(got)
		if err != nil || !bytes.Equal(got, again) {
			t.Fatalf("once %q, twice %q, %v", got, again, err)
		}
		var ours, theirs any
		if err := errors.Join(unmarshal(got, &ours), unmarshal(src, &theirs)); err != nil {
			t.Fatalf("encoding/json: %v", err)
		}
		if len(got) > jsonb.BytesMax {
			t.Fatalf("%d bytes", len(got))
		}
	})
}

func unmarshal(src []byte, to *any) error {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	return d.Decode(to)
}

func BenchmarkNormalize(b *testing.B) {
	for name, src := range map[string]string{
		"normal":    `{"tags": ["a", "b"], "score": 0.75, "origin": "chat", "deep": {"x": 1}}`,
		"as-normal": `{"deep": {"x": 1}, "tags": ["a", "b"], "score": 0.75, "origin": "chat"}`,
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := jsonb.Normalize([]byte(src)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
