// Package fold says what each event does to the rows of an edition. It is pure: it reads no clock, no network and
// no database, only the event and the rows of the event's entity. Live projection, replay and verification run
// this one function.
package fold

import (
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/rows"
)

// Version is part of an edition's shape. Raise it whenever the same events give other rows, for whatever reason; a test
// holds the rows of a corpus of events against those it gave before.
const Version = 1

// Tables is the schema of an edition, as the code knows it.
var Tables = rows.Define(users, apps, accessRules, categories, memories, memoryCategories, memoryStatuses, archivePolicies, configs)

var errNotThere = errors.New("the entity does not exist")

// Apply folds one event. An error holds the entity: the event is malformed, unknown, or contradicts the rows.
func Apply(w *rows.Set, e *envelope.Event) error {
	payload, err := events.Decode(e.Kind, e.Data)
	if err != nil {
		return err
	}
	if e.Tenant == envelope.PlaneTenant {
		return nil // the plane's own events fold into the control tables
	}
	id, err := uuid.Parse(e.ID)
	if err != nil || id.String() != e.ID {
		return fmt.Errorf("id %q of %s is not a uuid in its canonical form", e.ID, e.Entity)
	}
	at := entity{id: id, event: e, version: int64(e.Version)}
	switch p := payload.(type) {
	case *events.UserRegistered:
		return at.userRegistered(w, p)
	case *events.UserChanged:
		return at.userChanged(w, p)
	case *events.AppRegistered:
		return at.appRegistered(w, p)
	case *events.AppChanged:
		return at.appChanged(w, p)
	case *events.AppPaused:
		return at.appActive(w, false)
	case *events.AppResumed:
		return at.appActive(w, true)
	case *events.AppAccessRuled:
		return at.accessRuled(w, p)
	case *events.AppAccessWithdrawn:
		return at.accessWithdrawn(w, p)
	case *events.CategoryDefined:
		return at.categoryDefined(w, p)
	case *events.ArchivePolicySet:
		return at.archivePolicySet(w, p)
	case *events.ArchivePolicyWithdrawn:
		return at.archivePolicyWithdrawn(w)
	case *events.ConfigSet:
		return at.configSet(w, p)
	case *events.MemoryAdded:
		return at.memoryAdded(w, p)
	case *events.MemoryChanged:
		return at.memoryChanged(w, p)
	case *events.MemoryActivated:
		return at.memoryState(w, events.Active, p.By, p.Private)
	case *events.MemoryPaused:
		return at.memoryState(w, events.Paused, p.By, unchanged)
	case *events.MemoryArchived:
		return at.memoryState(w, events.Archived, p.By, unchanged)
	case *events.MemoryDeleted:
		return at.memoryState(w, events.Deleted, p.By, unchanged)
	case *events.MemoryImported:
		return at.memoryImported(w, p)
	case *events.MemorySupplemented:
		return at.memorySupplemented(w, p)
	case *events.JournalCreated, *events.JournalReconciled, *events.TenantCreated,
		*events.TenantSuspended, *events.TenantResumed, *events.TenantRemoved, *events.TenantLimited, *events.BarrierRaised, *events.RowsRepaired:
		return fmt.Errorf("%s outside of the plane's own tenant", e.Kind)
	}
	return fmt.Errorf("no fold for %s", e.Kind)
}

// entity is what every fold function needs to know about the event's entity.
type entity struct {
	id      uuid.UUID
	event   *envelope.Event
	version int64
}
