package reader

import (
	"bytes"
	"errors"
	"testing"
)

func TestSealedValues(t *testing.T) {
	sealer, err := NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewSealer(bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	body := []byte("what is carried")
	sealed := sealer.Seal("cursor", body, "a", "alice")
	if got, err := sealer.Open("cursor", sealed, "a", "alice"); err != nil || !bytes.Equal(got, body) {
		t.Fatalf("opened %q, %v", got, err)
	}
	if again := sealer.Seal("cursor", body, "a", "alice"); again != sealed {
		t.Error("the same value is sealed in two ways: equal answers would differ")
	}
	if bytes.Contains([]byte(sealed), []byte("carried")) {
		t.Error("the value can be read")
	}
	for name, open := range map[string]func() ([]byte, error){
		"another kind":        func() ([]byte, error) { return sealer.Open("position", sealed, "a", "alice") },
		"another tenant":      func() ([]byte, error) { return sealer.Open("cursor", sealed, "b", "alice") },
		"bounds shifted":      func() ([]byte, error) { return sealer.Open("cursor", sealed, "aa", "lice") },
		"a bound left out":    func() ([]byte, error) { return sealer.Open("cursor", sealed, "a") },
		"another key":         func() ([]byte, error) { return other.Open("cursor", sealed, "a", "alice") },
		"nothing":             func() ([]byte, error) { return sealer.Open("cursor", "", "a", "alice") },
		"shorter than a seal": func() ([]byte, error) { return sealer.Open("cursor", "AAAA", "a", "alice") },
	} {
		if got, err := open(); !errors.Is(err, ErrSealed) {
			t.Errorf("%s: opened %q, %v", name, got, err)
		}
	}
	for i := range sealed {
		changed := []byte(sealed)
		changed[i] = 'A'
		if sealed[i] == 'A' {
			changed[i] = 'B'
		}
		if _, err := sealer.Open("cursor", string(changed), "a", "alice"); !errors.Is(err, ErrSealed) {
			t.Errorf("changed at %d: %v", i, err)
		}
	}
	if _, err := NewSealer(make([]byte, 31)); err == nil {
		t.Error("a short key was taken")
	}
}

func TestPositionReached(t *testing.T) {
	rows := Position{JournalID: "j", Incarnation: 3, Shard: 1, Seq: 100}
	for name, c := range map[string]struct {
		position Position
		want     error
	}{
		"just reached":             {Position{"j", 3, 1, 100}, nil},
		"long ago":                 {Position{"j", 3, 1, 0}, nil},
		"ahead":                    {Position{"j", 3, 1, 101}, ErrNotYet},
		"of a later incarnation":   {Position{"j", 4, 1, 50}, ErrNotYet},
		"of an earlier one":        {Position{"j", 2, 1, 50}, ErrPositionLost},
		"of another journal":       {Position{"k", 3, 1, 50}, ErrPositionLost},
		"of another shard":         {Position{"j", 3, 0, 50}, ErrPositionLost},
		"of another journal ahead": {Position{"k", 9, 1, 500}, ErrPositionLost},
	} {
		if err := c.position.reachedBy(rows); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}
