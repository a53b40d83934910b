package category_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/command"
)

func ref[T any](v T) *T { return &v }

func TestDecide(t *testing.T) {
	at := time.Date(2025, 1, 31, 8, 5, 3, 1000, time.UTC)
	there := category.State{Exists: true, Name: "work"}
	full := &events.CategoryDefined{CreatedAt: &at, UpdatedAt: &at, Private: events.CategoryPrivate{Name: "work", Description: ref("d")}}
	for name, c := range map[string]struct {
		given   category.State
		when    category.Command
		then    events.Payload
		refused command.Code
	}{
		"define":            {category.State{}, category.Define{Name: "work"}, &events.CategoryDefined{Private: events.CategoryPrivate{Name: "work"}}, ""},
		"define fully":      {category.State{}, category.Define{Name: "work", Description: ref("d"), CreatedAt: ref(at.Add(1)), UpdatedAt: &at}, full, ""},
		"define twice":      {there, category.Define{Name: "work"}, nil, command.Exists},
		"define nothing":    {category.State{}, category.Define{}, nil, command.Invalid},
		"define long":       {category.State{}, category.Define{Name: strings.Repeat("n", 1001)}, nil, command.Invalid},
		"define with zero":  {category.State{}, category.Define{Name: "a\x00"}, nil, command.Invalid},
		"describe at large": {category.State{}, category.Define{Name: "a", Description: ref(strings.Repeat("d", 65537))}, nil, command.Invalid},
		"import":            {category.State{}, category.Import{Name: "work", Description: ref("d"), CreatedAt: &at, UpdatedAt: &at}, full, ""},
		"import twice":      {there, category.Import{Name: "work", Description: ref("another")}, nil, ""},
		"import nothing":    {there, category.Import{}, nil, command.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := category.Decide(c.given, c.when)
			var refusal *command.Refusal
			if c.refused == "" && err != nil || c.refused != "" && (!errors.As(err, &refusal) || refusal.Code != c.refused) {
				t.Errorf("got %v, want %q", err, c.refused)
			}
			if invalid := category.Validate(c.when) != nil; invalid != (c.refused == command.Invalid) {
				t.Errorf("Validate refuses: %v", invalid)
			}
			if diff := cmp.Diff(c.then, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestEvolveKnowsEveryKind goes through all kinds there are: the category's evolves, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		s, err := category.Evolve(category.State{}, &envelope.Event{Kind: kind, Data: data})
		if mine := strings.HasPrefix(kind, "category."); mine != (err == nil) || mine != s.Exists {
			t.Errorf("%s: %v, %v", kind, s, err)
		}
	}
}

func TestID(t *testing.T) {
	key := []byte("key")
	base := category.ID(key, "acme", "work")
	if base != category.ID(key, "acme", "work") || base == category.ID(key, "acme", "Work") || base == category.ID(key, "other", "work") {
		t.Error("not one id per category")
	}
}
