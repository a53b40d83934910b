// Package writer carries out what callers wish: as one user of one tenant, it puts a command to the rules of its
// entity, and makes users, apps and categories when they are used for the first time. It is to commands what package
// reader is to questions: every edge, whatever its protocol, stands on these two.
package writer

import (
	"context"
	"errors"
	"regexp"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
)

// ErrAppPaused: the app takes no new memories. Nothing was stored.
var ErrAppPaused = errors.New("the app is paused")

// Tenants knows the tenants; *directory.Directory is one.
type Tenants interface {
	Tenant(ctx context.Context, id string) (directory.Tenant, error)
}

// Writer carries out commands. It is safe for concurrent use.
type Writer struct {
	tenants Tenants
	shard   func(number int) journal.Shard
	reader  *reader.Reader
	known   *knownIDs
	// AppsNeedRules lets apps without access rules read nothing; set it before the first call.
	AppsNeedRules bool
}

// New returns a Writer.
func New(tenants Tenants, shard func(number int) journal.Shard, r *reader.Reader) *Writer {
	return &Writer{tenants: tenants, shard: shard, reader: r, known: newKnownIDs()}
}

// Caller is a principal together with what the plane knows about its tenant.
type Caller struct {
	Principal auth.Principal
	Tenant    directory.Tenant
	User      uuid.UUID // derived from the login; there may be no such user yet
	// App, when not nil, is the app of the user that asks: its access rules bind what is read, and the access log names it.
	App *uuid.UUID
	// appName is that of App, for a token that is bound to it.
	appName string
}

// Caller finds the tenant of a principal. It fails with directory.ErrNoTenant for one that does not exist: to its
// principals, everything is absent. One whose token is bound to an app is that app; it fails with ErrAppPaused when its user
// has paused it.
func (w *Writer) Caller(ctx context.Context, p auth.Principal) (Caller, error) {
	tenant, err := w.tenants.Tenant(ctx, p.Tenant)
	if err != nil {
		return Caller{}, err
	}
	return w.enterBound(ctx, Caller{Principal: p, Tenant: tenant, User: user.ID(tenant.Key, tenant.ID, p.Subject)})
}

// Reads is the caller as readers see it.
func (c Caller) Reads() reader.Caller {
	return reader.Caller{Tenant: c.Tenant.ID, Shard: c.Tenant.Shard, User: c.User, App: c.App}
}

// Wish is what surrounds a command.
type Wish struct {
	// ID is the idempotency key: with it the same command may be repeated for ever and is stored once.
	ID string
	// IfVersion, when not nil, refuses unless the entity is at this version.
	IfVersion   *uint64
	TraceParent string // W3C trace context, or empty
}

var traceParentForm = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// TraceParent passes a W3C trace context on; anything else is dropped, it would become part of an event.
func TraceParent(given string) string {
	if traceParentForm.MatchString(given) {
		return given
	}
	return ""
}

// Done is the answer to a command that was accepted, or that had nothing to do.
type Done struct {
	ID uuid.UUID // of the entity
	command.Outcome
	Position reader.Position // of its newest event
}

// request is what surrounds the caller's command about one entity.
func (c Caller) request(w Wish, entity string, id uuid.UUID, name string, cmd any) (command.Request, error) {
	hash, err := command.Hash(name, cmd)
	if err != nil {
		return command.Request{}, err
	}
	return command.Request{
		Key: c.key(entity, id), TenantKey: c.Tenant.Key, CommandID: w.ID, RequestHash: hash,
		Actor: c.User.String(), TraceParent: w.TraceParent, IfVersion: w.IfVersion,
	}, nil
}

func (c Caller) key(entity string, id uuid.UUID) envelope.Key {
	return envelope.Key{Tenant: c.Tenant.ID, Entity: entity, ID: id.String()}
}

// open returns the shard of the caller, if it takes commands, and where it stands. Whatever it fails with, nothing was
// stored: with journal.ErrUnavailable where nothing more is known.
func (w *Writer) open(ctx context.Context, c Caller) (journal.Shard, reader.Position, error) {
	position, err := w.reader.Open(ctx, c.Tenant.ID, c.Tenant.Shard)
	if err != nil {
		return nil, position, journal.Unavailable(err)
	}
	return w.shard(c.Tenant.Shard), position, nil
}

func done(id uuid.UUID, outcome command.Outcome, at reader.Position) Done {
	at.Seq = outcome.Seq
	return Done{id, outcome, at}
}
