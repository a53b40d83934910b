package plane_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/directory"
)

// seed is random unless REFOLD_SEED sets it; it is printed, so that a failed run can be repeated.
func seed(t testing.TB) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("REFOLD_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("REFOLD_SEED: %v", err)
		}
	}
	t.Logf("REFOLD_SEED=%d", n)
	return n
}

// long reports whether the long form of a test was asked for.
func long() bool { return os.Getenv("REFOLD_CHAOS") == "long" }

// generator makes random valid events of one tenant, of every kind, and keeps the model of the rows they must give.
// Equal seeds give equal events. It belongs to one goroutine.
type generator struct {
	random *rand.Rand
	tenant directory.Tenant
	model  *model
	clock  time.Time
	all    map[string][]*subject
	made   int
	// accepted holds the sequence of each event that is in the journal, by the event's id.
	accepted map[string]uint64
	// poison is how many of 1,000 events are of a kind nobody knows, which holds their entity.
	poison int
}

// subject is an entity as far as the generator must know it to stay valid.
type subject struct {
	key     envelope.Key
	version uint64
	last    uint64 // sequence of its last event
	state   events.State
	rules   []uuid.UUID
	owner   uuid.UUID // of an archive policy
}

// step is an event to append, and what it does to the model once its sequence is known.
type step struct {
	event *envelope.Event
	last  uint64
	on    *subject
	apply func(*model, *envelope.Event)
}

func newGenerator(seed uint64, number int, tenant directory.Tenant) *generator {
	return &generator{
		random: rand.New(rand.NewPCG(seed, uint64(number))), tenant: tenant, model: newModel(),
		clock: time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC), all: map[string][]*subject{}, accepted: map[string]uint64{},
	}
}

// next makes an event; accept must be told its sequence before the next one is made.
func (g *generator) next() *step {
	g.made++
	g.clock = g.clock.Add(time.Duration(1+g.random.IntN(1e6)) * time.Microsecond)
	entity := []string{"user", "app", "app", "category", "archive-policy", "config", "memory", "memory", "memory", "memory", "memory", "memory"}[g.random.IntN(12)]
	on := g.pick(entity)
	if on == nil {
		on = &subject{key: envelope.Key{Tenant: g.tenant.ID, Entity: entity, ID: g.uuid().String()}}
		g.all[entity] = append(g.all[entity], on)
	}
	if on.version > 0 && g.random.IntN(1000) < g.poison {
		return g.step(on, "riddle.posed.v1", []byte(`{"private":{"request_hash":"h"}}`), func(*model, *envelope.Event) {})
	}
	payload, apply := g.payload(on)
	public, private, err := payload.Halves()
	if err != nil {
		panic(err) // the generator makes only payloads that can be written
	}
	return g.step(on, payload.Kind(), envelope.Compose(public, private, "h"), apply)
}

func (g *generator) step(on *subject, kind string, data []byte, apply func(*model, *envelope.Event)) *step {
	command := fmt.Sprintf("c-%d", g.made)
	return &step{on: on, last: on.last, apply: apply, event: &envelope.Event{
		Key: on.key, EventID: envelope.MessageID(g.tenant.Key, on.key, command), Kind: kind, Version: on.version + 1,
		Time: g.clock, Actor: "generator", CommandID: command, Data: data,
	}}
}

// accept takes in that a step is in the journal.
func (g *generator) accept(s *step) {
	s.on.version, s.on.last = s.event.Version, s.event.Seq
	g.accepted[s.event.EventID] = s.event.Seq
	g.model.event(s.event, s.apply)
}

// pick returns a known entity, or nil when there shall be a new one.
func (g *generator) pick(entity string) *subject {
	known := g.all[entity]
	if len(known) == 0 || g.random.IntN(4) == 0 {
		return nil
	}
	return known[g.random.IntN(len(known))]
}

func (g *generator) payload(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	switch on.key.Entity {
	case "user":
		return g.user(on)
	case "app":
		return g.app(on)
	case "category":
		return g.category()
	case "archive-policy":
		return g.archivePolicy(on)
	case "config":
		return g.config()
	default:
		return g.memory(on)
	}
}

