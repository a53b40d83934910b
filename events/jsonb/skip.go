package jsonb

import "fmt"

// Skip checks the value at src[at] and returns the index behind it. depth is how deep that value lies already;
// depthMax bounds the whole.
func Skip(src []byte, at, depth, depthMax int) (end int, err error) {
	if at >= len(src) {
		return at, refuse(at, "want a value")
	}
	switch c := src[at]; c {
	case '"':
		end, _, err = Text(src, at)
		return end, err
	case '{', '[':
		if depth >= depthMax {
			return at, refuse(at, fmt.Sprintf("nested deeper than %d", depthMax))
		}
		return skipMembers(src, at, depth+1, depthMax)
	}
	if word := literal(src, at); word != "" {
		return at + len(word), nil
	}
	return Number(src, at)
}

// skipMembers reads from the opening bracket of an object or array to behind the closing one.
func skipMembers(src []byte, at, depth, depthMax int) (end int, err error) {
	object, closing := src[at] == '{', src[at]+2 // '}' and ']' stand two behind their opening ones
	if at = Blank(src, at+1); at < len(src) && src[at] == closing {
		return at + 1, nil
	}
	for {
		if object {
			if at, err = Name(src, at); err != nil {
				return at, err
			}
		}
		if at, err = Skip(src, at, depth, depthMax); err != nil {
			return at, err
		}
		at = Blank(src, at)
		switch {
		case at < len(src) && src[at] == closing:
			return at + 1, nil
		case at == len(src) || src[at] != ',':
			return at, refuse(at, "want a comma or the end of the object or array")
		}
		at = Blank(src, at+1)
	}
}

// Name reads the name of a member and the colon behind it, and returns the index of the value.
func Name(src []byte, at int) (value int, err error) {
	end, _, err := Text(src, at)
	if err != nil {
		return end, err
	}
	return Colon(src, end)
}

// Colon reads the colon behind a name and returns the index of the value.
func Colon(src []byte, at int) (value int, err error) {
	at = Blank(src, at)
	if at == len(src) || src[at] != ':' {
		return at, refuse(at, "want a colon")
	}
	return Blank(src, at+1), nil
}
