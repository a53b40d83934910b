package httpapi

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/writer"
)

// The old system's config was of all users of all tenants, asked for no scope and told its secrets. This is the tenant's,
// from the members mem0 and openmemory of its settings. Other settings are neither shown here nor changed.

// oldConfig is all of it. Without a setting there is null: nothing is made up.
type oldConfig struct {
	Openmemory map[string]json.RawMessage `json:"openmemory"`
	Mem0       map[string]json.RawMessage `json:"mem0"`
}

var oldNull = json.RawMessage("null")

func (s *server) oldConfig(q *oldRequest) (c oldConfig, err error) {
	c = oldConfig{
		Openmemory: map[string]json.RawMessage{"custom_instructions": oldNull},
		Mem0:       map[string]json.RawMessage{"llm": oldNull, "embedder": oldNull, "vector_store": oldNull},
	}
	if q.nobody() {
		return c, nil
	}
	found, stamp, err := s.Reader.Config(q.Context(), q.reads(), q.fresh)
	q.rests(stamp)
	if err != nil {
		return c, err
	}
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(found.Settings, &settings); err != nil {
		return c, err
	}
	for name, into := range map[string]map[string]json.RawMessage{"openmemory": c.Openmemory, "mem0": c.Mem0} {
		_ = json.Unmarshal(settings[name], &into) // what is no object, or absent, has no settings of the old system
	}
	return c, nil
}

func oldGetConfig(s *server, q *oldRequest) (any, error) { return s.oldConfig(q) }

// oldGetConfigAt answers with a part of the config, or with absent where it was never set.
func oldGetConfigAt(absent string, path ...string) oldAnswer {
	return func(s *server, q *oldRequest) (any, error) {
		c, err := s.oldConfig(q)
		if err != nil || len(path) == 1 {
			return c.Openmemory, err
		}
		if part := c.Mem0[path[1]]; len(part) > 0 && string(part) != "null" {
			return part, nil
		}
		return json.RawMessage(absent), nil
	}
}

// oldSetConfig replaces each of the two members that the body has.
func oldSetConfig(s *server, q *oldRequest) (any, error) {
	parts, err := q.parts()
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if err := s.setConfig(q, parts[name], name); err != nil {
			return nil, err
		}
	}
	return s.oldConfig(q)
}

// oldSetConfigAt replaces a part of the config.
func oldSetConfigAt(path ...string) oldAnswer {
	return func(s *server, q *oldRequest) (any, error) {
		body, err := q.settings()
		if err != nil {
			return nil, err
		}
		part, err := json.Marshal(body)
		if err == nil {
			err = s.setConfig(q, part, path...)
		}
		if err != nil {
			return nil, err
		}
		return oldGetConfigAt("{}", path...)(s, q)
	}
}

// oldUnsetConfigAt takes a part of the config away.
func oldUnsetConfigAt(path ...string) oldAnswer {
	return func(s *server, q *oldRequest) (any, error) {
		return oldMessage{"Configuration removed"}, s.setConfig(q, oldNull, path...)
	}
}

func oldChangeConfig(s *server, q *oldRequest) (any, error) {
	parts, err := q.parts()
	if err != nil {
		return nil, err
	}
	return s.mergeConfig(q, parts)
}

func oldResetConfig(s *server, q *oldRequest) (any, error) {
	return s.mergeConfig(q, map[string]json.RawMessage{"mem0": oldNull, "openmemory": oldNull})
}

func (s *server) mergeConfig(q *oldRequest, patch map[string]json.RawMessage) (any, error) {
	text, err := json.Marshal(patch)
	if err != nil {
		return nil, err
	}
	err = s.configuring(q, "", func(w writer.Wish) (writer.Done, error) {
		return s.Writer.MergeConfig(q.Context(), q.c, w, s.Sealer, text)
	})
	if err != nil {
		return nil, err
	}
	return s.oldConfig(q)
}

func (s *server) setConfig(q *oldRequest, part json.RawMessage, path ...string) error {
	return s.configuring(q, path[0], func(w writer.Wish) (writer.Done, error) {
		return s.Writer.ReplaceConfig(q.Context(), q.c, w, s.Sealer, path, part)
	})
}

// configuring runs one of the commands of a request, told apart by which, and waits until it can be read.
func (s *server) configuring(q *oldRequest, which string, run func(writer.Wish) (writer.Done, error)) error {
	wish, err := q.wish()
	if err != nil {
		return err
	}
	wish.ID += which
	done, err := run(wish)
	var unfit *commands.InvalidError
	switch {
	case errors.As(err, &unfit):
		return problem.Invalid(strings.TrimPrefix(unfit.Pointer, "/settings"), unfit.Reason)
	case err != nil:
		return q.failed(err, wish.ID)
	}
	q.begun = true
	_ = s.shown(q, done.Position)
	return nil
}

// parts reads the two members that a body may have, of which the others are ignored.
func (q *oldRequest) parts() (map[string]json.RawMessage, error) {
	body, err := q.settings()
	parts := map[string]json.RawMessage{}
	for _, name := range []string{"mem0", "openmemory"} {
		if part, given := body[name]; given {
			var object map[string]json.RawMessage
			if json.Unmarshal(part, &object) != nil {
				return nil, problem.Invalid("/"+name, "not an object")
			}
			parts[name] = part
		}
	}
	return parts, err
}

func (q *oldRequest) settings() (body map[string]json.RawMessage, err error) {
	_, err = q.decode(&body, nil)
	return body, err
}
