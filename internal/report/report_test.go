package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

type finding struct {
	Tenant string   `json:"tenant"`
	Rows   int64    `json:"rows"`
	Clean  bool     `json:"clean"`
	Tables []string `json:"tables"`
	Value  *string  `json:"value"`
}

var example = finding{Tenant: "acme", Rows: 1 << 53, Clean: true, Tables: []string{"a|b", "c\"\n<&>\u2028é\U0001F600"}}

func signer(t testing.TB, seed string) *Signer {
	t.Helper()
	sum := sha256.Sum256([]byte(seed))
	s, err := NewSigner(sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestASignedReportIsChecked(t *testing.T) {
	s := signer(t, "one")
	document, err := s.Sign("finding", example)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(document, signer(t, "other").Public(), s.Public())
	if err != nil {
		t.Fatal(err)
	}
	var got finding
	if err := r.Read(&got); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(got) != fmt.Sprint(example) || r.Kind != "finding" || r.Digest() != fmt.Sprintf("%x", sha256.Sum256(document)) {
		t.Fatalf("got %+v of kind %s", got, r.Kind)
	}
	spaced := bytes.ReplaceAll(document, []byte(`,"`), []byte(" ,\n\t\""))
	if again, err := Check(spaced, s.Public()); err != nil || again.Digest() != r.Digest() {
		t.Fatalf("white space between members changes it: %v", err)
	}
}

// The file was signed once and must be accepted for ever.
func TestAReportOfTheFirstDayIsStillAccepted(t *testing.T) {
	key, err := os.ReadFile("testdata/first.pub")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ParseKeys(key)
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile("testdata/first.json")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Check(document, keys...)
	if err != nil {
		t.Fatal(err)
	}
	var got finding
	if err := r.Read(&got); err != nil || fmt.Sprint(got) != fmt.Sprint(example) {
		t.Fatalf("got %+v, %v", got, err)
	}
	if want := "c4b5451f3216c098"; !strings.HasPrefix(r.Digest(), want) {
		t.Fatalf("its digest is %s, was %s...", r.Digest(), want)
	}
}

// Every change of one byte, every byte taken out and every byte put twice is found.
func TestEveryChangedByteIsFound(t *testing.T) {
	s := signer(t, "one")
	document, err := s.Sign("finding", finding{Tenant: "acme", Tables: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	tried := 0
	for i := range document {
		for _, changed := range [][]byte{
			flipped(document, i, 1), flipped(document, i, 0x20), flipped(document, i, 0x80),
			append(bytes.Clone(document[:i]), document[i+1:]...),
			append(bytes.Clone(document[:i+1]), document[i:]...),
		} {
			if same, err := canonicalize(changed); err == nil && bytes.Equal(same, document) {
				continue // another spelling of the same document
			}
			tried++
			if r, err := Check(changed, s.Public()); err == nil {
				t.Fatalf("byte %d: accepted %s as %+v", i, changed, r)
			}
		}
	}
	if tried < 4*len(document) {
		t.Fatalf("only %d changes were tried", tried)
	}
}

func flipped(b []byte, i int, mask byte) []byte {
	out := bytes.Clone(b)
	out[i] ^= mask
	return out
}

func TestForgeries(t *testing.T) {
	s := signer(t, "one")
	document, err := s.Sign("finding", example)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := signer(t, "two").Sign("finding", example)
	if err != nil {
		t.Fatal(err)
	}
	text := string(document)
	for _, c := range []struct {
		what     string
		document string
		want     error
	}{
		{"signed by somebody else", string(foreign), ErrUntrusted},
		{"signed by somebody else under our name", strings.Replace(string(foreign), KeyID(signer(t, "two").Public()), KeyID(s.Public()), 1), ErrForged},
		{"another kind", strings.Replace(text, `"kind":"finding"`, `"kind":"hoax"`, 1), ErrForged},
		{"another verdict", strings.Replace(text, `"clean":true`, `"clean":false`, 1), ErrForged},
		{"another place", strings.Replace(text, `"number":0`, `"number":7`, 1), ErrForged},
		{"another time", strings.Replace(text, `"made":"2`, `"made":"3`, 1), ErrForged},
		{"another format", strings.Replace(text, Format, "refold report v2", 1), ErrMalformed},
		{"a member more", strings.Replace(text, `"kind"`, `"also":1,"kind"`, 1), ErrMalformed},
		{"a member twice", strings.Replace(text, `"kind":"finding"`, `"kind":"finding","kind":"finding"`, 1), ErrMalformed},
		{"a member of other case", strings.Replace(text, `"kind"`, `"Kind"`, 1), ErrMalformed},
		{"a member less", strings.Replace(text, `"previous":"",`, ``, 1), ErrMalformed},
		{"no signature", text[:strings.Index(text, `,"signature"`)] + "}", ErrMalformed},
		{"a line break in the signature", strings.Replace(text, `"signature":"`, `"signature":"\n`, 1), ErrMalformed},
		{"a number that is none", strings.Replace(text, `"rows":9007199254740992`, `"rows":9007199254740992.5`, 1), ErrMalformed},
		{"a number beyond", strings.Replace(text, `"rows":9007199254740992`, `"rows":9007199254740993`, 1), ErrMalformed},
		{"something behind it", text + "{}", ErrMalformed},
		{"two of them", text + text, ErrMalformed},
		{"nothing", "", ErrMalformed},
		{"a list", "[]", ErrMalformed},
		{"null", "null", ErrMalformed},
	} {
		t.Run(c.what, func(t *testing.T) {
			if c.document == text {
				t.Fatal("the document was not changed")
			}
			if _, err := Check([]byte(c.document), s.Public()); !errors.Is(err, c.want) {
				t.Fatalf("got %v, want %v", err, c.want)
			}
		})
	}
	if _, err := Check(document); !errors.Is(err, ErrUntrusted) {
		t.Fatalf("without a key: got %v", err)
	}
}

func TestASeriesIsChecked(t *testing.T) {
	s := signer(t, "one")
	var series [][]byte
	at := link{number: 1}
	for i := range 5 {
		document, r, err := s.sign("finding", finding{Rows: int64(i), Tables: []string{}}, at)
		if err != nil {
			t.Fatal(err)
		}
		series, at = append(series, document), link{r.Number + 1, r.Digest()}
	}
	if _, err := CheckSeries(series, s.Public()); err != nil {
		t.Fatal(err)
	}
	if _, err := CheckSeries(series[2:], s.Public()); err != nil {
		t.Fatalf("a later part: %v", err)
	}
	other, _, err := s.sign("finding", finding{Rows: 9, Tables: []string{}}, link{3, hex.EncodeToString(make([]byte, 32))})
	if err != nil {
		t.Fatal(err)
	}
	for what, broken := range map[string][][]byte{
		"one left out":        {series[0], series[2]},
		"one twice":           {series[0], series[0]},
		"two changed about":   {series[1], series[0]},
		"one of another past": {series[0], series[1], other, series[3]},
	} {
		if _, err := CheckSeries(broken, s.Public()); !errors.Is(err, ErrBroken) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestNumbersWithoutOneFormAreRefused(t *testing.T) {
	for _, v := range []any{1.5, 1e21, uint64(1<<53 + 1), int64(-1<<53 - 1), map[string]any{"a": []any{0.1}}} {
		if _, err := signer(t, "one").Sign("finding", v); err == nil {
			t.Errorf("%v was signed", v)
		}
	}
}

// The example of RFC 8785, section 3.2.3: members are ordered by their UTF-16 code units.
func TestMembersAreOrderedByUTF16(t *testing.T) {
	got, err := Canonical(map[string]string{
		"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
		"\U0001F600": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"\u00f6\":\"Latin Small Letter O With Diaeresis\"," +
		"\"\u20ac\":\"Euro Sign\",\"\U0001F600\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"
	if string(got) != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

func TestKeys(t *testing.T) {
	one, two := signer(t, "one").Public(), signer(t, "two").Public()
	var file []byte
	for _, key := range []ed25519.PublicKey{one, two} {
		b, err := MarshalKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file = append(file, b...)
	}
	keys, err := ParseKeys(file)
	if err != nil || len(keys) != 2 || !keys[0].Equal(one) || !keys[1].Equal(two) {
		t.Fatalf("got %v, %v", keys, err)
	}
	for _, bad := range []string{"", "hello", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"} {
		if keys, err := ParseKeys([]byte(bad)); err == nil {
			t.Errorf("%q gave %v", bad, keys)
		}
	}
}

// FuzzCheck: what Check accepts was signed; nothing makes it panic.
func FuzzCheck(f *testing.F) {
	document, err := os.ReadFile("testdata/first.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(document)
	f.Add([]byte(`{"body":1e400,"format":"refold report v1"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Check(b, signer(t, "the first day").Public())
		if err != nil {
			return
		}
		if same, err := canonicalize(b); err != nil || !bytes.Equal(same, document) {
			t.Fatalf("accepted %+v", r)
		}
	})
}

// FuzzParseKeys: no file makes it panic, and what it returns are keys.
func FuzzParseKeys(f *testing.F) {
	file, err := MarshalKey(signer(f, "one").Public())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseKeys(b)
		for _, key := range keys {
			if err != nil || len(key) != ed25519.PublicKeySize {
				t.Fatalf("got %v, %v", keys, err)
			}
		}
	})
}
