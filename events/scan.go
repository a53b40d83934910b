package events

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/refold-dev/refold/events/jsonb"
)

const (
	// depthMax bounds how deep a payload is nested: metadata, at most jsonb.DepthMax deep, lies two objects down.
	depthMax = jsonb.DepthMax + 2
	// membersMax bounds the members of an object that is read by name.
	membersMax = 32
)

// scanner reads typed JSON. The first thing that is wrong stays in err; from then on every reader returns zero and
// every loop ends, so a payload is read in one go and asked once.
type scanner struct {
	data  []byte
	at    int
	depth int
	err   error
}

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
	s.at = len(s.data)
}

func (s *scanner) refuse(at int, reason string) { s.fail(&jsonb.Error{Offset: at, Reason: reason}) }

// end refuses whatever follows the value.
func (s *scanner) end() {
	if s.at = jsonb.Blank(s.data, s.at); s.at != len(s.data) {
		s.refuse(s.at, "something follows the payload")
	}
}

// members is a loop over the members of one object:
//
//	for m := s.object(); s.next(&m); {
//		switch string(m.name) { ...read the value, or s.skip() }
//	}
type members struct {
	name  []byte // of the member whose value is to be read now
	count int
	seen  [membersMax]struct{ start, end int32 } // small, because each object clears it
}

// object reads an opening brace.
func (s *scanner) object() (m members) {
	s.open('{')
	return m
}

func (s *scanner) open(bracket byte) {
	s.at = jsonb.Blank(s.data, s.at)
	switch {
	case s.err != nil:
	case s.at == len(s.data) || s.data[s.at] != bracket:
		s.refuse(s.at, fmt.Sprintf("want %q", bracket))
	case s.depth == depthMax:
		s.refuse(s.at, "nested too deeply")
	default:
		s.at++
		s.depth++
	}
}

// more reads the comma before a member, or the closing bracket behind the last one.
func (s *scanner) more(closing byte, first bool) bool {
	if s.err != nil {
		return false
	}
	s.at = jsonb.Blank(s.data, s.at)
	switch {
	case s.at == len(s.data):
		s.refuse(s.at, "the payload does not end")
		return false
	case s.data[s.at] == closing:
		s.at++
		s.depth--
		return false
	case first:
		return true
	case s.data[s.at] != ',':
		s.refuse(s.at, "want a comma or the end of the object or array")
		return false
	}
	s.at = jsonb.Blank(s.data, s.at+1)
	return true
}

// next reads the name of the next member. A name that was there before is refused.
func (s *scanner) next(m *members) bool {
	if !s.more('}', m.count == 0) {
		return false
	}
	start := s.at + 1
	end := s.nameEnd()
	switch {
	case s.err != nil:
		return false
	case m.count == membersMax:
		s.refuse(start, "an object with too many members")
		return false
	}
	m.name = s.data[start : end-1]
	if m.repeated(s) {
		s.refuse(start, fmt.Sprintf("member %q twice", m.name))
		return false
	}
	m.seen[m.count].start, m.seen[m.count].end = int32(start), int32(end-1)
	m.count++
	var err error
	if s.at, err = jsonb.Colon(s.data, end); err != nil {
		s.fail(err)
	}
	return err == nil
}

// nameEnd returns the index behind the closing quote of the name at the position.
func (s *scanner) nameEnd() int {
	// Our own names are short and plain; looking at each byte beats jsonb.Text on them.
	if s.at < len(s.data) && s.data[s.at] == '"' {
		at := s.at + 1
		for at < len(s.data) && (s.data[at] >= 'a' && s.data[at] <= 'z' || s.data[at] == '_') {
			at++
		}
		if at < len(s.data) && s.data[at] == '"' {
			return at + 1
		}
	}
	end, escaped, err := jsonb.Text(s.data, s.at)
	if err != nil {
		s.fail(err)
	} else if escaped {
		s.refuse(s.at, "the name of a member is written with escapes")
	}
	return end
}

// nameAt returns the i-th name that was seen.
func (m *members) nameAt(s *scanner, i int) []byte { return s.data[m.seen[i].start:m.seen[i].end] }

// repeated reports whether the name was seen before.
func (m *members) repeated(s *scanner) bool {
	for i := range m.count {
		if bytes.Equal(m.nameAt(s, i), m.name) {
			return true
		}
	}
	return false
}

func (m *members) has(s *scanner, name string) bool {
	for i := range m.count {
		if string(m.nameAt(s, i)) == name {
			return true
		}
	}
	return false
}

// require refuses an object that lacks one of the names.
func (s *scanner) require(m *members, names ...string) {
	if s.err != nil {
		return
	}
	for _, name := range names {
		if !m.has(s, name) {
			s.fail(errors.New("member " + name + " is missing"))
			return
		}
	}
}

// skip reads any value.
func (s *scanner) skip() {
	if s.err != nil {
		return
	}
	end, err := jsonb.Skip(s.data, s.at, s.depth, depthMax)
	if err != nil {
		s.fail(err)
		return
	}
	s.at = end
}
