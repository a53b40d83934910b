package jsonb

import "bytes"

// isNormal recognises most texts that are their own normal form, without an allocation. A false may be wrong (strings
// with escapes are left to the normaliser), a true never is.
func isNormal(src []byte) bool {
	end, ok := normalEnd(src, 0, 0)
	return ok && end == len(src)
}

// normalEnd returns the index behind the normal value at src[at].
func normalEnd(src []byte, at, depth int) (end int, ok bool) {
	if at >= len(src) {
		return at, false
	}
	switch c := src[at]; {
	case c == '"':
		return normalText(src, at)
	case c == '{' || c == '[':
		return normalMembers(src, at, depth+1)
	}
	if word := literal(src, at); word != "" {
		return at + len(word), true
	}
	return normalNumber(src, at)
}

func normalText(src []byte, at int) (end int, ok bool) {
	end, escaped, err := Text(src, at)
	return end, err == nil && !escaped
}

func normalNumber(src []byte, at int) (end int, ok bool) {
	end, err := Number(src, at)
	number := src[at:end]
	if err != nil || len(number) > NumberBytesMax || bytes.ContainsAny(number, "eE") {
		return at, false
	}
	negativeZero := number[0] == '-' && len(bytes.Trim(number[1:], "0.")) == 0
	return end, !negativeZero
}

func normalMembers(src []byte, at, depth int) (end int, ok bool) {
	object, closing := src[at] == '{', src[at]+2
	if at++; depth > DepthMax || at < len(src) && src[at] == closing {
		return at + 1, depth <= DepthMax
	}
	var before []byte
	for first := true; ; first = false {
		if object {
			end, ok = normalText(src, at)
			if !ok || !bytes.HasPrefix(src[end:], []byte(": ")) {
				return at, false
			}
			name := src[at+1 : end-1]
			if !first && compareNames(before, name) >= 0 {
				return at, false
			}
			before, at = name, end+2
		}
		if at, ok = normalEnd(src, at, depth); !ok {
			return at, false
		}
		if at < len(src) && src[at] == closing {
			return at + 1, true
		}
		if !bytes.HasPrefix(src[at:], []byte(", ")) {
			return at, false
		}
		at += 2
	}
}
