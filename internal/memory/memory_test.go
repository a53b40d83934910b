package memory_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/memory"
)

var (
	tenantKey = []byte("0123456789abcdef0123456789abcdef")
	ada, bob  = id(1), id(2)
	work, fun = id(0x30), id(0x31)
	inApp     = id(0x20)
)

func id(last byte) uuid.UUID { return uuid.UUID{15: last, 0: 0x0a, 6: 0x80, 8: 0x80} }

func at(second int) time.Time { return time.Date(2025, 1, 31, 8, 5, second, 0, time.UTC) }

func ref[T any](v T) *T { return &v }

// event is the n-th event of the memory; its time is second n.
func event(t testing.TB, n int, p events.Payload) *envelope.Event {
	t.Helper()
	public, private, err := p.Halves()
	if err != nil {
		t.Fatalf("%s: %v", p.Kind(), err)
	}
	key := envelope.Key{Tenant: "acme", Entity: memory.Entity, ID: id(9).String()}
	return &envelope.Event{
		Key: key, Seq: uint64(n), EventID: envelope.MessageID(tenantKey, key, fmt.Sprint(n)), Kind: p.Kind(),
		Version: uint64(n), Time: at(n), Data: envelope.Compose(public, private, "hash"),
	}
}

func evolve(t testing.TB, given []events.Payload) (s memory.State) {
	t.Helper()
	for i, p := range given {
		var err error
		if s, err = memory.Evolve(s, event(t, i+1, p)); err != nil {
			t.Fatalf("given %s: %v", p.Kind(), err)
		}
	}
	return s
}

// outcome is what is expected of a decision: an event, a refusal, or nothing at all.
type outcome struct {
	event   events.Payload
	refused command.Code
	says    string // part of the refusal's text
}

var nothing outcome

func does(p events.Payload) outcome { return outcome{event: p} }

func refuses(code command.Code, says string) outcome { return outcome{refused: code, says: says} }