func (g *generator) user(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	private := events.UserPrivate{Subject: g.text(), Name: g.textOrNil(), Email: g.textOrNil()}
	metadata, stored := g.metadata()
	private.Metadata = metadata
	created, updated := g.timeOrNil(), g.timeOrNil()
	apply := func(m *model, e *envelope.Event) {
		old := m.get("user_account", on.key.ID)
		first := or(created, e.Time)
		if old != nil && created == nil {
			first = *old[7]
		}
		m.put(e, "user_account", on.key.ID, private.Subject, private.Name, private.Email, stored, first, or(updated, e.Time))
	}
	if on.version == 0 {
		return &events.UserRegistered{CreatedAt: created, UpdatedAt: updated, Private: private}, apply
	}
	return &events.UserChanged{CreatedAt: created, UpdatedAt: updated, Private: private}, apply
}

func (g *generator) category() (events.Payload, func(*model, *envelope.Event)) {
	p := &events.CategoryDefined{CreatedAt: g.timeOrNil(), UpdatedAt: g.timeOrNil(), Private: events.CategoryPrivate{Name: g.text(), Description: g.textOrNil()}}
	return p, func(m *model, e *envelope.Event) {
		m.put(e, "category", e.ID, p.Private.Name, p.Private.Description, or(p.CreatedAt, e.Time), or(p.UpdatedAt, e.Time))
	}
}

func (g *generator) archivePolicy(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	if on.version > 0 && g.random.IntN(3) == 0 {
		known := g.all["archive-policy"]
		g.all["archive-policy"] = slices.Delete(known, slices.Index(known, on), slices.Index(known, on)+1) // nothing follows
		return &events.ArchivePolicyWithdrawn{By: on.owner}, func(m *model, e *envelope.Event) { m.remove("archive_policy", e.ID) }
	}
	if on.version == 0 {
		on.owner = g.uuid()
	}
	p := &events.ArchivePolicySet{OwnerID: on.owner, Criteria: events.Global, Days: 1 + g.random.IntN(36500), CreatedAt: g.timeOrNil()}
	if id := g.uuidOrNil(); id != nil {
		p.Criteria, p.CriteriaID = []events.Criteria{events.OfApp, events.OfCategory}[g.random.IntN(2)], id
	}
	return p, func(m *model, e *envelope.Event) {
		first := or(p.CreatedAt, e.Time)
		if old := m.get("archive_policy", e.ID); old != nil && p.CreatedAt == nil {
			first = old[7]
		}
		m.put(e, "archive_policy", e.ID, p.OwnerID, string(p.Criteria), p.CriteriaID, p.Days, first, e.Time)
	}
}

func (g *generator) config() (events.Payload, func(*model, *envelope.Event)) {
	settings, stored := g.metadata()
	p := &events.ConfigSet{By: g.uuid(), Private: events.ConfigPrivate{Settings: settings}}
	return p, func(m *model, e *envelope.Event) {
		var first any = e.Time
		if old := m.get("config", e.ID); old != nil {
			first = old[5]
		}
		m.put(e, "config", e.ID, stored, p.By, first, e.Time)
	}
}

