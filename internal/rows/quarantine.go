package rows

import (
	"context"
	"strings"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// ReasonBytesMax bounds the reason kept with a held entity.
const ReasonBytesMax = 500

// heldEntities is the quarantine, folded state as every table: one row an entity whose event could not be folded.
var heldEntities = &Table[One, db.HeldEntity]{
	Description: Description{
		Name: "held_entity",
		Columns: []Column{
			{"tenant_id", "text", true}, {"entity", "text", true}, {"entity_id", "text", true},
			{"version", "int8", true}, {"seq", "int8", true}, {"kind", "text", true}, {"reason", "text", true},
		},
		KeyColumns: 3,
	},
	Owner: func(r *db.HeldEntity) envelope.Key {
		return envelope.Key{Tenant: r.TenantID, Entity: r.Entity, ID: r.EntityID}
	},
	OwnerOf: heldOwner,
	Sub:     func(*db.HeldEntity) One { return One{} },
	SubOf:   func(Fields) One { return One{} },
	Compare: CompareOne,
	Encode: func(t *Tuple, r *db.HeldEntity) {
		t.Text(r.TenantID)
		t.Text(r.Entity)
		t.Text(r.EntityID)
		t.Int8(r.Version)
		t.Int8(r.Seq)
		t.Text(r.Kind)
		t.Text(r.Reason)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.HeldEntity, error) {
		var p db.HeldEntityOfEntitiesParams
		for _, k := range keys {
			p.TenantIds = append(p.TenantIds, k.Tenant)
			p.Entities = append(p.Entities, k.Entity)
			p.Ids = append(p.Ids, k.ID)
		}
		return db.New(tx).HeldEntityOfEntities(ctx, p)
	},
}

// heldKindColumn is where held_entity has the kind of the event.
const heldKindColumn = 5

// heldEvents lists every event that waits, the first one included.
var heldEvents = &Log[db.HeldEvent]{
	Description: Description{
		Name: "held_event",
		Columns: []Column{
			{"tenant_id", "text", true}, {"entity", "text", true}, {"entity_id", "text", true},
			{"seq", "int8", true}, {"version", "int8", true}, {"kind", "text", true}, {"digest", "bytea", true},
		},
		KeyColumns: 4,
		AppendOnly: true,
	},
	Owner: func(r *db.HeldEvent) envelope.Key {
		return envelope.Key{Tenant: r.TenantID, Entity: r.Entity, ID: r.EntityID}
	},
	OwnerOf: heldOwner,
	Encode: func(t *Tuple, r *db.HeldEvent) {
		t.Text(r.TenantID)
		t.Text(r.Entity)
		t.Text(r.EntityID)
		t.Int8(r.Seq)
		t.Int8(r.Version)
		t.Text(r.Kind)
		t.Bytes(r.Digest)
	},
}

func heldOwner(f Fields) envelope.Key {
	return envelope.Key{Tenant: f.Text(0), Entity: f.Text(1), ID: f.Text(2)}
}

// hold records that an event waits. The first one of an entity names the reason.
func (w *Set) hold(e *envelope.Event, reason string, already bool) error {
	digest, scratch := e.Digest(w.scratch)
	w.scratch = scratch
	err := heldEvents.Append(w, db.HeldEvent{
		TenantID: e.Tenant, Entity: e.Entity, EntityID: e.ID, Seq: int64(e.Seq), Version: int64(e.Version),
		Kind: storable(e.Kind), Digest: digest[:],
	})
	if err == nil && !already {
		err = heldEntities.Put(w, db.HeldEntity{
			TenantID: e.Tenant, Entity: e.Entity, EntityID: e.ID, Version: int64(e.Version), Seq: int64(e.Seq),
			Kind: storable(e.Kind), Reason: storable(reason),
		})
		w.held++
	}
	if err != nil {
		return err
	}
	w.commit()
	return nil
}

// Held counts the entities that this set has put under quarantine.
func (w *Set) Held() int { return w.held }

// storable makes any text fit a column: valid UTF-8, no NUL, bounded.
func storable(s string) string {
	if len(s) > ReasonBytesMax {
		s = s[:ReasonBytesMax]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
