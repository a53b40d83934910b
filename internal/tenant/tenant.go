// Package tenant decides about the life of tenants. Its events are the plane's own: they stand in the shard where
// the tenant lives, under the reserved tenant of the plane.
package tenant

import (
	"fmt"
	"unicode/utf8"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
)

// Bounds of what a tenant is made of.
const (
	NameBytesMax = 200
	KeyBytes     = 32
)

// State of a tenant.
type State struct{ Exists bool }

// Create makes a tenant. Key is its secret for message ids and derived ids.
type Create struct {
	Name string
	Key  []byte
}

// Evolve folds one event of a tenant into its state.
func Evolve(s State, e *envelope.Event) (State, error) {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return s, err
	}
	if _, ok := payload.(*events.TenantCreated); !ok {
		return s, fmt.Errorf("%s is no event of a tenant", e.Kind)
	}
	s.Exists = true
	return s, nil
}

// Decide answers a command.
func Decide(s State, c Create) (events.Payload, error) {
	switch {
	case s.Exists:
		return nil, command.Refuse(command.Exists, "the tenant exists")
	case len(c.Name) > NameBytesMax || !utf8.ValidString(c.Name):
		return nil, command.Refuse(command.Invalid, "the name of a tenant is valid UTF-8 of at most %d bytes", NameBytesMax)
	case len(c.Key) != KeyBytes:
		return nil, command.Refuse(command.Invalid, "the key of a tenant has %d bytes", KeyBytes)
	}
	return &events.TenantCreated{Private: events.TenantPrivate{Name: c.Name, Key: c.Key}}, nil
}
