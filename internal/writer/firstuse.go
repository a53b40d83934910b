package writer

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/user"
)

// firstUse is the idempotency key of what is made when it is used for the first time: users, apps, categories.
const firstUse = "first-use"

// knownMax bounds how many entities are remembered as existing.
const knownMax = 100_000

// knownIDs remembers entities that exist, so that they are made once and not before each command. Users, apps and
// categories never cease to exist, so a memory of them cannot become wrong; forgetting costs one repeated command.
type knownIDs struct {
	mu       sync.Mutex
	young    map[envelope.Key]struct{}
	old      map[envelope.Key]struct{}      // dropped when young is full
	making   map[envelope.Key]chan struct{} // closed when somebody has tried to make it
	countMax int
}

func newKnownIDs() *knownIDs {
	return &knownIDs{young: map[envelope.Key]struct{}{}, making: map[envelope.Key]chan struct{}{}, countMax: knownMax / 2}
}

func (k *knownIDs) has(key envelope.Key) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.young[key]; ok {
		return true
	}
	_, ok := k.old[key]
	if ok {
		k.keep(key)
	}
	return ok
}

// once calls try unless the entity is known to exist, and never at the same time as another for the same one: a thousand
// commands that come at once would contend for its first event.
func (k *knownIDs) once(ctx context.Context, key envelope.Key, try func() error) (err error) {
	for !k.has(key) {
		tried, mine := k.begin(key)
		if mine {
			err = errNotTried
			defer func() { k.end(key, err == nil) }()
			err = try()
			return err
		}
		select {
		case <-tried:
		case <-ctx.Done():
			return journal.Unavailable(ctx.Err())
		}
	}
	return nil
}

// errNotTried stands for the error of a try that panics.
var errNotTried = errors.New("not tried")

// begin returns what tells that somebody has tried, and whether that is the caller.
func (k *knownIDs) begin(key envelope.Key) (tried chan struct{}, mine bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if tried, ok := k.making[key]; ok {
		return tried, false
	}
	k.making[key] = make(chan struct{})
	return nil, true
}

func (k *knownIDs) end(key envelope.Key, exists bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if exists {
		k.keep(key)
	}
	close(k.making[key])
	delete(k.making, key)
}

// keep is called with the lock held.
func (k *knownIDs) keep(key envelope.Key) {
	if len(k.young) >= k.countMax {
		k.old, k.young = k.young, map[envelope.Key]struct{}{}
	}
	k.young[key] = struct{}{}
}

// ensure makes an entity unless it is known to exist.
func ensure[S, C any, E command.Payload](ctx context.Context, w *Writer, shard journal.Shard, c Caller, entity string, id uuid.UUID,
	evolve command.Evolve[S], decide command.Decide[S, C, E], cmd C) error {
	key := c.key(entity, id)
	return w.known.once(ctx, key, func() error {
		request, err := c.request(Wish{ID: firstUse}, entity, id, entity+"."+firstUse, cmd)
		if err != nil {
			return err
		}
		request.Fresh = true
		if _, err := command.Execute(ctx, shard, request, evolve, decide, cmd); err != nil && !exists(err) {
			return err
		}
		return nil
	})
}

// exists reports whether a refusal to make something means that it is there: made otherwise, or by a release whose
// command had another form.
func exists(err error) bool {
	var refusal *command.Refusal
	return errors.As(err, &refusal) && (refusal.Code == command.Exists || refusal.Code == command.KeyReused)
}

func (w *Writer) ensureUser(ctx context.Context, shard journal.Shard, c Caller) error {
	return ensure(ctx, w, shard, c, user.Entity, c.User, user.Evolve, user.Decide, user.Command(user.Register{Subject: c.Principal.Subject}))
}

// ensureApp returns the id of the caller's app with this name.
func (w *Writer) ensureApp(ctx context.Context, shard journal.Shard, c Caller, name string) (uuid.UUID, error) {
	id := app.ID(c.Tenant.Key, c.Tenant.ID, c.User, name)
	err := ensure(ctx, w, shard, c, app.Entity, id, app.Evolve, app.Decide, app.Command(app.Register{OwnerID: c.User, Name: name, Active: true}))
	return id, err
}

// ensureCategories returns the ids of the tenant's categories with these names, each once, in the order of the ids.
func (w *Writer) ensureCategories(ctx context.Context, shard journal.Shard, c Caller, names []string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	for _, name := range names {
		id := category.ID(c.Tenant.Key, c.Tenant.ID, name)
		err := ensure(ctx, w, shard, c, category.Entity, id, category.Evolve, category.Decide, category.Command(category.Define{Name: name}))
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids), nil
}
