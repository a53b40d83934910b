package openmemory

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/refold-dev/refold/events/storable"
)

// element is one value of the document: an item of one of its arrays, or a member that is no array.
type element struct {
	member string
	index  int    // in the array, -1 = the member's value itself
	raw    []byte // valid JSON, until the next element; nil when fault is set
	fault  string // too large or too deep to be kept; the scan goes on behind it
}

// scanner reads one JSON object member by member and the arrays in it item by item. It holds one item at a time, so
// its memory does not depend on the size of the document. Grammar is checked all the way, with one exception:
// of an item that is too large or too deep only strings and brackets are followed.
type scanner struct {
	in     *bufio.Reader
	offset int64
	item   []byte
	arrays func(member string) bool // which members are read item by item
	// members are the names that were there, complete when scan has returned.
	members map[string]bool
}

func newScanner(from io.Reader, arrays func(member string) bool) *scanner {
	return &scanner{in: bufio.NewReaderSize(from, 64<<10), arrays: arrays, members: map[string]bool{}}
}

// scan calls visit for each element, in the order of the document, and reads up to its very end. It fails with a
// *FileError or with what visit returned.
func (s *scanner) scan(visit func(element) error) error {
	if err := s.expect('{', "an object"); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := s.next()
		if err != nil {
			return err
		}
		if first && c == '}' {
			return s.end()
		}
		if c != '"' {
			return s.syntax("the name of a member")
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if s.members[name] {
			return refuseFile(Duplicate, "/"+pathToken(name), "the member appears twice")
		}
		s.members[name] = true
		if err := s.member(name, visit); err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		switch c {
		case ',':
		case '}':
			return s.end()
		default:
			return s.syntax("',' or '}'")
		}
	}
}

func (s *scanner) name() (string, error) {
	e, err := s.value('"')
	if err != nil {
		return "", err
	}
	var name string
	if e.fault != "" || len(e.raw) > storable.NameBytesMax || json.Unmarshal(e.raw, &name) != nil {
		return "", s.syntax("a short name of a member")
	}
	return name, s.expect(':', "':'")
}

func (s *scanner) member(name string, visit func(element) error) error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if c == '[' && s.arrays(name) {
		return s.array(name, visit)
	}
	if s.arrays(name) {
		return refuseFile(BadShape, "/"+pathToken(name), "must be an array")
	}
	return s.visit(name, -1, c, visit)
}

func (s *scanner) array(name string, visit func(element) error) error {
	for index := 0; ; index++ {
		c, err := s.next()
		if err != nil {
			return err
		}
		if index == 0 && c == ']' {
			return nil
		}
		if err := s.visit(name, index, c, visit); err != nil {
			return err
		}
		if c, err = s.next(); err != nil {
			return err
		}
		switch c {
		case ',':
		case ']':
			return nil
		default:
			return s.syntax("',' or ']'")
		}
	}
}

func (s *scanner) visit(name string, index int, first byte, visit func(element) error) error {
	e, err := s.value(first)
	if err != nil {
		return err
	}
	e.member, e.index = name, index
	return visit(e)
}

// value reads one value whose first byte has been read.
func (s *scanner) value(first byte) (element, error) {
	s.item = append(s.item[:0], first)
	started := s.offset
	var err error
	depth, depthMax, bytes := 0, 0, 1
	switch first {
	case '{', '[':
		depth, depthMax, bytes, err = s.nested()
	case '"':
		bytes, err = s.text(bytes)
	default:
		bytes, err = s.scalar()
	}
	switch {
	case err != nil:
		return element{}, err
	case bytes > RecordBytesMax:
		return element{fault: tooLong(bytes)}, nil
	case depthMax > DepthMax:
		return element{fault: tooDeep(depthMax)}, nil
	case depth != 0 || !json.Valid(s.item):
		s.offset = started
		return element{}, s.syntax("a JSON value")
	}
	return element{raw: s.item}, nil
}

// nested reads on to the bracket that closes the value.
func (s *scanner) nested() (depth, depthMax, bytes int, err error) {
	depth, depthMax, bytes = 1, 1, 1
	for depth > 0 {
		c, err := s.byte()
		if err != nil {
			return 0, 0, 0, err
		}
		bytes++
		s.keep(c, bytes)
		switch c {
		case '{', '[':
			depth++
			depthMax = max(depthMax, depth)
		case '}', ']':
			depth--
		case '"':
			if bytes, err = s.text(bytes); err != nil {
				return 0, 0, 0, err
			}
		}
	}
	return depth, depthMax, bytes, nil
}

// text reads on to the quote that closes a string and returns bytes raised by what it read.
func (s *scanner) text(bytes int) (int, error) {
	for escaped := false; ; {
		c, err := s.byte()
		if err != nil {
			return 0, err
		}
		bytes++
		s.keep(c, bytes)
		switch {
		case escaped:
			escaped = false
		case c == '\\':
			escaped = true
		case c == '"':
			return bytes, nil
		}
	}
}

// scalar reads on to what ends a number or a word, and leaves that unread.
func (s *scanner) scalar() (bytes int, err error) {
	for bytes = 1; ; {
		c, err := s.byte()
		if err != nil {
			return 0, err
		}
		if c == ',' || c == ']' || c == '}' || blank(c) {
			s.offset--
			return bytes, s.in.UnreadByte()
		}
		bytes++
		s.keep(c, bytes)
	}
}

func (s *scanner) keep(c byte, bytes int) {
	if bytes <= RecordBytesMax {
		s.item = append(s.item, c)
	}
}

func (s *scanner) byte() (byte, error) {
	c, err := s.in.ReadByte()
	if errors.Is(err, io.EOF) {
		return 0, &FileError{Code: NotJSON, Path: documentName, Reason: "ends in the middle", Err: io.ErrUnexpectedEOF}
	}
	if err != nil {
		return 0, asFileError(documentName, err)
	}
	s.offset++
	return c, nil
}

// next returns the first byte that is no blank.
func (s *scanner) next() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil || !blank(c) {
			return c, err
		}
	}
}

func (s *scanner) expect(want byte, what string) error {
	c, err := s.next()
	if err != nil {
		return err
	}
	if c != want {
		return s.syntax(what)
	}
	return nil
}

// end reads to the end of the member, so that its checksum is compared, and wants nothing but blanks.
func (s *scanner) end() error {
	for {
		c, err := s.in.ReadByte()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return asFileError(documentName, err)
		}
		s.offset++
		if !blank(c) {
			return s.syntax("the end")
		}
	}
}

func (s *scanner) syntax(want string) error {
	return refuseFile(NotJSON, documentName, "not JSON at byte %d: expected %s", s.offset, want)
}

func blank(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// pathBytesMax bounds a token of a path in reports.
const pathBytesMax = 100

// pathToken writes a name as one token of a JSON pointer, shortened when it is long.
func pathToken(name string) string {
	out := make([]byte, 0, len(name))
	for _, r := range name {
		if len(out) > pathBytesMax {
			return string(out) + "..."
		}
		switch {
		case r == '~':
			out = append(out, "~0"...)
		case r == '/':
			out = append(out, "~1"...)
		case r < 0x20 || r == utf8.RuneError || r == 0x7f:
			out = append(out, '?')
		default:
			out = utf8.AppendRune(out, r)
		}
	}
	return string(out)
}
