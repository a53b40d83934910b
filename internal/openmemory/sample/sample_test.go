package sample

import (
	"bytes"
	"testing"
)

func TestZipIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	first, err := Zip()
	if err != nil {
		t.Fatal(err)
	}
	second, err := Zip()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("two calls differ")
	}
}

func TestNotes(t *testing.T) {
	t.Parallel()
	notes, err := parse(memories)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) < 60 {
		t.Errorf("%d notes, want 60 or more", len(notes))
	}
	states := map[string]int{}
	for _, n := range notes {
		states[n.state]++
	}
	for _, state := range []string{"active", "paused", "archived", "deleted"} {
		if states[state] == 0 {
			t.Errorf("no memory is %s", state)
		}
	}
}
