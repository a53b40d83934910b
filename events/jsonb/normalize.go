package jsonb

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"unicode/utf8"
)

type normalizer struct {
	src []byte
	at  int
	out []byte
}

// member is one member of an object: its name as it means, and where `"name": value` stands in out.
type member struct {
	name       []byte
	start, end int
}

func (n *normalizer) value(depth int) error {
	if len(n.out) > BytesMax {
		return refuse(n.at, fmt.Sprintf("more than %d bytes once normalised", BytesMax))
	}
	if n.at >= len(n.src) {
		return refuse(n.at, "want a value")
	}
	c := n.src[n.at]
	switch {
	case c == '"':
		_, err := n.text()
		return err
	case (c == '{' || c == '[') && depth >= DepthMax:
		return refuse(n.at, fmt.Sprintf("nested deeper than %d", DepthMax))
	case c == '{':
		return n.object(depth + 1)
	case c == '[':
		return n.array(depth + 1)
	}
	if word := literal(n.src, n.at); word != "" {
		n.out = append(n.out, word...)
		n.at += len(word)
		return nil
	}
	return n.number()
}

// text writes the string at the position and returns what it means.
func (n *normalizer) text() ([]byte, error) {
	end, escaped, err := Text(n.src, n.at)
	if err != nil {
		return nil, err
	}
	meaning := n.src[n.at+1 : end-1]
	if escaped {
		meaning = Unescape(nil, meaning)
	}
	n.at = end
	n.out = AppendText(n.out, meaning)
	return meaning, nil
}

// AppendText appends a text that is valid UTF-8 as a string in the way of PostgreSQL: with the fewest escapes.
func AppendText[T string | []byte](out []byte, text T) []byte {
	const hexDigits = "0123456789abcdef"
	out = append(out, '"')
	from := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		out = append(out, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			out = append(out, '\\', c)
		case '\b':
			out = append(out, '\\', 'b')
		case '\f':
			out = append(out, '\\', 'f')
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	out = append(out, text[from:]...)
	return append(out, '"')
}

func (n *normalizer) array(depth int) error {
	n.out = append(n.out, '[')
	n.at = Blank(n.src, n.at+1)
	for first := true; ; first = false {
		if done, err := n.next(first, ']'); done || err != nil {
			return err
		}
		if err := n.value(depth); err != nil {
			return err
		}
	}
}

// next reads the comma before, or the bracket behind, the members of an array or object, and writes it.
func (n *normalizer) next(first bool, closing byte) (done bool, err error) {
	n.at = Blank(n.src, n.at)
	switch {
	case n.at < len(n.src) && n.src[n.at] == closing:
		n.at++
		n.out = append(n.out, closing)
		return true, nil
	case first:
		return false, nil
	case n.at == len(n.src) || n.src[n.at] != ',':
		return false, refuse(n.at, "want a comma or the end of the object or array")
	}
	n.at = Blank(n.src, n.at+1)
	n.out = append(n.out, ", "...)
	return false, nil
}

func (n *normalizer) object(depth int) error {
	start := len(n.out)
	n.out = append(n.out, '{')
	n.at = Blank(n.src, n.at+1)
	var members []member
	sorted := true
	for {
		if done, err := n.next(len(members) == 0, '}'); err != nil {
			return err
		} else if done {
			break
		}
		m, err := n.member(depth)
		if err != nil {
			return err
		}
		sorted = sorted && (len(members) == 0 || compareNames(members[len(members)-1].name, m.name) < 0)
		members = append(members, m)
	}
	if !sorted {
		n.reorder(start, members)
	}
	return nil
}

func (n *normalizer) member(depth int) (m member, err error) {
	m.start = len(n.out)
	if m.name, err = n.text(); err != nil {
		return m, err
	}
	if n.at, err = Colon(n.src, n.at); err != nil {
		return m, err
	}
	n.out = append(n.out, ": "...)
	err = n.value(depth)
	m.end = len(n.out)
	return m, err
}

// reorder writes the object that begins at start once more, its members in order and the last of equal names only.
func (n *normalizer) reorder(start int, members []member) {
	slices.SortStableFunc(members, func(a, b member) int { return compareNames(a.name, b.name) })
	written := bytes.Clone(n.out[start:])
	n.out = append(n.out[:start], '{')
	for i, m := range members {
		if i+1 < len(members) && bytes.Equal(m.name, members[i+1].name) {
			continue
		}
		if len(n.out) > start+1 {
			n.out = append(n.out, ", "...)
		}
		n.out = append(n.out, written[m.start-start:m.end-start]...)
	}
	n.out = append(n.out, '}')
}

func compareNames(a, b []byte) int {
	return cmp.Or(cmp.Compare(len(a), len(b)), bytes.Compare(a, b))
}

// Storable reports whether PostgreSQL takes s as a text: valid UTF-8 without the zero character.
func Storable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == 0 {
			return false
		}
	}
	return utf8.ValidString(s)
}
