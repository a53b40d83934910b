package openmemory

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// fault is what is wrong with one record, and where.
type fault struct {
	path   string // JSON pointer within the record
	reason string
}

func tooLong(bytes int) string {
	return fmt.Sprintf("has %d bytes, at most %d are taken", bytes, RecordBytesMax)
}

func tooDeep(depth int) string {
	return fmt.Sprintf("is nested %d deep, at most %d are taken", depth, DepthMax)
}

// lint looks for what JSON may say but the tables can not hold, or what readers of JSON take in different ways:
// U+0000, half a surrogate pair, bytes that are no UTF-8, numbers beyond all measure, a member twice. It returns nil
// when raw, which is valid JSON at most DepthMax deep, is free of it.
//
// The members of raw, when it is an object, come with it: they point into raw.
func lint(raw []byte) ([]member, *fault) {
	l := linter{raw: raw, members: make([]member, 0, 16)}
	l.value("")
	return l.members, l.fault
}

// member of the object that is a record.
type member struct {
	name string
	raw  []byte
}

type linter struct {
	raw     []byte
	at      int
	depth   int
	members []member
	fault   *fault
}

func (l *linter) blame(path, format string, args ...any) {
	if l.fault == nil {
		l.fault = &fault{path: path, reason: fmt.Sprintf(format, args...)}
	}
}

func (l *linter) skipBlanks() {
	for l.at < len(l.raw) && blank(l.raw[l.at]) {
		l.at++
	}
}

func (l *linter) value(path string) {
	l.skipBlanks()
	if l.fault != nil || l.at >= len(l.raw) {
		return
	}
	switch c := l.raw[l.at]; {
	case c == '{':
		l.object(path)
	case c == '[':
		l.array(path)
	case c == '"':
		l.text(path)
	case c == '-' || c >= '0' && c <= '9':
		l.number(path)
	default: // true, false, null
		for l.at < len(l.raw) && l.raw[l.at] >= 'a' && l.raw[l.at] <= 'z' {
			l.at++
		}
	}
	l.skipBlanks()
}

func (l *linter) object(path string) {
	var seen names
	l.depth++
	l.at++
	l.skipBlanks()
	for l.fault == nil && l.at < len(l.raw) && l.raw[l.at] != '}' {
		name := l.text(path)
		below := path + "/" + pathToken(name)
		if !seen.add(name) {
			l.blame(below, "the member appears twice")
			return
		}
		l.skipBlanks()
		l.at++ // ':'
		l.skipBlanks()
		start := l.at
		l.value(below)
		if l.depth == 1 {
			l.members = append(l.members, member{name, bytes.TrimRight(l.raw[start:min(l.at, len(l.raw))], " \t\r\n")})
		}
		l.comma()
	}
	l.depth--
	l.at++
}

// names is a set that is a list as long as it is short, as it mostly is.
type names struct {
	few  []string
	many map[string]bool
}

// add reports whether the name is new.
func (n *names) add(name string) bool {
	const fewMax = 16
	if n.many == nil {
		if slices.Contains(n.few, name) {
			return false
		}
		if n.few = append(n.few, name); len(n.few) > fewMax {
			n.many = map[string]bool{}
			for _, name := range n.few {
				n.many[name] = true
			}
		}
		return true
	}
	if n.many[name] {
		return false
	}
	n.many[name] = true
	return true
}

func (l *linter) array(path string) {
	l.at++
	l.skipBlanks()
	for i := 0; l.fault == nil && l.at < len(l.raw) && l.raw[l.at] != ']'; i++ {
		l.value(path + "/" + strconv.Itoa(i))
		l.comma()
	}
	l.at++
}

func (l *linter) comma() {
	if l.at < len(l.raw) && l.raw[l.at] == ',' {
		l.at++
		l.skipBlanks()
	}
}

// text checks a string and returns it as its reader will see it.
func (l *linter) text(path string) string {
	l.at++
	start := l.at
	for l.at < len(l.raw) && l.raw[l.at] != '"' && l.raw[l.at] != '\\' {
		l.at++
	}
	if l.at < len(l.raw) && l.raw[l.at] == '"' { // no escapes, the common case
		s := l.raw[start:l.at]
		l.at++
		l.checkUTF8(path, s)
		return string(s)
	}
	out := bytes.Clone(l.raw[start:l.at])
	for l.at < len(l.raw) && l.raw[l.at] != '"' {
		if l.raw[l.at] == '\\' {
			out = l.escape(path, out)
			continue
		}
		out = append(out, l.raw[l.at])
		l.at++
	}
	l.at++
	l.checkUTF8(path, out)
	return string(out)
}

func (l *linter) checkUTF8(path string, s []byte) {
	if !utf8.Valid(s) {
		l.blame(path, "is not valid UTF-8")
	}
}

func (l *linter) escape(path string, out []byte) []byte {
	c := l.raw[l.at+1]
	l.at += 2
	if c != 'u' {
		if i := bytes.IndexByte([]byte(`bfnrt`), c); i >= 0 {
			c = "\b\f\n\r\t"[i]
		}
		return append(out, c)
	}
	r := l.hex()
	switch {
	case r == 0:
		l.blame(path, `holds \u0000, which no table can hold`)
	case utf16.IsSurrogate(r):
		low := rune(0)
		if l.at+6 <= len(l.raw) && l.raw[l.at] == '\\' && l.raw[l.at+1] == 'u' {
			l.at += 2
			low = l.hex()
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			l.blame(path, "holds half of a surrogate pair, which is no text")
		}
	}
	return utf8.AppendRune(out, r)
}

// hex reads the four digits of an escape.
func (l *linter) hex() rune {
	n, _ := strconv.ParseUint(string(l.raw[l.at:l.at+4]), 16, 32) // digits, since the JSON is valid
	l.at += 4
	return rune(n)
}

func (l *linter) number(path string) {
	start := l.at
	for l.at < len(l.raw) && bytes.IndexByte([]byte("+-.eE0123456789"), l.raw[l.at]) >= 0 {
		l.at++
	}
	n := l.raw[start:l.at]
	if len(n) > NumberBytesMax {
		l.blame(path, "is a number of %d characters, at most %d are taken", len(n), NumberBytesMax)
		return
	}
	i := bytes.IndexAny(n, "eE")
	if i < 0 {
		return
	}
	if e, err := strconv.Atoi(string(n[i+1:])); err != nil || e > ExponentMax || e < -ExponentMax {
		l.blame(path, "is the number %.40s, whose exponent is beyond %d", n, ExponentMax)
	}
}
