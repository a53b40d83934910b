package openmemory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/app"
	"github.com/refold-dev/refold/internal/category"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/user"
)

// From the records of the old system to commands of ours. Ids of memories, access rules and status changes are kept;
// those of users, apps and categories are derived from what names them.

func newImporter(config Config, c *catalogue, s *spool, l *ledger) *importer {
	im := &importer{config: config, catalogue: c, spool: s, ledger: l}
	im.userID = user.ID(config.Tenant.Key, config.Tenant.ID, im.subject())
	return im
}

// subject is the login for whom the records are imported.
func (im *importer) subject() string {
	if im.config.Subject != "" {
		return im.config.Subject
	}
	return im.catalogue.user.subject
}

func (im *importer) overwrite() bool { return im.config.Mode == Overwrite }

func (im *importer) key(entity string, id uuid.UUID) envelope.Key {
	return envelope.Key{Tenant: im.config.Tenant.ID, Entity: entity, ID: id.String()}
}

func (im *importer) userCommand() user.Import {
	u := im.catalogue.user
	if im.subject() != u.subject { // what the file says is about somebody else
		return user.Import{Subject: im.subject()}
	}
	return user.Import{
		Subject: u.subject, Name: u.name, Email: u.email, Metadata: u.metadata,
		CreatedAt: u.createdAt, UpdatedAt: u.updatedAt, Overwrite: im.overwrite(),
	}
}

func categoryCommand(c categoryRecord) category.Import {
	return category.Import{Name: c.name, Description: c.description, CreatedAt: c.createdAt, UpdatedAt: c.updatedAt}
}

func (im *importer) categoryID(name string) uuid.UUID {
	return category.ID(im.config.Tenant.Key, im.config.Tenant.ID, name)
}

func (im *importer) appCommand(a appRecord) app.Import {
	return app.Import{
		OwnerID: im.userID, Name: a.name, Description: a.description, Metadata: a.metadata, Active: a.active,
		CreatedAt: a.createdAt, UpdatedAt: a.updatedAt, Overwrite: im.overwrite(),
	}
}

func (im *importer) appID(name string) uuid.UUID {
	return app.ID(im.config.Tenant.Key, im.config.Tenant.ID, im.userID, name)
}

func (im *importer) ruleCommand(r ruleRecord) app.Rule {
	return app.Rule{
		By: im.userID, RuleID: r.id, ObjectType: r.objectType, ObjectID: r.objectID, Effect: r.effect,
		CreatedAt: r.createdAt, Keep: !im.overwrite(),
	}
}

// memoryCommand leaves times open that the file does not give.
func (im *importer) memoryCommand(b *bundle) memory.Import {
	m := b.memory
	c := memory.Import{
		UserID: im.userID, Content: m.content, Metadata: m.metadata, State: m.state,
		ArchivedAt: m.archivedAt, DeletedAt: m.deletedAt, Overwrite: im.overwrite(),
		CreatedAt: firstOf(m.createdAt), UpdatedAt: firstOf(m.updatedAt),
	}
	if m.appID != nil {
		id := im.appID(im.catalogue.apps[*m.appID].record.name)
		c.AppID = &id
	}
	for _, id := range m.categoryIDs {
		c.CategoryIDs = append(c.CategoryIDs, im.categoryID(im.catalogue.categories[id].record.name))
	}
	for _, h := range b.history {
		c.History = append(c.History, events.StatusChange{
			ID: h.id, ChangedBy: im.userID, OldState: h.oldState, NewState: h.newState, ChangedAt: h.changedAt,
		})
	}
	return c
}

// withTimes closes the times that the file leaves open; a memory that is new needs them.
func (im *importer) withTimes(c memory.Import, b *bundle) memory.Import {
	c.CreatedAt, c.UpdatedAt = im.catalogue.createdAt(&b.memory), im.catalogue.updatedAt(&b.memory)
	return c
}

// movedID is the id of a memory whose own id belongs to another user of the tenant. The old system took a random
// one, and so doubled the memory with every repeated import.
func (im *importer) movedID(id uuid.UUID) uuid.UUID {
	return envelope.DerivedID(im.config.Tenant.Key, im.config.Tenant.ID, memory.Entity, im.subject(), "openmemory", id.String())
}

// checkCatalogue asks the rules of the entities about all that memories refer to.
func (im *importer) checkCatalogue() error {
	if err := user.Validate(im.userCommand()); err != nil {
		return &FileError{Code: BadShape, Path: "/user", Reason: "cannot be stored", Err: err}
	}
	c := im.catalogue
	for id, record := range c.categories {
		if err := category.Validate(categoryCommand(record.record)); err != nil {
			im.ledger.refuse(Refusal{KindCategory, id.String(), fmt.Sprintf("/categories/%d", record.index), err.Error()})
			delete(c.categories, id)
		}
	}
	for id, record := range c.apps {
		if err := app.Validate(im.appCommand(record.record)); err != nil {
			im.ledger.refuse(Refusal{KindApp, id.String(), fmt.Sprintf("/apps/%d", record.index), err.Error()})
			delete(c.apps, id)
		}
	}
	c.check(im.ledger.refuse)
	count := map[uuid.UUID]int{}
	for _, record := range inOrder(c.rules) {
		err := app.Validate(im.ruleCommand(record.record))
		if count[record.record.appID]++; err == nil && count[record.record.appID] > app.RulesMax {
			err = fmt.Errorf("is one too many: an app has at most %d access rules", app.RulesMax)
		}
		if err != nil {
			im.ledger.refuse(Refusal{KindAccessRule, record.record.id.String(), fmt.Sprintf("/access_controls/%d", record.index), err.Error()})
			delete(c.rules, record.record.id)
		}
	}
	return nil
}

