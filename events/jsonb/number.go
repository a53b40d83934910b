package jsonb

import (
	"bytes"
	"fmt"
)

// exponentMax bounds an exponent before it is looked at closer; the plain form would exceed NumberBytesMax by far.
const exponentMax = 9999

// number writes the number at the position as numeric prints it: no exponent, its scale kept, no negative zero.
func (n *normalizer) number() error {
	end, err := Number(n.src, n.at)
	if err != nil {
		return err
	}
	start := len(n.out)
	out, ok := appendPlain(n.out, n.src[n.at:end])
	if !ok || len(out)-start > NumberBytesMax {
		return refuse(n.at, fmt.Sprintf("the number has more than %d characters in plain form", NumberBytesMax))
	}
	n.at, n.out = end, out
	return nil
}

func appendPlain(out, number []byte) (plain []byte, ok bool) {
	number, negative := bytes.CutPrefix(number, []byte("-"))
	mantissa, exponent, ok := cutExponent(number)
	if !ok {
		return nil, false
	}
	whole, fraction, _ := bytes.Cut(mantissa, []byte("."))
	scale := max(0, len(fraction)-exponent)
	point := len(whole) + exponent // how many of the digits stand before the point
	if scale > NumberBytesMax || len(mantissa) > NumberBytesMax+2 {
		return nil, false
	}
	digits := append(bytes.Clone(whole), fraction...)
	zero := len(bytes.Trim(digits, "0")) == 0
	if zero {
		digits, point = nil, 0
	}
	if point > NumberBytesMax {
		return nil, false
	}
	if negative && !zero {
		out = append(out, '-')
	}
	start := len(out)
	for i := range max(0, point) { // leading zeros fall away
		if d := digitAt(digits, i); d != '0' || len(out) > start {
			out = append(out, d)
		}
	}
	if len(out) == start {
		out = append(out, '0')
	}
	if scale > 0 {
		out = append(out, '.')
	}
	for i := range scale {
		out = append(out, digitAt(digits, point+i))
	}
	return out, true
}

func digitAt(digits []byte, i int) byte {
	if i < 0 || i >= len(digits) {
		return '0'
	}
	return digits[i]
}

func cutExponent(number []byte) (mantissa []byte, exponent int, ok bool) {
	at := bytes.IndexAny(number, "eE")
	if at < 0 {
		return number, 0, true
	}
	mantissa, written := number[:at], number[at+1:]
	negative := written[0] == '-'
	if negative || written[0] == '+' {
		written = written[1:]
	}
	for _, d := range written {
		if exponent = exponent*10 + int(d-'0'); exponent > exponentMax {
			return nil, 0, false
		}
	}
	if negative {
		exponent = -exponent
	}
	return mantissa, exponent, true
}
