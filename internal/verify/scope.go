package verify

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/rows"
)

// Scope narrows a verification. The zero value is everything, and only that can make an edition verified.
type Scope struct {
	// Tenants are the only ones whose rows are compared. With one, only its events are read.
	Tenants []string `json:"tenants,omitempty"`
	// Tables are the only ones that are compared.
	Tables []string `json:"tables,omitempty"`
	// Sample takes one of so many entities: those of which a hash, under Seed, says so. 0 and 1 = all.
	Sample int    `json:"sample,omitempty"`
	Seed   string `json:"seed,omitempty"`
}

func (s *Scope) check(schema *rows.Schema) error {
	for _, table := range s.Tables {
		if !slices.ContainsFunc(schema.Tables(), func(d *rows.Description) bool { return d.Name == table }) {
			return fmt.Errorf("no table %q: there are %s", table, strings.Join(tableNames(schema), ", "))
		}
	}
	if s.Sample < 0 {
		return fmt.Errorf("sample 1/%d: use 1/2 or less", s.Sample)
	}
	if s.Sample == 1 {
		s.Sample = 0
	}
	slices.Sort(s.Tenants)
	slices.Sort(s.Tables)
	s.Tenants, s.Tables = slices.Compact(s.Tenants), slices.Compact(s.Tables)
	return nil
}

func tableNames(schema *rows.Schema) (names []string) {
	for _, d := range schema.Tables() {
		names = append(names, d.Name)
	}
	return names
}

func (s *Scope) whole() bool { return len(s.Tenants) == 0 && len(s.Tables) == 0 && s.Sample == 0 }

// filtered: only the events of one tenant are read.
func (s *Scope) filtered() bool { return len(s.Tenants) == 1 }

func (s *Scope) only() rows.Only { return rows.Only{Tenants: s.Tenants, Tables: s.Tables} }

func (s *Scope) selects(key envelope.Key) bool {
	if len(s.Tenants) > 0 && !slices.Contains(s.Tenants, key.Tenant) {
		return false
	}
	if s.Sample == 0 {
		return true
	}
	key.Tenant = s.Seed + "\x00" + key.Tenant
	return edition.Part(key, s.Sample) == 0
}

// text names the scope: runs of equal text go on with each other.
func (s *Scope) text() (string, error) {
	b, err := json.Marshal(s)
	return string(b), err
}

// leftOut says in sentences what a run of this scope does not check.
func (s *Scope) leftOut(schema *rows.Schema) []string {
	out := []string{}
	if len(s.Tenants) > 0 {
		out = append(out, "rows of all tenants but "+strings.Join(s.Tenants, ", "))
	}
	if len(s.Tables) > 0 {
		var others []string
		for _, name := range tableNames(schema) {
			if !slices.Contains(s.Tables, name) {
				others = append(others, name)
			}
		}
		out = append(out, "tables "+strings.Join(others, ", "))
	}
	if s.Sample > 0 {
		out = append(out, fmt.Sprintf("about %d of %d entities: only those of the sample with seed %q were looked at", s.Sample-1, s.Sample, s.Seed))
	}
	if s.filtered() {
		out = append(out, "the chain of events: only those of one tenant were read")
	}
	return out
}