func (g *generator) app(on *subject) (events.Payload, func(*model, *envelope.Event)) {
	private := events.AppPrivate{Name: g.text(), Description: g.textOrNil()}
	metadata, stored := g.metadata()
	private.Metadata = metadata
	created, updated, active := g.timeOrNil(), g.timeOrNil(), g.random.IntN(2) == 0
	if on.version == 0 {
		owner := g.uuid()
		return &events.AppRegistered{OwnerID: owner, Active: active, CreatedAt: created, UpdatedAt: updated, Private: private},
			func(m *model, e *envelope.Event) {
				m.put(e, "app", e.ID, owner, private.Name, private.Description, stored, active, or(created, e.Time), or(updated, e.Time))
			}
	}
	switch g.random.IntN(6) {
	case 0:
		return &events.AppPaused{}, func(m *model, e *envelope.Event) { m.change(e, "app", "is_active", false, "updated_at", e.Time) }
	case 1:
		return &events.AppResumed{}, func(m *model, e *envelope.Event) { m.change(e, "app", "is_active", true, "updated_at", e.Time) }
	case 2:
		return &events.AppChanged{Active: active, CreatedAt: created, UpdatedAt: updated, Private: private}, func(m *model, e *envelope.Event) {
			m.change(e, "app", "is_active", active, "description", private.Description, "metadata", stored, "updated_at", or(updated, e.Time))
			if created != nil {
				m.change(e, "app", "created_at", *created)
			}
		}
	case 3:
		if len(on.rules) > 0 {
			i := g.random.IntN(len(on.rules))
			rule := on.rules[i]
			on.rules = append(on.rules[:i:i], on.rules[i+1:]...)
			return &events.AppAccessWithdrawn{RuleID: rule}, func(m *model, e *envelope.Event) {
				m.remove("app_access_rule", e.ID, rule)
				m.change(e, "app")
			}
		}
	}
	return g.rule(on, created)
}

func (g *generator) rule(on *subject, created *time.Time) (events.Payload, func(*model, *envelope.Event)) {
	p := &events.AppAccessRuled{RuleID: g.uuid(), ObjectType: "memory", ObjectID: g.uuidOrNil(), Effect: events.Allow, CreatedAt: created}
	if len(on.rules) > 0 && g.random.IntN(3) == 0 {
		p.RuleID, p.Effect = on.rules[g.random.IntN(len(on.rules))], events.Deny
	} else {
		on.rules = append(on.rules, p.RuleID)
	}
	return p, func(m *model, e *envelope.Event) {
		m.put(e, "app_access_rule", e.ID, p.RuleID, p.ObjectType, p.ObjectID, string(p.Effect), or(created, e.Time))
		m.change(e, "app")
	}
}

func (g *generator) text() string {
	words := []string{"tea", "without sugar", "naïve", "日本語", "O'Reilly", `back\slash`, "", "a\tb\nc", "👩‍🚀", `"quoted"`, "NULL", "\\N"}
	return words[g.random.IntN(len(words))] + " " + strconv.Itoa(g.random.IntN(1000))
}

func (g *generator) textOrNil() *string {
	if g.random.IntN(3) == 0 {
		return nil
	}
	s := g.text()
	return &s
}

// metadata returns a JSON object and the text PostgreSQL must give back for it.
func (g *generator) metadata() (json.RawMessage, string) {
	n := strconv.Itoa(g.random.IntN(1000))
	switch g.random.IntN(5) {
	case 0:
		return nil, "{}"
	case 1:
		return json.RawMessage(`{"b":` + n + `.50,"a":[1,2,{"c":null}]}`), `{"a": [1, 2, {"c": null}], "b": ` + n + `.50}`
	case 2:
		return json.RawMessage(`{"long":true,"x":"` + n + `\u00e9"}`), `{"x": "` + n + `é", "long": true}`
	case 3:
		return json.RawMessage(`{"k":1,"k":` + n + `}`), `{"k": ` + n + `}`
	default:
		return json.RawMessage(`{"e":1e3, "n": ` + n + ` }`), `{"e": 1000, "n": ` + n + `}`
	}
}

func (g *generator) uuid() uuid.UUID {
	var id uuid.UUID
	for i := range id {
		id[i] = byte(g.random.Uint32())
	}
	return id
}

func (g *generator) uuidOrNil() *uuid.UUID {
	if g.random.IntN(3) == 0 {
		return nil
	}
	id := g.uuid()
	return &id
}

func (g *generator) timeOrNil() *time.Time {
	if g.random.IntN(2) == 0 {
		return nil
	}
	at := time.UnixMicro(g.random.Int64N(2e15)).UTC()
	return &at
}

func or(t *time.Time, otherwise time.Time) any {
	if t != nil {
		return *t
	}
	return otherwise
}