func check(t *testing.T, got events.Payload, err error, want outcome) {
	t.Helper()
	var refusal *command.Refusal
	switch {
	case want.refused != "":
		if got != nil || !errors.As(err, &refusal) || refusal.Code != want.refused || !strings.Contains(refusal.Message, want.says) {
			t.Errorf("got %v, %v, want the refusal %s %q", got, err, want.refused, want.says)
		}
	case err != nil:
		t.Errorf("got %v, want no error", err)
	default:
		if diff := cmp.Diff(want.event, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func added(content string) *events.MemoryAdded {
	return &events.MemoryAdded{UserID: ada, Private: events.MemoryPrivate{Content: content, Metadata: json.RawMessage(`{}`)}}
}

var (
	line1 = events.StatusChange{ID: id(0x61), ChangedBy: ada, OldState: events.Active, NewState: events.Paused, ChangedAt: at(1)}
	line2 = events.StatusChange{ID: id(0x62), ChangedBy: bob, OldState: events.Paused, NewState: events.Archived, ChangedAt: at(2)}
)

// record is an import and the event that it becomes on a new memory.
func record(overwrite bool) memory.Import {
	return memory.Import{
		UserID: ada, AppID: &inApp, CategoryIDs: []uuid.UUID{fun, work, fun}, Content: "old", Metadata: json.RawMessage(`{"b":1,"a":2}`),
		State: events.Archived, CreatedAt: at(1), UpdatedAt: at(2), ArchivedAt: ref(at(3)),
		History: []events.StatusChange{line2, line1, line2}, Overwrite: overwrite,
	}
}

func imported() *events.MemoryImported {
	return &events.MemoryImported{
		UserID: ada, AppID: &inApp, CategoryIDs: []uuid.UUID{work, fun}, State: events.Archived,
		CreatedAt: at(1), UpdatedAt: at(2), ArchivedAt: ref(at(3)), History: []events.StatusChange{line1, line2},
		Private: events.MemoryPrivate{Content: "old", Metadata: json.RawMessage(`{"a": 2, "b": 1}`)},
	}
}

func with[T any](v T, change func(*T)) T {
	change(&v)
	return v
}

func TestDecide(t *testing.T) {
	type given = []events.Payload
	deleted := given{added("tea"), &events.MemoryDeleted{By: ada}}
	for name, c := range map[string]struct {
		given given
		when  memory.Command
		then  outcome
	}{
		"add": {nil,
			memory.Add{UserID: ada, AppID: &inApp, CategoryIDs: []uuid.UUID{fun, work, fun}, Content: "tea", Metadata: json.RawMessage(`{"b":1, "a":1.50}`)},
			does(&events.MemoryAdded{UserID: ada, AppID: &inApp, CategoryIDs: []uuid.UUID{work, fun},
				Private: events.MemoryPrivate{Content: "tea", Metadata: json.RawMessage(`{"a": 1.50, "b": 1}`)}})},
		"add without metadata": {nil, memory.Add{UserID: ada, Content: "tea"}, does(added("tea"))},
		"add twice":            {given{added("tea")}, memory.Add{UserID: ada, Content: "tea"}, refuses(command.Exists, "exists")},
		"add what is deleted":  {deleted, memory.Add{UserID: ada, Content: "tea"}, refuses(command.Exists, "exists")},

		"change content": {given{added("tea")}, memory.Change{By: ada, Content: ref("milk")},
			does(&events.MemoryChanged{Private: events.MemoryChangedPrivate{Content: ref("milk")}})},
		"change to the same": {given{added("tea")},
			memory.Change{By: ada, Content: ref("tea"), Metadata: json.RawMessage(` { } `), CategoryIDs: &[]uuid.UUID{}}, nothing},
		"change of nothing": {given{added("tea")}, memory.Change{By: ada}, nothing},
		"change only what differs": {given{added("tea")},
			memory.Change{By: ada, Content: ref("tea"), Metadata: json.RawMessage(`{"a":1}`), CategoryIDs: &[]uuid.UUID{fun, work}},
			does(&events.MemoryChanged{CategoryIDs: &[]uuid.UUID{work, fun}, Private: events.MemoryChangedPrivate{Metadata: json.RawMessage(`{"a": 1}`)}})},
		"take categories away": {given{imported()}, memory.Change{By: ada, CategoryIDs: &[]uuid.UUID{}},
			does(&events.MemoryChanged{CategoryIDs: ref[[]uuid.UUID](nil)})},
		"change what is absent":    {nil, memory.Change{By: ada, Content: ref("x")}, refuses(command.NotFound, "not found")},
		"change what is deleted":   {deleted, memory.Change{By: ada, Content: ref("x")}, refuses(command.NotFound, "not found")},
		"change what is another's": {given{added("tea")}, memory.Change{By: bob, Content: ref("x")}, refuses(command.NotFound, "not found")},

		"archive":                   {given{added("tea")}, memory.Archive{By: ada}, does(&events.MemoryArchived{By: ada})},
		"archive twice":             {given{added("tea"), &events.MemoryArchived{By: ada}}, memory.Archive{By: ada}, nothing},
		"pause what is archived":    {given{imported()}, memory.Pause{By: ada}, does(&events.MemoryPaused{By: ada})},
		"pause twice":               {given{added("tea"), &events.MemoryPaused{By: ada}}, memory.Pause{By: ada}, nothing},
		"activate":                  {given{imported()}, memory.Activate{By: ada}, does(&events.MemoryActivated{By: ada})},
		"activate what is new":      {given{added("tea")}, memory.Activate{By: ada}, nothing},
		"delete":                    {given{added("tea")}, memory.Delete{By: ada}, does(&events.MemoryDeleted{By: ada})},
		"delete twice":              {deleted, memory.Delete{By: ada}, refuses(command.NotFound, "not found")},
		"delete what is another's":  {given{added("tea")}, memory.Delete{By: bob}, refuses(command.NotFound, "not found")},
		"archive what is absent":    {nil, memory.Archive{By: ada}, refuses(command.NotFound, "not found")},
		"pause what is another's":   {given{added("tea")}, memory.Pause{By: bob}, refuses(command.NotFound, "not found")},
		"activate what was deleted": {deleted, memory.Activate{By: ada}, refuses(command.NotFound, "not found")},

		"undelete": {given{imported(), &events.MemoryDeleted{By: ada}}, memory.Undelete{By: ada},
			does(&events.MemoryActivated{By: ada, Private: events.MemoryChangedPrivate{Content: ref("old"), Metadata: json.RawMessage(`{"a": 2, "b": 1}`)}})},
		"undelete what was imported as deleted": {given{&events.MemoryImported{UserID: ada, State: events.Deleted, CreatedAt: at(1), UpdatedAt: at(1)}}, memory.Undelete{By: ada},
			does(&events.MemoryActivated{By: ada, Private: events.MemoryChangedPrivate{Content: ref(""), Metadata: json.RawMessage(`{}`)}})},
		"undelete twice":             {append(deleted[:2:2], &events.MemoryActivated{By: ada}), memory.Undelete{By: ada}, nothing},
		"undelete what is archived":  {given{imported()}, memory.Undelete{By: ada}, nothing},
		"undelete what is absent":    {nil, memory.Undelete{By: ada}, refuses(command.NotFound, "not found")},
		"undelete what is another's": {deleted, memory.Undelete{By: bob}, refuses(command.NotFound, "not found")},
		"undelete by nobody":         {deleted, memory.Undelete{}, refuses(command.Invalid, "user is missing")},

		"import":                   {nil, record(false), does(imported())},
		"import with overwrite":    {nil, record(true), does(imported())},
		"import without times":     {nil, with(record(true), func(c *memory.Import) { c.CreatedAt = time.Time{} }), refuses(command.Invalid, "created_at")},
		"import of empty content":  {nil, memory.Import{UserID: ada, State: events.Deleted, CreatedAt: at(1), UpdatedAt: at(1)}, does(&events.MemoryImported{UserID: ada, State: events.Deleted, CreatedAt: at(1), UpdatedAt: at(1), Private: events.MemoryPrivate{Metadata: json.RawMessage(`{}`)}})},
		"import twice, skip":       {given{imported()}, record(false), nothing},
		"import twice, overwrite":  {given{imported()}, record(true), nothing},
		"import of another's, new": {given{imported()}, with(record(false), func(c *memory.Import) { c.UserID = bob }), refuses(command.Forbidden, "the id belongs to another user of the tenant")},
		"import of another's, overwrite": {given{imported()}, with(record(true), func(c *memory.Import) { c.UserID = bob }),
			refuses(command.Forbidden, "the id belongs to another user of the tenant")},
		"skip supplements": {given{added("tea")}, record(false),
			does(&events.MemorySupplemented{CategoryIDs: []uuid.UUID{work, fun}, History: []events.StatusChange{line1, line2}})},
		"skip supplements what is missing": {given{imported(), &events.MemoryChanged{CategoryIDs: &[]uuid.UUID{work}}}, record(false),
			does(&events.MemorySupplemented{CategoryIDs: []uuid.UUID{fun}, History: nil})},
		"skip leaves a known line": {given{imported()},
			with(record(false), func(c *memory.Import) {
				c.History = []events.StatusChange{with(line1, func(l *events.StatusChange) { l.ChangedBy = bob })}
			}), nothing},
		"overwrite rewrites no line": {given{imported()},
			with(record(true), func(c *memory.Import) {
				c.History = []events.StatusChange{with(line1, func(l *events.StatusChange) { l.ChangedBy = bob })}
			}), refuses(command.StateForbids, "never rewritten")},
		"overwrite replaces, and adds what is missing": {given{added("tea"), &events.MemorySupplemented{CategoryIDs: []uuid.UUID{work}, History: []events.StatusChange{line1}}}, record(true),
			does(ref(with(*imported(), func(p *events.MemoryImported) {
				p.CategoryIDs, p.History = []uuid.UUID{fun}, []events.StatusChange{line2}
			})))},
		"overwrite of a deleted memory": {given{imported(), &events.MemoryDeleted{By: ada}}, record(true),
			does(ref(with(*imported(), func(p *events.MemoryImported) { p.CategoryIDs, p.History = []uuid.UUID{}, nil })))},
		"overwrite without times keeps them": {given{imported()},
			with(record(true), func(c *memory.Import) { c.CreatedAt, c.UpdatedAt, c.Content = time.Time{}, time.Time{}, "new" }),
			does(ref(with(*imported(), func(p *events.MemoryImported) {
				p.CategoryIDs, p.History, p.Private.Content = []uuid.UUID{}, nil, "new"
			})))},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := memory.Decide(evolve(t, c.given), c.when)
			check(t, got, err, c.then)
		})
	}
}

func TestDecideRefusesWhatCannotBeStored(t *testing.T) {
	many := make([]uuid.UUID, memory.CategoriesMax+1)
	for i := range many {
		many[i] = uuid.UUID{0: 1, 14: byte(i >> 8), 15: byte(i)}
	}
	add := memory.Add{UserID: ada, Content: "tea"}
	for name, c := range map[string]struct {
		when memory.Command
		says string
	}{
		"no content":                {memory.Add{UserID: ada}, "content is empty"},
		"content too long":          {memory.Add{UserID: ada, Content: strings.Repeat("a", 2<<20)}, "at most 262144"},
		"content not UTF-8":         {memory.Add{UserID: ada, Content: "\xff"}, "UTF-8"},
		"content with zero":         {memory.Add{UserID: ada, Content: "a\x00"}, "U+0000"},
		"no user":                   {memory.Add{Content: "tea"}, "user is missing"},
		"app of zeros":              {with(add, func(c *memory.Add) { c.AppID = &uuid.UUID{} }), "app is missing"},
		"category of zeros":         {with(add, func(c *memory.Add) { c.CategoryIDs = []uuid.UUID{{}} }), "category is missing"},
		"too many categories":       {with(add, func(c *memory.Add) { c.CategoryIDs = many }), "at most 256"},
		"metadata no object":        {with(add, func(c *memory.Add) { c.Metadata = json.RawMessage(`[]`) }), "not an object"},
		"metadata with zero":        {with(add, func(c *memory.Add) { c.Metadata = json.RawMessage(`{"a":"\u0000"}`) }), "stored"},
		"metadata with huge number": {with(add, func(c *memory.Add) { c.Metadata = json.RawMessage(`{"a":1e400000}`) }), "number"},
		"metadata too deep": {with(add, func(c *memory.Add) {
			c.Metadata = json.RawMessage(strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65))
		}), "nested"},
		"empty change":       {memory.Change{By: ada, Content: ref("")}, "content is empty"},
		"change of metadata": {memory.Change{By: ada, Metadata: json.RawMessage(`null`)}, "not an object"},
		"change by nobody":   {memory.Change{}, "user is missing"},
		"delete by nobody":   {memory.Delete{}, "user is missing"},
		"state unknown":      {with(record(false), func(c *memory.Import) { c.State = "gone" }), `state "gone"`},
		"year 10000":         {with(record(false), func(c *memory.Import) { c.CreatedAt = at(1).AddDate(8000, 0, 0) }), "created_at"},
		"too much history":   {with(record(false), func(c *memory.Import) { c.History = make([]events.StatusChange, memory.HistoryMax+1) }), "at most 1024"},
		"a line that is two": {with(record(false), func(c *memory.Import) {
			c.History = []events.StatusChange{line1, with(line2, func(l *events.StatusChange) { l.ID = line1.ID })}
		}), "not the same"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, given := range [][]events.Payload{nil, {added("tea")}} {
				got, err := memory.Decide(evolve(t, given), c.when)
				check(t, got, err, refuses(command.Invalid, c.says))
			}
			check(t, nil, memory.Validate(c.when), refuses(command.Invalid, c.says))
		})
	}
}

