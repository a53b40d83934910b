// Package config is what the config of a tenant means: settings that the tenant's users share, any JSON object, and the
// secrets in it. It is pure: no clock, no network, no database.
//
// A secret is sealed before it becomes part of a command, so that no event, row, log or answer ever has it: see Sealed.
// Nothing here opens a seal. Answers show Concealed in its place; who sends that back keeps the secret.
package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/events/storable"
	"github.com/refold-dev/refold/internal/command"
)

// Entity is the token of configs in keys and subjects.
const Entity = "config"

const (
	// BytesMax bounds the settings of a tenant, as they are stored.
	BytesMax = 64 << 10
	// EventsMax bounds the events of a config, since each decision reads them all.
	EventsMax = 10_000
)

// Payload is what Decide returns.
type Payload = events.Payload

// ID derives the id of the config of a tenant.
func ID(tenantKey []byte, tenant string) uuid.UUID {
	return envelope.DerivedID(tenantKey, tenant, Entity)
}

// State is what decisions about a config rest on.
type State struct {
	Events   int
	Settings json.RawMessage // normalised; nil = never set, which is as empty
}

// Evolve folds one event. It fails on an event that is none of a config.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	switch p := payload.(type) {
	case *events.ConfigSet:
		s.Events++
		s.Settings, err = jsonb.NormalizeObject(p.Private.Settings)
		return s, err
	case *events.UserRegistered, *events.UserChanged, *events.CategoryDefined,
		*events.AppRegistered, *events.AppChanged, *events.AppPaused, *events.AppResumed,
		*events.AppAccessRuled, *events.AppAccessWithdrawn,
		*events.MemoryAdded, *events.MemoryChanged, *events.MemoryActivated, *events.MemoryPaused,
		*events.MemoryArchived, *events.MemoryDeleted, *events.MemoryImported, *events.MemorySupplemented,
		*events.ArchivePolicySet, *events.ArchivePolicyWithdrawn, *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
	}
	return s, fmt.Errorf("%s: not an event of a config", e.Kind)
}

// Command is a wish about the config of a tenant. `By` is the user who wishes; secrets are sealed. The set is sealed:
//
//sumtype:decl
type Command interface{ command() }

// Replace puts a value in the place of what is at a path; without a path, of all settings.
type Replace struct {
	By       uuid.UUID
	Path     []string
	Settings json.RawMessage // a JSON object, or with a path null, by which that is taken away
}

// Merge changes what a JSON Merge Patch (RFC 7396) says.
type Merge struct {
	By    uuid.UUID
	Patch json.RawMessage // a JSON object
}

func (Replace) command() {}
func (Merge) command()   {}

// Decide answers a command: an event, a *command.Refusal, or nil and nil when there is nothing to do. A *FaultError
// becomes a refusal with its text.
func Decide(s State, cmd Command) (Payload, error) {
	switch c := cmd.(type) {
	case Replace:
		return s.change(c.By, c.Settings, func(old, value any) any { return replaced(old, c.Path, value) })
	case Merge:
		return s.change(c.By, c.Patch, merged)
	}
	return nil, fmt.Errorf("no decision about the command %T", cmd)
}

func (s State) change(by uuid.UUID, given json.RawMessage, apply func(old, value any) any) (Payload, error) {
	if err := storable.ID("the user", by); err != nil {
		return nil, command.Refused(err)
	}
	old, err := decode(s.Settings)
	if err != nil {
		return nil, err
	}
	value, err := decode(given)
	if err != nil {
		return nil, command.Refuse(command.Invalid, "%s", err)
	}
	settings, err := settled(apply(old, value), old)
	var fault *FaultError
	var unfit *jsonb.Error
	switch {
	case errors.As(err, &fault), errors.As(err, &unfit):
		return nil, command.Refuse(command.Invalid, "%s", err)
	case err != nil:
		return nil, err
	case bytes.Equal(settings, s.normal()):
		return nil, nil
	case s.Events >= EventsMax:
		return nil, command.Refuse(command.StateForbids, "the config has %d events, which is the most", s.Events)
	}
	return &events.ConfigSet{By: by, Private: events.ConfigPrivate{Settings: settings}}, nil
}

func (s State) normal() json.RawMessage {
	if s.Settings == nil {
		return json.RawMessage("{}")
	}
	return s.Settings
}

// settled are the settings as they go into an event.
func settled(value, old any) (json.RawMessage, error) {
	if _, isObject := value.(map[string]any); !isObject {
		return nil, &FaultError{"", "not an object"}
	}
	value, err := kept(value, old)
	if err != nil {
		return nil, err
	}
	settings, err := encode(value)
	if err == nil && len(settings) > BytesMax {
		return nil, &FaultError{"", fmt.Sprintf("%d bytes with their sealed secrets, want at most %d", len(settings), BytesMax)}
	}
	return settings, err
}

// replaced returns a copy of old with value at a path. Null takes away.
func replaced(old any, path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	out := copied(old)
	if below := replaced(out[path[0]], path[1:], value); below != nil {
		out[path[0]] = below
	} else {
		delete(out, path[0])
	}
	return out
}

// merged is MergePatch of RFC 7396.
func merged(old, patch any) any {
	changes, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	out := copied(old)
	for name, change := range changes {
		if change == nil {
			delete(out, name)
			continue
		}
		out[name] = merged(out[name], change)
	}
	return out
}

// copied is a copy of an object; of anything else, an empty one.
func copied(value any) map[string]any {
	out := map[string]any{}
	if object, ok := value.(map[string]any); ok {
		for name, one := range object {
			out[name] = one
		}
	}
	return out
}
