package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/refold-dev/refold/events/jsonb"
)

const (
	// Concealed stands in every answer for a secret that is set. Who sends it back keeps that secret.
	Concealed = "********"
	// sealedPrefix begins a secret that is sealed. No text of a caller's may begin so.
	sealedPrefix = "sealed:"
)

// secretEnds are how names of secrets end, in lower case and without _ and -.
var secretEnds = []string{"key", "secret", "token", "password", "passwd", "passphrase", "credential", "credentials", "authorization"}

// passwordInURL is that of a connection address.
var passwordInURL = regexp.MustCompile(`://[^/?#\s]*:[^/?#\s]*@`)

// isSecretName reports whether what has this name is a secret, whatever its text is.
func isSecretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
	for _, end := range secretEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// FaultError says what is wrong with settings, and where. It never repeats a text.
type FaultError struct {
	Pointer string // JSON Pointer
	Reason  string
}

func (e *FaultError) Error() string { return fmt.Sprintf("settings%s: %s", e.Pointer, e.Reason) }

// place is where a text stands in settings.
type place struct {
	pointer string
	name    string // of the member that it is in, however deep in lists
	inList  bool
}

func (p place) member(name string) place {
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
	return place{pointer: p.pointer + "/" + escaped, name: name, inList: p.inList}
}

func (p place) item(i int) place {
	return place{pointer: p.pointer + "/" + strconv.Itoa(i), name: p.name, inList: true}
}

// rewrite returns a copy in which every value that is no object and no list is what visit makes of it.
func rewrite(at place, value any, visit func(place, any) (any, error)) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, one := range v {
			changed, err := rewrite(at.member(name), one, visit)
			if err != nil {
				return nil, err
			}
			out[name] = changed
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			changed, err := rewrite(at.item(i), one, visit)
			if err != nil {
				return nil, err
			}
			out[i] = changed
		}
		return out, nil
	}
	return visit(at, value)
}

// Sealed returns settings, or a part of them that stands at a path, with all their secrets sealed: a text that has the
// name of a secret, and any that holds an address with a password. It fails with *FaultError.
func Sealed(path []string, settings json.RawMessage, seal func(text string) string) (json.RawMessage, error) {
	value, err := decode(settings)
	if err != nil {
		return nil, err
	}
	at := place{}
	for _, name := range path {
		at = at.member(name)
	}
	value, err = rewrite(at, value, func(at place, value any) (any, error) {
		text, isText := value.(string)
		switch {
		case !isText && value != nil && isSecretName(at.name):
			return nil, &FaultError{at.pointer, "by its name this is a secret, and secrets are texts"}
		case !isText || text == "" || text == Concealed:
			return value, nil
		case strings.HasPrefix(text, sealedPrefix):
			return nil, &FaultError{at.pointer, "no text begins with " + sealedPrefix}
		case isSecretName(at.name) || passwordInURL.MatchString(text):
			return sealedPrefix + seal(text), nil
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	return encode(value)
}

// Visible returns settings as answers show them, and the secrets that are set: a sign of each by its JSON Pointer, which
// tells that it has changed, and nothing else.
func Visible(settings json.RawMessage, sign func(sealed string) string) (visible json.RawMessage, secrets map[string]string, err error) {
	secrets = map[string]string{}
	value, err := decode(settings)
	if err != nil {
		return nil, nil, err
	}
	value, err = rewrite(place{}, value, func(at place, value any) (any, error) {
		text, isText := value.(string)
		if !isText || text == "" || !strings.HasPrefix(text, sealedPrefix) && !isSecretName(at.name) {
			return value, nil
		}
		secrets[at.pointer] = sign(text)
		return Concealed, nil
	})
	if err != nil {
		return nil, nil, err
	}
	visible, err = encode(value)
	return visible, secrets, err
}

// kept puts the secrets that are set into the places that say so.
func kept(settings, old any) (any, error) {
	return rewrite(place{}, settings, func(at place, value any) (any, error) {
		if value != Concealed {
			return value, nil
		}
		if at.inList {
			return nil, &FaultError{at.pointer, "a secret in a list must be given anew"}
		}
		sealed, isText := find(old, at.pointer).(string)
		if !isText || !strings.HasPrefix(sealed, sealedPrefix) {
			return nil, &FaultError{at.pointer, "there is no secret to be kept"}
		}
		return sealed, nil
	})
}

// find returns the value at a JSON Pointer that meets no list; nil when there is none.
func find(value any, pointer string) any {
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		object, _ := value.(map[string]any)
		value = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return value
}

// decode keeps numbers as they are written.
func decode(settings json.RawMessage) (value any, err error) {
	if len(settings) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(settings))
	d.UseNumber()
	if d.Decode(&value) != nil {
		return nil, errors.New("the settings are no JSON")
	}
	return value, nil
}

func encode(value any) (json.RawMessage, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	return jsonb.Normalize(text)
}