func TestDecideBoundsEvents(t *testing.T) {
	s := evolve(t, []events.Payload{added("tea")})
	s.Events = memory.EventsMax
	got, err := memory.Decide(s, memory.Archive{By: ada})
	check(t, got, err, refuses(command.StateForbids, "10000"))
	got, err = memory.Decide(s, memory.Activate{By: ada})
	check(t, got, err, nothing)
	got, err = memory.Decide(s, memory.Delete{By: ada})
	check(t, got, err, does(&events.MemoryDeleted{By: ada}))
	s.Status = events.Deleted
	got, err = memory.Decide(s, memory.Undelete{By: ada})
	check(t, got, err, refuses(command.StateForbids, "10000"))
}

// TestHistoryKnowsItsOwnLines: an export holds the lines that our own events wrote; importing it adds none of them.
func TestHistoryKnowsItsOwnLines(t *testing.T) {
	given := []events.Payload{added("tea"), &events.MemoryArchived{By: ada}}
	s := evolve(t, given)
	own := events.StatusChange{
		ID: memory.StatusID(event(t, 2, given[1])), ChangedBy: ada, OldState: events.Active, NewState: events.Archived, ChangedAt: at(2),
	}
	got, err := memory.Decide(s, memory.Import{
		UserID: ada, Content: "tea", State: events.Archived, CreatedAt: at(1), UpdatedAt: at(2), ArchivedAt: ref(at(2)),
		History: []events.StatusChange{own}, Overwrite: true,
	})
	check(t, got, err, nothing)
}

