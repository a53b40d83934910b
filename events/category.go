package events

import "time"

// A category is the entity "category"; its id is derived from its name.

const kindCategoryDefined = "category.defined.v1"

// CategoryDefined: kind category.defined.v1. A category with a description; a memory may carry categories that
// were never defined, those have a name only.
type CategoryDefined struct {
	CreatedAt, UpdatedAt *time.Time // nil = the time of the event
	Private              CategoryPrivate
}

// CategoryPrivate is the free text of a category.
type CategoryPrivate struct {
	Name        string
	Description *string
}

func (*CategoryDefined) payload() {}

// Kind implements Payload.
func (*CategoryDefined) Kind() string { return kindCategoryDefined }

// Halves implements Payload.
func (p *CategoryDefined) Halves() (public, private []byte, err error) {
	w := object(len(p.Private.Name))
	w.text("name", p.Private.Name)
	w.textPointer("description", p.Private.Description)
	return halves(times(p.CreatedAt, p.UpdatedAt), w)
}

func decodeCategoryDefined(s *scanner) *CategoryDefined {
	p := new(CategoryDefined)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "created_at":
			p.CreatedAt = s.timePointer()
		case "updated_at":
			p.UpdatedAt = s.timePointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "private")
	return p
}

func (p *CategoryPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "name":
			p.Name = s.text()
		case "description":
			p.Description = s.textPointer()
		default:
			s.skip()
		}
	}
	s.require(&m, "name")
}
