package jsonb

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf8"
)

// Blank returns the index of the first byte from at on that is not white space.
func Blank(src []byte, at int) int {
	for at < len(src) && (src[at] == ' ' || src[at] == '\n' || src[at] == '\t' || src[at] == '\r') {
		at++
	}
	return at
}

// Text reads the string that begins with the quote at src[at]: end is the index behind its closing quote. The string
// is checked as a whole (UTF-8, escapes, surrogates, control characters); escaped tells whether Unescape is needed.
func Text(src []byte, at int) (end int, escaped bool, err error) {
	if at >= len(src) || src[at] != '"' {
		return at, false, refuse(at, "want a string")
	}
	var high uint64
	i := at + 1
	for {
		var seen uint64
		i, seen = plainEnd(src, i)
		high |= seen
		if i == len(src) {
			return i, false, refuse(at, "the string does not end")
		}
		switch c := src[i]; c {
		case '"':
			if high != 0 && !utf8.Valid(src[at+1:i]) {
				return at, false, refuse(at, "the string is not valid UTF-8")
			}
			return i + 1, escaped, nil
		case '\\':
			_, length, reason := escape(src, i)
			if reason != "" {
				return i, false, refuse(i, reason)
			}
			escaped = true
			i += length
		default:
			return i, false, refuse(i, "a control character in a string must be escaped")
		}
	}
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// plainEnd returns the index of the first quote, backslash or control character, eight bytes at a time; seen is not
// zero if a byte beyond ASCII was met.
func plainEnd(src []byte, i int) (end int, seen uint64) {
	for ; i+8 <= len(src); i += 8 {
		x := binary.LittleEndian.Uint64(src[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		stop := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*0x20)&^x) & highs
		seen |= x & highs
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8, seen
		}
	}
	for ; i < len(src) && src[i] != '"' && src[i] != '\\' && src[i] >= 0x20; i++ {
		seen |= uint64(src[i] & 0x80)
	}
	return i, seen
}

// escape reads the escape sequence at src[at]. A reason means that it is refused.
func escape(src []byte, at int) (r rune, length int, reason string) {
	if at+1 >= len(src) {
		return 0, 0, "the string does not end"
	}
	switch c := src[at+1]; c {
	case '"', '\\', '/':
		return rune(c), 2, ""
	case 'b':
		return '\b', 2, ""
	case 'f':
		return '\f', 2, ""
	case 'n':
		return '\n', 2, ""
	case 'r':
		return '\r', 2, ""
	case 't':
		return '\t', 2, ""
	case 'u':
		return escapedRune(src, at)
	}
	return 0, 0, "no such escape sequence"
}

func escapedRune(src []byte, at int) (r rune, length int, reason string) {
	r, ok := hex4(src, at+2)
	switch {
	case !ok:
		return 0, 0, `\u wants four hexadecimal digits`
	case r == 0:
		return 0, 0, `\u0000 cannot be stored`
	case r < 0xD800 || r > 0xDFFF:
		return r, 6, ""
	}
	if r < 0xDC00 && at+8 <= len(src) && src[at+6] == '\\' && src[at+7] == 'u' {
		if low, ok := hex4(src, at+8); ok && low >= 0xDC00 && low <= 0xDFFF {
			return (r-0xD800)<<10 + (low - 0xDC00) + 0x10000, 12, ""
		}
	}
	return 0, 0, "half of a surrogate pair"
}

func hex4(src []byte, at int) (r rune, ok bool) {
	if at+4 > len(src) {
		return 0, false
	}
	for _, c := range src[at : at+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 + rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 + rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 + rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	return r, true
}

// Unescape appends the text that stands between the quotes of a string which Text has accepted.
func Unescape(out, body []byte) []byte {
	for i := 0; i < len(body); {
		if body[i] != '\\' {
			out = append(out, body[i])
			i++
			continue
		}
		r, length, reason := escape(body, i)
		if reason != "" {
			panic("jsonb: Unescape of what Text did not accept: " + reason)
		}
		out = utf8.AppendRune(out, r)
		i += length
	}
	return out
}

// Number returns the index behind the number at src[at].
func Number(src []byte, at int) (end int, err error) {
	i := at
	if i < len(src) && src[i] == '-' {
		i++
	}
	whole := digitsEnd(src, i)
	if whole == i || whole > i+1 && src[i] == '0' {
		return i, refuse(at, "not a value")
	}
	i = whole
	if i < len(src) && src[i] == '.' {
		fraction := digitsEnd(src, i+1)
		if fraction == i+1 {
			return i, refuse(i, "a number wants digits behind its point")
		}
		i = fraction
	}
	if i < len(src) && (src[i] == 'e' || src[i] == 'E') {
		first := i + 1
		if first < len(src) && (src[first] == '+' || src[first] == '-') {
			first++
		}
		exponent := digitsEnd(src, first)
		if exponent == first {
			return i, refuse(i, "a number wants digits in its exponent")
		}
		i = exponent
	}
	return i, nil
}

func digitsEnd(src []byte, at int) int {
	for at < len(src) && src[at] >= '0' && src[at] <= '9' {
		at++
	}
	return at
}

// literal returns the word true, false or null at src[at], or "".
func literal(src []byte, at int) string {
	var word string
	switch src[at] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return ""
	}
	if len(src)-at < len(word) || string(src[at:at+len(word)]) != word {
		return ""
	}
	return word
}