// TestEvolveLeavesOlderStates: two futures of one state do not meet.
func TestEvolveLeavesOlderStates(t *testing.T) {
	s := evolve(t, []events.Payload{imported()})
	one, err := memory.Evolve(s, event(t, 2, &events.MemorySupplemented{CategoryIDs: []uuid.UUID{id(0x01)}}))
	if err != nil {
		t.Fatal(err)
	}
	two, err := memory.Evolve(s, event(t, 2, &events.MemorySupplemented{CategoryIDs: []uuid.UUID{id(0x02)}}))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([][]uuid.UUID{{id(1), work, fun}, {id(2), work, fun}, {work, fun}},
		[][]uuid.UUID{one.CategoryIDs, two.CategoryIDs, s.CategoryIDs}); diff != "" {
		t.Error(diff)
	}
}

// TestEvolveKnowsEveryKind goes through all kinds there are: those of a memory evolve, all others are refused.
func TestEvolveKnowsEveryKind(t *testing.T) {
	for _, kind := range events.Kinds() {
		data, err := os.ReadFile(filepath.Join("..", "..", "events", "testdata", kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		e := event(t, 2, added("tea"))
		e.Kind, e.Data = kind, data
		s := memory.State{}
		if kind != added("").Kind() {
			s = evolve(t, []events.Payload{ref(with(*added("tea"), func(p *events.MemoryAdded) { p.UserID = goldenUser(t, data, ada) }))})
		}
		after, err := memory.Evolve(s, e)
		if mine := strings.HasPrefix(kind, "memory."); mine != (err == nil) || mine && after.Events != s.Events+1 {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func goldenUser(t *testing.T, data []byte, other uuid.UUID) uuid.UUID {
	t.Helper()
	var p struct {
		UserID *uuid.UUID `json:"user_id"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		t.Fatal(err)
	}
	if p.UserID == nil {
		return other
	}
	return *p.UserID
}

func TestEvolveRefusesContradictions(t *testing.T) {
	for name, given := range map[string][]events.Payload{
		"added twice":            {added("a"), added("b")},
		"changed while absent":   {&events.MemoryChanged{}},
		"archived while absent":  {&events.MemoryArchived{By: ada}},
		"supplemented an absent": {&events.MemorySupplemented{}},
		"imported by another":    {imported(), ref(with(*imported(), func(p *events.MemoryImported) { p.UserID = bob }))},
	} {
		s := evolve(t, given[:len(given)-1])
		if _, err := memory.Evolve(s, event(t, len(given), given[len(given)-1])); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := memory.Evolve(memory.State{}, &envelope.Event{Kind: "memory.added.v9"}); !errors.Is(err, events.ErrUnknownKind) {
		t.Errorf("an unknown kind: %v", err)
	}
}

func TestNewID(t *testing.T) {
	base := memory.NewID(tenantKey, "acme", "ada", "key")
	for what, other := range map[string]uuid.UUID{
		"tenant key": memory.NewID([]byte("another"), "acme", "ada", "key"), "tenant": memory.NewID(tenantKey, "other", "ada", "key"),
		"subject": memory.NewID(tenantKey, "acme", "bob", "key"), "key": memory.NewID(tenantKey, "acme", "ada", "key2"),
		"border": memory.NewID(tenantKey, "acme", "adak", "ey"),
	} {
		if other == base {
			t.Errorf("another %s, the same id", what)
		}
	}
	if again := memory.NewID(tenantKey, "acme", "ada", "key"); again != base || base.Version() != 8 {
		t.Errorf("%s, then %s, want one version 8 UUID", base, again)
	}
}
