package auth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math"
	"time"
	"unicode/utf8"
)

var errSegment = errors.New("not a JSON object in base64url")

// members decodes one segment of a token: a JSON object in strict base64url, names exact and not repeated.
func members(segment string) (map[string]json.RawMessage, error) {
	text, err := base64.RawURLEncoding.Strict().DecodeString(segment)
	if err != nil || !utf8.Valid(text) {
		return nil, errSegment
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if open, err := decoder.Token(); err != nil || open != json.Delim('{') {
		return nil, errSegment
	}
	out := map[string]json.RawMessage{}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, errSegment
		}
		key, _ := name.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, errSegment
		}
		if _, repeated := out[key]; repeated {
			return nil, errSegment
		}
		out[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, errSegment
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errSegment
	}
	return out, nil
}

// text reads a member that must be a string; present is false when it is not there.
func text(m map[string]json.RawMessage, name string) (value string, present bool, err error) {
	raw, present := m[name]
	if !present {
		return "", false, nil
	}
	if len(raw) == 0 || raw[0] != '"' {
		return "", true, invalid("%s is not a string", name)
	}
	if last := len(raw) - 1; last > 0 && raw[last] == '"' && !bytes.ContainsFunc(raw[1:last], notPlain) { // as nearly all are, at each request
		return string(raw[1:last]), true, nil
	}
	if err := json.Unmarshal(raw, &value); err != nil {
		return "", true, invalid("%s is not a string", name)
	}
	return value, true, nil
}

// notPlain tells what a JSON string holds that does not stand for itself.
func notPlain(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }

// secondsMax bounds times in tokens: beyond, a time is a mistake or an attack.
const secondsMax = 1e11

// instant reads a member that must be a NumericDate.
func instant(m map[string]json.RawMessage, name string) (at time.Time, present bool, err error) {
	raw, present := m[name]
	if !present {
		return time.Time{}, false, nil
	}
	var seconds float64
	if raw[0] == 'n' || json.Unmarshal(raw, &seconds) != nil || !(seconds > 0 && seconds < secondsMax) {
		return time.Time{}, true, invalid("%s is not a time", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}

// audience reads aud: a string or a list of strings.
func audience(m map[string]json.RawMessage) ([]string, error) {
	raw := m["aud"]
	var one string
	if len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if len(raw) > 0 && raw[0] == '[' && json.Unmarshal(raw, &many) == nil {
		return many, nil
	}
	return nil, invalid("aud is missing or not a string or a list of strings")
}
