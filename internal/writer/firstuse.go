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
	old      map[envelope.Key]struct{} // dropped when young is full
	countMax int
}

func newKnownIDs() *knownIDs {
	return &knownIDs{young: map[envelope.Key]struct{}{}, countMax: knownMax / 2}
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

func (k *knownIDs) add(key envelope.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keep(key)
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
	if w.known.has(key) {
		return nil
	}
	request, err := c.request(Wish{ID: firstUse}, entity, id, entity+"."+firstUse, cmd)
	if err != nil {
		return err
	}
	request.Fresh = true
	if _, err := command.Execute(ctx, shard, request, evolve, decide, cmd); err != nil && !exists(err) {
		return err
	}
	w.known.add(key)
	return nil
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
