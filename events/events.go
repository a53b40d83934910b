// Package events is the contract between those who publish and those who fold: every kind of event with its
// payload, its JSON form and the order of its versions. Producers may import it.
//
// Payloads evolve by addition only. A changed meaning is a new kind (".v2"); old kinds stay readable for ever,
// each with a golden file in testdata that never changes. What is personal (content, metadata, names, e-mail,
// free text) sits in the Private half of a payload and nowhere else in an event.
//
// A payload is one JSON object: the public half's members, and the member `private` with the personal ones and the
// request hash (see envelope.Compose). Names are snake_case, times RFC 3339 in UTC with six digits of a second, ids
// UUIDs in lower case. A nil pointer and an empty list are no member at all.
package events

import (
	"errors"
	"fmt"
)

// Payload is the content of one event. The set of its implementations is sealed:
//
//sumtype:decl
type Payload interface {
	// Kind is the event type on the wire, such as "memory.added.v1".
	Kind() string
	// Halves returns the public and the private half as JSON objects, for envelope.Compose. It fails on a value
	// that Decode would refuse, such as a text that is not UTF-8.
	Halves() (public, private []byte, err error)
	payload()
}

// ErrUnknownKind is returned by Decode for a kind that this version of the code does not know. The entity is to
// be held, never skipped: a newer version can fold the event.
var ErrUnknownKind = errors.New("unknown kind of event")

// MalformedError is returned by Decode for a payload that does not fit its kind.
type MalformedError struct {
	Kind string
	Err  error
}

func (e *MalformedError) Error() string { return fmt.Sprintf("malformed %s: %v", e.Kind, e.Err) }
func (e *MalformedError) Unwrap() error { return e.Err }

// Decode reads the payload of an event, as envelope.Compose has built it, and gives a pointer to the newest payload
// for it: an old kind is decoded into what replaced it. Members it does not know are skipped; everything else that is
// not exactly as Halves writes it fails with *MalformedError, an unknown kind with ErrUnknownKind.
// The payload shares no memory with data.
func Decode(kind string, data []byte) (Payload, error) {
	s := scanner{data: data}
	p := s.payload(kind)
	if p == nil {
		return nil, fmt.Errorf("%w: %q", ErrUnknownKind, kind)
	}
	if s.end(); s.err != nil {
		return nil, &MalformedError{Kind: kind, Err: s.err}
	}
	return p, nil
}

// payload reads the payload of a kind; nil means that there is no such kind.
func (s *scanner) payload(kind string) Payload {
	switch kind {
	case kindUserRegistered:
		return decodeUserRegistered(s)
	case kindUserChanged:
		return decodeUserChanged(s)
	case kindAppRegistered:
		return decodeAppRegistered(s)
	case kindAppChanged:
		return decodeAppChanged(s)
	case kindAppPaused:
		return decodeEmpty(s, new(AppPaused))
	case kindAppResumed:
		return decodeEmpty(s, new(AppResumed))
	case kindAppAccessRuled:
		return decodeAppAccessRuled(s)
	case kindAppAccessWithdrawn:
		return decodeAppAccessWithdrawn(s)
	case kindCategoryDefined:
		return decodeCategoryDefined(s)
	case kindArchivePolicySet:
		return decodeArchivePolicySet(s)
	case kindArchivePolicyWithdrawn:
		return &ArchivePolicyWithdrawn{By: decodeBy(s)}
	case kindConfigSet:
		return decodeConfigSet(s)
	case kindMemoryAdded:
		return decodeMemoryAdded(s)
	case kindMemoryChanged:
		return decodeMemoryChanged(s)
	case kindMemoryActivated:
		return decodeMemoryActivated(s)
	case kindMemoryPaused:
		return &MemoryPaused{By: decodeBy(s)}
	case kindMemoryArchived:
		return &MemoryArchived{By: decodeBy(s)}
	case kindMemoryDeleted:
		return &MemoryDeleted{By: decodeBy(s)}
	case kindMemoryImported:
		return decodeMemoryImported(s)
	case kindMemorySupplemented:
		return decodeMemorySupplemented(s)
	case kindJournalCreated:
		return decodeJournalCreated(s)
	case kindJournalReconciled:
		return decodeJournalReconciled(s)
	case kindTenantCreated:
		return decodeTenantCreated(s)
	case kindTenantSuspended:
		return decodeEmpty(s, new(TenantSuspended))
	case kindTenantResumed:
		return decodeEmpty(s, new(TenantResumed))
	case kindTenantRemoved:
		return decodeEmpty(s, new(TenantRemoved))
	case kindTenantLimited:
		return decodeTenantLimited(s)
	case kindBarrierRaised:
		return decodeEmpty(s, new(BarrierRaised))
	case kindRowsRepaired:
		return decodeRowsRepaired(s)
	}
	return nil
}

// Kinds returns every kind that Decode knows.
func Kinds() []string {
	return []string{
		kindUserRegistered, kindUserChanged,
		kindAppRegistered, kindAppChanged, kindAppPaused, kindAppResumed, kindAppAccessRuled, kindAppAccessWithdrawn,
		kindCategoryDefined,
		kindArchivePolicySet, kindArchivePolicyWithdrawn,
		kindConfigSet,
		kindMemoryAdded, kindMemoryChanged, kindMemoryActivated, kindMemoryPaused, kindMemoryArchived,
		kindMemoryDeleted, kindMemoryImported, kindMemorySupplemented,
		kindJournalCreated, kindJournalReconciled, kindTenantCreated, kindBarrierRaised, kindRowsRepaired,
		kindTenantSuspended, kindTenantResumed, kindTenantRemoved, kindTenantLimited,
	}
}