// checkMemory makes the event that a new memory would get, as far as it can be made without the journal, and tells
// why that fails. It says the same whenever it is asked.
func (im *importer) checkMemory(b *bundle) *fault {
	payload, err := memory.Decide(memory.State{}, im.withTimes(im.memoryCommand(b), b))
	if err != nil {
		return &fault{reason: err.Error()}
	}
	public, private, err := payload.Halves()
	if err != nil {
		return &fault{reason: err.Error()}
	}
	key := im.key(memory.Entity, b.memory.id)
	id := envelope.MessageID(im.config.Tenant.Key, key, "")
	_, err = journal.Check(im.config.Tenant.Shard, &envelope.Event{
		Key: key, EventID: id, CommandID: "import:" + string(im.config.Mode) + ":" + id, Kind: payload.Kind(), Version: 1,
		Time: time.Unix(0, 0).UTC(), Actor: im.config.Actor, Data: envelope.Compose(public, private, id),
	})
	if err != nil {
		return &fault{reason: err.Error()}
	}
	return nil
}

func (im *importer) sendUser(ctx context.Context) (effect, error) {
	out, err := execute[user.State, user.Command](ctx, im, im.key(user.Entity, im.userID), false, im.userCommand(), user.Evolve, user.Decide)
	return effectOf(out), err
}

func (im *importer) sendCategory(ctx context.Context, c categoryRecord) (effect, error) {
	key := im.key(category.Entity, im.categoryID(c.name))
	out, err := execute[category.State, category.Command](ctx, im, key, false, categoryCommand(c), category.Evolve, category.Decide)
	return effectOf(out), err
}

func (im *importer) sendApp(ctx context.Context, a appRecord) (effect, error) {
	key := im.key(app.Entity, im.appID(a.name))
	out, err := execute[app.State, app.Command](ctx, im, key, false, im.appCommand(a), app.Evolve, app.Decide)
	return effectOf(out), err
}

// sendRule follows a memory that will get another id: a rule that denies it must be there before the memory is.
func (im *importer) sendRule(ctx context.Context, a appRecord, r ruleRecord) (effect, error) {
	if r.objectID != nil {
		foreign, err := im.isForeign(ctx, *r.objectID)
		if err != nil {
			return unchanged, err
		}
		if foreign {
			id := im.movedID(*r.objectID)
			r.objectID = &id
		}
	}
	replaced := false
	decide := func(s app.State, c app.Command) (app.Payload, error) {
		_, replaced = s.Rules[r.id]
		return app.Decide(s, c)
	}
	key := im.key(app.Entity, im.appID(a.name))
	out, err := execute[app.State, app.Command](ctx, im, key, false, im.ruleCommand(r), app.Evolve, decide)
	did := effectOf(out)
	if did == changed && !replaced { // the app's first event was the app itself
		did = added
	}
	return did, err
}

// isForeign tells whether the id is that of another user's memory in this tenant.
func (im *importer) isForeign(ctx context.Context, id uuid.UUID) (bool, error) {
	history, err := im.config.Shard.History(ctx, im.key(memory.Entity, id))
	if err != nil {
		return false, fmt.Errorf("history of memory %s: %w", id, err)
	}
	var s memory.State
	for i := range history {
		if s, err = memory.Evolve(s, &history[i]); err != nil {
			return false, fmt.Errorf("evolve memory %s: %w", id, err)
		}
	}
	return s.Exists && s.UserID != im.userID, nil
}

func (im *importer) sendMemory(ctx context.Context, b *bundle) (effect, error) {
	did, err := im.sendMemoryAs(ctx, b.memory.id, b)
	if refusal, ok := errors.AsType[*command.Refusal](err); ok && refusal.Code == command.Forbidden {
		im.ledger.moved()
		return im.sendMemoryAs(ctx, im.movedID(b.memory.id), b)
	}
	return did, err
}

// sendMemoryAs sends the times that the file gives. Only a memory that proves to be new gets others in their stead.
func (im *importer) sendMemoryAs(ctx context.Context, id uuid.UUID, b *bundle) (effect, error) {
	given, whole := im.memoryCommand(b), im.withTimes(im.memoryCommand(b), b)
	key := im.key(memory.Entity, id)
	if given.CreatedAt.Equal(whole.CreatedAt) && given.UpdatedAt.Equal(whole.UpdatedAt) {
		return im.sendImport(ctx, key, whole)
	}
	did, err := im.sendImport(ctx, key, given)
	if refusal, ok := errors.AsType[*command.Refusal](err); ok && refusal.Code == command.Invalid {
		return im.sendImport(ctx, key, whole)
	}
	return did, err
}

func (im *importer) sendImport(ctx context.Context, key envelope.Key, c memory.Import) (effect, error) {
	out, err := execute[memory.State, memory.Command](ctx, im, key, !im.known.Load(), c, memory.Evolve, memory.Decide)
	if err == nil {
		im.known.Store(effectOf(out) != added)
	}
	return effectOf(out), err
}
