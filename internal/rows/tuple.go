package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Tuple builds one row in the binary form of COPY: a count of fields, then for each its length and value
// (PostgreSQL documentation, "COPY", binary format). The same bytes are loaded, compared and hashed.
// The first value that Postgres would not store is remembered as the error of the tuple.
type Tuple struct {
	b   []byte
	n   int
	at  int // where the count of fields stands
	err error
}

var (
	errNUL     = errors.New("text holds a NUL character")
	errUTF8    = errors.New("text is not valid UTF-8")
	errTime    = errors.New("time is outside of what the database stores")
	microEpoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
)

// The bounds of timestamptz.
const (
	timeYearMin = -4712
	timeYearMax = 294275
)

func (t *Tuple) begin() {
	t.at = len(t.b)
	t.n = 0
	t.b = append(t.b, 0, 0)
}

func (t *Tuple) end() { binary.BigEndian.PutUint16(t.b[t.at:], uint16(t.n)) }

func (t *Tuple) reset() { t.b, t.n, t.at, t.err = t.b[:0], 0, 0, nil }

func (t *Tuple) length(n int) { t.b = binary.BigEndian.AppendUint32(t.b, uint32(n)); t.n++ }

func (t *Tuple) fail(err error) {
	if t.err == nil {
		t.err = fmt.Errorf("column %d: %w", t.n+1, err)
	}
}

// Null appends NULL.
func (t *Tuple) Null() { t.b = append(t.b, 0xff, 0xff, 0xff, 0xff); t.n++ }

// Text appends a text value.
func (t *Tuple) Text(s string) {
	switch {
	case !utf8.ValidString(s):
		t.fail(errUTF8)
	case strings.IndexByte(s, 0) >= 0:
		t.fail(errNUL)
	}
	t.length(len(s))
	t.b = append(t.b, s...)
}

// TextOrNull appends a text value or NULL.
func (t *Tuple) TextOrNull(s *string) {
	if s == nil {
		t.Null()
		return
	}
	t.Text(*s)
}

// UUID appends a uuid.
func (t *Tuple) UUID(id uuid.UUID) { t.length(16); t.b = append(t.b, id[:]...) }

// UUIDOrNull appends a uuid or NULL.
func (t *Tuple) UUIDOrNull(id *uuid.UUID) {
	if id == nil {
		t.Null()
		return
	}
	t.UUID(*id)
}

// Int8 appends a bigint.
func (t *Tuple) Int8(v int64) { t.length(8); t.b = binary.BigEndian.AppendUint64(t.b, uint64(v)) }

// Int4 appends an integer.
func (t *Tuple) Int4(v int32) { t.length(4); t.b = binary.BigEndian.AppendUint32(t.b, uint32(v)) }

// Bool appends a boolean.
func (t *Tuple) Bool(v bool) {
	t.length(1)
	if v {
		t.b = append(t.b, 1)
	} else {
		t.b = append(t.b, 0)
	}
}

// Time appends a timestamptz at microseconds.
func (t *Tuple) Time(v time.Time) {
	if y := v.Year(); y < timeYearMin || y > timeYearMax {
		t.fail(errTime)
	}
	t.Int8(v.UnixMicro() - microEpoch)
}

// TimeOrNull appends a timestamptz or NULL.
func (t *Tuple) TimeOrNull(v *time.Time) {
	if v == nil {
		t.Null()
		return
	}
	t.Time(*v)
}

// Bytes appends a bytea.
func (t *Tuple) Bytes(v []byte) { t.length(len(v)); t.b = append(t.b, v...) }

// JSONB appends a jsonb value. The text must be in Postgres' own form (package jsonb), else it would not be read
// back as it was written.
func (t *Tuple) JSONB(v []byte) {
	t.length(len(v) + 1)
	t.b = append(append(t.b, 1), v...)
}

// Fields are the values of a tuple, nil for NULL. They alias the tuple.
type Fields [][]byte

var errTuple = errors.New("malformed tuple")

// own takes in a whole tuple that was made or cut out here: anything else is a defect.
func (f *Fields) own(tuple []byte) {
	if rest, complete, err := f.parse(tuple); err != nil || !complete || len(rest) > 0 {
		panic(errTuple)
	}
}

// parse splits the tuple at the start of b and returns what follows it. complete is false when b ends too early.
func (f *Fields) parse(b []byte) (rest []byte, complete bool, err error) {
	if len(b) < 2 {
		return b, false, nil
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if n < 0 {
		return nil, false, errTuple
	}
	*f = (*f)[:0]
	p := 2
	for range n {
		if len(b) < p+4 {
			return b, false, nil
		}
		size := int(int32(binary.BigEndian.Uint32(b[p:])))
		p += 4
		if size < 0 {
			*f = append(*f, nil)
			continue
		}
		if len(b) < p+size {
			return b, false, nil
		}
		*f = append(*f, b[p:p+size:p+size])
		p += size
	}
	return b[p:], true, nil
}

// Text returns field i as a string.
func (f Fields) Text(i int) string { return string(f[i]) }

// UUID returns field i as a uuid; the zero uuid if it is none.
func (f Fields) UUID(i int) uuid.UUID {
	var id uuid.UUID
	copy(id[:], f[i])
	return id
}

// Int8 returns field i as a bigint.
func (f Fields) Int8(i int) int64 {
	if len(f[i]) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(f[i]))
}

// format renders a binary value of a column for people: as psql would show it, NULL as nil.
func format(typ string, v []byte) *string {
	if v == nil {
		return nil
	}
	var s string
	switch {
	case typ == "uuid" && len(v) == 16:
		s = uuid.UUID(v).String()
	case typ == "int8" && len(v) == 8:
		s = fmt.Sprint(int64(binary.BigEndian.Uint64(v)))
	case typ == "int4" && len(v) == 4:
		s = fmt.Sprint(int32(binary.BigEndian.Uint32(v)))
	case typ == "bool" && len(v) == 1:
		s = fmt.Sprint(v[0] == 1)
	case typ == "timestamptz" && len(v) == 8:
		s = time.UnixMicro(int64(binary.BigEndian.Uint64(v)) + microEpoch).UTC().Format(time.RFC3339Nano)
	case typ == "jsonb" && len(v) > 0:
		s = string(v[1:])
	case typ == "bytea":
		s = fmt.Sprintf("\\x%x", v)
	default:
		s = string(v)
	}
	return &s
}
