package events

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/jsonb"
)

// The readers of single values. On a fault they leave it in err and return zero.

// body returns what stands between the quotes of a string.
func (s *scanner) body() (body []byte, escaped bool) {
	if s.err != nil {
		return nil, false
	}
	end, escaped, err := jsonb.Text(s.data, s.at)
	if err != nil {
		s.fail(err)
		return nil, false
	}
	body = s.data[s.at+1 : end-1]
	s.at = end
	return body, escaped
}

func (s *scanner) text() string {
	body, escaped := s.body()
	if escaped {
		body = jsonb.Unescape(make([]byte, 0, len(body)), body)
	}
	return string(body)
}

func (s *scanner) textPointer() *string {
	text := s.text()
	return &text
}

func (s *scanner) metadata() json.RawMessage {
	from := s.at
	if s.err == nil && (from == len(s.data) || s.data[from] != '{') {
		s.refuse(from, "want an object")
	}
	s.skip()
	if s.err != nil {
		return nil
	}
	return bytes.Clone(s.data[from:s.at])
}

func (s *scanner) boolean() bool {
	rest := s.data[min(s.at, len(s.data)):]
	switch {
	case s.err != nil:
	case bytes.HasPrefix(rest, []byte("true")):
		s.at += len("true")
		return true
	case bytes.HasPrefix(rest, []byte("false")):
		s.at += len("false")
	default:
		s.refuse(s.at, "want true or false")
	}
	return false
}

func (s *scanner) integer() int {
	if s.err != nil {
		return 0
	}
	end, err := jsonb.Number(s.data, s.at)
	if err != nil {
		s.fail(err)
		return 0
	}
	n, err := strconv.Atoi(string(s.data[s.at:end]))
	if err != nil {
		s.refuse(s.at, "want a whole number")
		return 0
	}
	s.at = end
	return n
}

func (s *scanner) base64() []byte {
	at := s.at
	body, _ := s.body()
	out, err := base64.StdEncoding.Strict().AppendDecode(nil, body)
	if err != nil {
		s.refuse(at, "want base64")
	}
	return out
}

const uuidLength = 36

func (s *scanner) uuid() (id uuid.UUID) {
	at := s.at
	if s.err != nil {
		return id
	}
	if at+uuidLength+2 > len(s.data) || s.data[at] != '"' || s.data[at+1+uuidLength] != '"' ||
		!parseUUID(&id, s.data[at+1:at+1+uuidLength]) {
		s.refuse(at, "want a UUID of 36 characters in lower case")
		return uuid.Nil
	}
	s.at = at + uuidLength + 2
	return id
}

func (s *scanner) uuidPointer() *uuid.UUID {
	id := s.uuid()
	return &id
}

// uuids reads an array of ids; an empty one is not nil.
func (s *scanner) uuids() []uuid.UUID {
	s.open('[')
	if s.err != nil {
		return nil
	}
	// One allocation: an id with its quotes and a comma has 39 bytes, and no bracket stands among ids.
	width := bytes.IndexByte(s.data[s.at:], ']')
	out := make([]uuid.UUID, 0, (max(width, 0)+1)/(uuidLength+3))
	for s.more(']', len(out) == 0) {
		out = append(out, s.uuid())
	}
	return out
}

// uuidHyphens and uuidDigits say where the 36 characters have what.
var (
	uuidHyphens = [4]int{8, 13, 18, 23}
	uuidDigits  = [16]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34}
)

// noDigit marks the bytes that are no hexadecimal digit in lower case.
const noDigit = 0xff

var hexValues = func() (values [256]byte) {
	for i := range values {
		values[i] = noDigit
	}
	for i, c := range []byte("0123456789abcdef") {
		values[c] = byte(i)
	}
	return values
}()

func parseUUID(id *uuid.UUID, text []byte) bool {
	for _, at := range uuidHyphens {
		if text[at] != '-' {
			return false
		}
	}
	for i, at := range uuidDigits {
		high, low := hexValues[text[at]], hexValues[text[at+1]]
		if high|low == noDigit {
			return false
		}
		id[i] = high<<4 | low
	}
	return true
}

func (s *scanner) time() time.Time {
	at := s.at
	body, _ := s.body()
	t, ok := parseTime(body)
	if !ok {
		s.refuse(at, "want a time such as 2025-01-31T08:05:03.000001Z")
	}
	return t
}

func (s *scanner) timePointer() *time.Time {
	t := s.time()
	return &t
}

func (s *scanner) state() State {
	at := s.at
	body, _ := s.body()
	switch string(body) {
	case string(Active):
		return Active
	case string(Paused):
		return Paused
	case string(Archived):
		return Archived
	case string(Deleted):
		return Deleted
	}
	s.refuse(at, "want active, paused, archived or deleted")
	return ""
}

func (s *scanner) effect() Effect {
	at := s.at
	body, _ := s.body()
	switch string(body) {
	case string(Allow):
		return Allow
	case string(Deny):
		return Deny
	}
	s.refuse(at, "want allow or deny")
	return ""
}

// changes reads a status history; an empty one is not nil.
func (s *scanner) changes() []StatusChange {
	s.open('[')
	out := []StatusChange{}
	for s.more(']', len(out) == 0) {
		out = append(out, s.change())
	}
	return out
}

func (s *scanner) change() (c StatusChange) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "id":
			c.ID = s.uuid()
		case "changed_by":
			c.ChangedBy = s.uuid()
		case "old_state":
			c.OldState = s.state()
		case "new_state":
			c.NewState = s.state()
		case "changed_at":
			c.ChangedAt = s.time()
		default:
			s.skip()
		}
	}
	s.require(&m, "id", "changed_by", "old_state", "new_state", "changed_at")
	return c
}
