package httpapi

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/refold-dev/refold/internal/jsonb"
)

// depthMax bounds how deep a body is nested.
const depthMax = 64

// checkJSON reads a body and refuses, with a pointer to the place, whatever a lenient decoder would let pass or the
// storage would refuse: repeated or unknown names (names in another case are unknown), \u0000, lone surrogates, bad
// UTF-8, numbers beyond all measure, depth. It must be an object with these members, none of them null.
func checkJSON(body []byte, members []string) *problem {
	s := scanner{in: body, members: members}
	s.space()
	if s.peek() != '{' {
		return invalid("", "the body is not a JSON object")
	}
	s.value(0)
	s.space()
	if s.fault == nil && s.at < len(s.in) {
		s.fail("something follows the JSON object")
	}
	return s.fault
}

// membersOf lists the members that a request type declares.
func membersOf(request any) []string {
	var names []string
	t := reflect.TypeOf(request)
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// scanner walks over JSON and knows where it is. After the first fault it only unwinds.
type scanner struct {
	in      []byte
	at      int
	members []string
	path    []string
	fault   *problem
}

func (s *scanner) fail(format string, args ...any) {
	if s.fault != nil {
		return
	}
	var pointer strings.Builder
	for _, step := range s.path {
		pointer.WriteString("/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step))
	}
	s.fault = invalid(pointer.String(), fmt.Sprintf(format, args...))
}

func (s *scanner) space() { s.at = jsonb.Blank(s.in, s.at) }

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if s.at >= len(s.in) {
		return 0
	}
	return s.in[s.at]
}

// take steps over a byte if it is the next one.
func (s *scanner) take(c byte) bool {
	if s.fault != nil || s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) value(depth int) {
	switch c := s.peek(); {
	case depth > depthMax:
		s.fail("nested deeper than %d", depthMax)
	case c == '{':
		s.object(depth)
	case c == '[':
		s.array(depth)
	case c == '"':
		s.text()
	case c == 'n' && depth == 1:
		s.fail("null: leave the member out instead")
	default:
		s.scalar(depth)
	}
}

// scalar reads a number or a word. Only the normal form of a number shows whether it can be stored.
func (s *scanner) scalar(depth int) {
	end, err := jsonb.Skip(s.in, s.at, depth, depthMax)
	if err == nil {
		_, err = jsonb.Normalize(s.in[s.at:end])
	}
	s.step(end, err)
}

// step moves to the end of what package jsonb has accepted.
func (s *scanner) step(end int, err error) {
	var refused *jsonb.Error
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

func (s *scanner) object(depth int) {
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

func (s *scanner) member(depth int, name string, seen map[string]bool) {
	switch {
	case s.fault != nil:
		return
	case seen[name]:
		s.fail("the name is repeated")
	case depth == 0 && !slices.Contains(s.members, name):
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

func (s *scanner) array(depth int) {
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
func (s *scanner) text() string {
	if s.peek() != '"' {
		s.fail("JSON at byte %d: want a string", s.at)
		return ""
	}
	start := s.at
	end, _, err := jsonb.Text(s.in, s.at)
	s.step(end, err)
	if s.fault != nil {
		return ""
	}
	return string(jsonb.Unescape(nil, s.in[start+1:end-1]))
}
