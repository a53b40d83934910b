package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/refold-dev/refold/events/jsonb"
)

const (
	// Concealed stands in every answer for a secret that is set. Who sends it back keeps that secret.
	Concealed = "********"
	// sealedPrefix begins a secret that is sealed. No text of a caller's may begin so.
	sealedPrefix = "sealed:"
	// mark is the only member of an object that stands for a secret: {"$secret": "text"} is the text, and sealed.
	mark = "$secret"
)

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
	lent    bool   // the name is what another member says
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
			below := at.member(name)
			switch lent := namedBy(v); {
			case lent != "" && name == "value":
				below.name, below.lent = lent, true
			case lent != "" && one == lent: // what tells the name is none
				below.name = ""
			}
			changed, err := rewrite(below, one, visit)
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

// namedBy is the name that an object gives its own value, as lists of headers and variables do: {"name": n, "value": v}.
// It is empty unless it is the name of a secret.
func namedBy(object map[string]any) string {
	if _, pair := object["value"]; !pair {
		return ""
	}
	for _, member := range []string{"name", "key", "header", "variable"} {
		if name, isText := object[member].(string); isText && isSecretName(name) {
			return name
		}
	}
	return ""
}

// marked replaces every object that marks a secret by what seal makes of its text. No name of a member may be a secret:
// names are not sealed.
func marked(at place, value any, seal func(string) string) (any, error) {
	switch v := value.(type) {
	case map[string]any:
		if secret, isMarked := v[mark]; isMarked {
			text, isText := secret.(string)
			switch {
			case len(v) != 1 || !isText || text == "":
				return nil, &FaultError{at.pointer, `want {"` + mark + `": "text"}, with nothing beside it`}
			case text == Concealed:
				return Concealed, nil
			case strings.HasPrefix(text, sealedPrefix):
				return nil, &FaultError{at.pointer, "no text begins with " + sealedPrefix}
			}
			return sealedPrefix + seal(text), nil
		}
		out := make(map[string]any, len(v))
		for name, one := range v {
			if forms.MatchString(name) {
				return nil, &FaultError{at.pointer, "the name of a member is a secret, and names are not sealed: put it into a value"}
			}
			changed, err := marked(at.member(name), one, seal)
			if err != nil {
				return nil, err
			}
			out[name] = changed
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, one := range v {
			changed, err := marked(at.item(i), one, seal)
			if err != nil {
				return nil, err
			}
			out[i] = changed
		}
		return out, nil
	}
	if text, isText := value.(string); isText && strings.HasPrefix(text, sealedPrefix) {
		return nil, &FaultError{at.pointer, "no text begins with " + sealedPrefix}
	}
	return value, nil
}

// Sealed returns settings, or a part of them that stands at a path, with all their secrets sealed: what is marked, what the
// schema of known settings calls one, what has the name of a secret, and what looks like one. It fails with *FaultError.
func Sealed(path []string, settings json.RawMessage, seal func(text string) string) (json.RawMessage, error) {
	value, err := decode(settings)
	if err != nil {
		return nil, err
	}
	at := place{}
	for _, name := range path {
		at = at.member(name)
	}
	if value, err = marked(at, value, seal); err != nil {
		return nil, err
	}
	value, err = rewrite(at, value, func(at place, value any) (any, error) {
		text, isText := value.(string)
		switch {
		case !isText && value != nil && !at.lent && mustBeSecret(at.name):
			return nil, &FaultError{at.pointer, "by its name this is a secret, and secrets are texts"}
		case !isText || text == "" || text == Concealed || strings.HasPrefix(text, sealedPrefix): // the last by its mark
			return value, nil
		case isSecret(at, text):
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
		if !isText || text == "" || !strings.HasPrefix(text, sealedPrefix) && !isSecret(at, text) {
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
