// Package jsonb knows JSON text to the byte: it reads it strictly, and it writes the very text that PostgreSQL gives
// for a jsonb value. So what a fold computes equals what a table returns, and whatever is accepted here can be stored.
package jsonb

import "fmt"

const (
	// BytesMax bounds a text, as handed in and as normalised.
	BytesMax = 256 << 10
	// DepthMax bounds how deep objects and arrays are nested.
	DepthMax = 64
	// NumberBytesMax bounds a number in its plain form: 1e299 is taken, 1e300 is not.
	NumberBytesMax = 300
)

// Error says where a JSON text is refused, and why.
type Error struct {
	Offset int // in bytes
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("JSON at byte %d: %s", e.Offset, e.Reason) }

func refuse(offset int, reason string) error { return &Error{Offset: offset, Reason: reason} }

// Normalize returns the text that PostgreSQL gives for src::jsonb: keys ordered by length, then by bytes, the last of
// equal keys wins, ", " and ": " between, numbers in plain form with their scale, strings with the fewest escapes.
// It fails with *Error for what PostgreSQL refuses (\u0000, lone surrogates, invalid UTF-8) and for what exceeds the
// bounds of this package. The result may be src itself.
func Normalize(src []byte) ([]byte, error) {
	if len(src) > BytesMax {
		return nil, refuse(BytesMax, fmt.Sprintf("%d bytes, at most %d are taken", len(src), BytesMax))
	}
	if isNormal(src) {
		return src, nil
	}
	n := normalizer{src: src, out: make([]byte, 0, len(src)+len(src)/8+16)}
	n.at = Blank(src, 0)
	if err := n.value(0); err != nil {
		return nil, err
	}
	if n.at = Blank(src, n.at); n.at != len(src) {
		return nil, refuse(n.at, "something follows the value")
	}
	if len(n.out) > BytesMax {
		return nil, refuse(n.at, fmt.Sprintf("more than %d bytes once normalised", BytesMax))
	}
	return n.out, nil
}

// NormalizeObject is Normalize for an object; nothing at all is the empty object.
func NormalizeObject(src []byte) ([]byte, error) {
	if len(src) == 0 {
		return []byte("{}"), nil
	}
	if at := Blank(src, 0); at == len(src) || src[at] != '{' {
		return nil, refuse(at, "not an object")
	}
	return Normalize(src)
}
