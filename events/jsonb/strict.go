package jsonb

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PointerError says at which place of a document, as a JSON pointer (RFC 6901), something is refused, and why.
type PointerError struct {
	Pointer string // empty = the document itself
	Reason  string
}

func (e *PointerError) Error() string {
	if e.Pointer == "" {
		return e.Reason
	}
	return e.Pointer + ": " + e.Reason
}

// CheckObject refuses, with a *PointerError, whatever a lenient decoder would let pass or the storage would refuse:
// repeated or unknown names (names in another case are unknown), \u0000, lone surrogates, bad UTF-8, numbers beyond
// all measure, depth. The body must be an object with no other members than these, none of them null.
func CheckObject(body []byte, members []string) error {
	if at := Blank(body, 0); at == len(body) || body[at] != '{' {
		return &PointerError{Reason: "the body is not a JSON object"}
	}
	s := strictScanner{in: body, members: members}
	return s.check()
}

// Check is CheckObject for any value, whose members may be any, and null.
func Check(body []byte) error {
	s := strictScanner{in: body, lax: true}
	return s.check()
}

// strictScanner walks over JSON and knows where it is. After the first fault it only unwinds.
type strictScanner struct {
	in      []byte
	at      int
	members []string
	lax     bool // members may be any, and null
	path    []string
	fault   *PointerError
}

func (s *strictScanner) check() error {
	s.space()
	s.value(0)
	s.space()
	if s.fault == nil && s.at < len(s.in) {
		s.fail("something follows the JSON value")
	}
	if s.fault == nil {
		return nil
	}
	return s.fault
}

func (s *strictScanner) fail(format string, args ...any) {
	if s.fault != nil {
		return
	}
	var pointer strings.Builder
	for _, step := range s.path {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	s.fault = &PointerError{pointer.String(), fmt.Sprintf(format, args...)}
}

func (s *strictScanner) space() { s.at = Blank(s.in, s.at) }

// peek returns the next byte, or 0 at the end.
func (s *strictScanner) peek() byte {
	if s.at >= len(s.in) {
		return 0
	}
	return s.in[s.at]
}

// take steps over a byte if it is the next one.
func (s *strictScanner) take(c byte) bool {
	if s.fault != nil || s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *strictScanner) value(depth int) {
	switch c := s.peek(); {
	case depth > DepthMax:
		s.fail("nested deeper than %d", DepthMax)
	case c == '{':
		s.object(depth)
	case c == '[':
		s.array(depth)
	case c == '"':
		s.text()
	case c == 'n' && depth == 1 && !s.lax:
		s.fail("null: leave the member out instead")
	default:
		s.scalar(depth)
	}
}

// scalar reads a number or a word. Only the normal form of a number shows whether it can be stored.
func (s *strictScanner) scalar(depth int) {
	end, err := Skip(s.in, s.at, depth, DepthMax)
	if err == nil {
		_, err = Normalize(s.in[s.at:end])
	}
	s.step(end, err)
}

// step moves to the end of what the other readers of this package have accepted.
func (s *strictScanner) step(end int, err error) {
	var refused *Error
	if errors.As(err, &refused) {
		s.fail("%s", refused.Reason) // the pointer says where
		return
	}
	if err != nil {
		s.fail("%v", err)
		return
	}
	s.at = end
}

func (s *strictScanner) object(depth int) {
	s.take('{')
	seen := map[string]bool{}
	for s.space(); s.fault == nil && !s.take('}'); s.space() {
		if len(seen) > 0 && !s.take(',') {
			s.fail("JSON at byte %d: want , or }", s.at)
			return
		}
		s.space()
		name := s.text()
		s.path = append(s.path, name)
		s.member(depth, name, seen)
		if s.fault == nil {
			s.path = s.path[:len(s.path)-1]
		}
	}
}

func (s *strictScanner) member(depth int, name string, seen map[string]bool) {
	switch {
	case s.fault != nil:
		return
	case seen[name]:
		s.fail("the name is repeated")
	case depth == 0 && !s.lax && !slices.Contains(s.members, name):
		s.fail("unknown member")
	}
	seen[name] = true
	s.space()
	if !s.take(':') {
		s.fail("JSON at byte %d: want :", s.at)
		return
	}
	s.space()
	s.value(depth + 1)
}

func (s *strictScanner) array(depth int) {
	s.take('[')
	s.space()
	if s.take(']') {
		return
	}
	for i := 0; s.fault == nil; i++ {
		s.path = append(s.path, strconv.Itoa(i))
		s.space()
		s.value(depth + 1)
		if s.fault != nil {
			return
		}
		s.path = s.path[:len(s.path)-1]
		s.space()
		if s.take(']') {
			return
		}
		if !s.take(',') {
			s.fail("JSON at byte %d: want , or ]", s.at)
		}
	}
}

// text reads a string and returns what it means.
func (s *strictScanner) text() string {
	if s.peek() != '"' {
		s.fail("JSON at byte %d: want a string", s.at)
		return ""
	}
	start := s.at
	end, _, err := Text(s.in, s.at)
	s.step(end, err)
	if s.fault != nil {
		return ""
	}
	return string(Unescape(nil, s.in[start+1:end-1]))
}
