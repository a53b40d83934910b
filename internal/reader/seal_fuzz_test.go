package reader

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
)

// FuzzOpen: nothing opens but what was sealed, to the letter, for the same kind and bounds.
func FuzzOpen(f *testing.F) {
	sealer, err := NewSealer(bytes.Repeat([]byte{1}, sealKeyBytesMin))
	if err != nil {
		f.Fatal(err)
	}
	body, err := json.Marshal(MemoryMark{})
	if err != nil {
		f.Fatal(err)
	}
	genuine := []string{
		sealer.Seal("cursor", body, "acme", "ann"), sealer.Seal("cursor", body, "acme", "bob"), sealer.Seal("cursor", nil, "acme", "ann"),
		sealer.Seal("position", body, "acme", "ann"), sealer.SealPosition("acme", Position{JournalID: "j", Incarnation: 1, Seq: 7}),
	}
	for _, sealed := range genuine {
		f.Add(sealed)
		f.Add(sealed + "=")
		f.Add(sealed[:len(sealed)-1])
		f.Add(sealed[:8] + "\r" + sealed[8:])
		f.Add(sealed + "\n")
	}
	mine := []string{genuine[0], genuine[2]}
	f.Fuzz(func(t *testing.T, sealed string) {
		_, err := sealer.Open("cursor", sealed, "acme", "ann")
		if (err == nil) != slices.Contains(mine, sealed) || err != nil && !errors.Is(err, ErrSealed) {
			t.Errorf("%q: %v", sealed, err)
		}
		_, err = sealer.OpenPosition("acme", sealed)
		if (err == nil) != (sealed == genuine[4]) || err != nil && !errors.Is(err, ErrSealed) {
			t.Errorf("position %q: %v", sealed, err)
		}
	})
}
