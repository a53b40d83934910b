package events

import (
	"time"
)

const (
	kindCategoryDefined = "category.defined.v1"
)

// CategoryDefined: kind category.defined.v1. A category is defined, or redefined, before a memory carries it.
type CategoryDefined struct {
	CreatedAt, UpdatedAt *time.Time
	Private              CategoryPrivate
}

// CategoryPrivate is the free text of a category.
type CategoryPrivate struct {
	Name        string
	Description *string
}

// Kind is the event type on the wire.
func (*CategoryDefined) Kind() string { return kindCategoryDefined }
func (*CategoryDefined) payload()     {}

// Halves returns the two halves of the payload.
func (p *CategoryDefined) Halves() (public, private []byte, err error) {
	return halves(func(w *writer) { w.recordTimes(p.CreatedAt, p.UpdatedAt) }, func(w *writer) {
		w.text("name", p.Private.Name)
		w.textIf("description", p.Private.Description)
	})
}

func categoryDefined(s *scanner) Payload {
	p := &CategoryDefined{}
	s.record(p.Private.read, &p.CreatedAt, &p.UpdatedAt, nil)
	return p
}

func (p *CategoryPrivate) read(s *scanner) {
	s.object(func(name []byte) int {
		switch string(name) {
		case "name":
			p.Name = s.str()
			return 0
		case "description":
			p.Description = s.strOrNull()
			return 1
		}
		return skipped
	})
}
