// Package tokens records which tokens a plane has minted and which were revoked. Records never hold a token. What was
// revoked is read into the memory of each process, so that no request asks a database about its token.
package tokens

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
)

const (
	// pollEvery is how often a process asks whether something was revoked, and pollMax how long it waits for the answer.
	pollEvery = time.Second
	pollMax   = 2 * time.Second
	// keptFor is how long tokens are listed after they have expired.
	keptFor = 30 * 24 * time.Hour
	// skewMax is what clocks of issuers may differ by.
	skewMax = time.Minute
	// ListMax bounds a list.
	ListMax = 10_000
)

// Token is what is recorded of a token of the plane's own.
type Token struct {
	ID       string    `json:"id"`
	Tenant   string    `json:"tenant"` // envelope.PlaneTenant = of an operator
	Subject  string    `json:"subject"`
	Scopes   []string  `json:"scopes"`
	App      string    `json:"app,omitempty"`
	Audience string    `json:"audience"`
	Key      string    `json:"key"` // that has signed it
	Issued   time.Time `json:"issued"`
	Expires  time.Time `json:"expires"`
	By       string    `json:"by"`
	Revoked  bool      `json:"revoked"`
}

// Revocation is an auth.Revocation with who made it, and when it is of no more use.
type Revocation struct {
	auth.Revocation
	Until, At time.Time
	By        string
}

// ErrNothing: a revocation says neither whose tokens nor which, or names a subject without its tenant.
var ErrNothing = errors.New("name a token, a tenant, or a subject of a tenant")

// ErrFuture: tokens that are not issued yet cannot be revoked.
var ErrFuture = errors.New("the time is not past")

// Registry is the record of one plane. It is safe for concurrent use.
type Registry struct {
	DB     *postgres.DB
	Logger *slog.Logger
	// Revoked is what this process knows of what was revoked, for verifiers.
	Revoked auth.Revocations

	following atomic.Bool

	mu   sync.Mutex
	mark string // of what Revoked holds
}

func (r *Registry) queries(ctx context.Context) (*db.Queries, error) {
	pool, err := r.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	return db.New(pool), nil
}

// Mint makes a token and records it; by names who asks for it. Its time of issue is that of the database, as those of
// revocations are.
func (r *Registry) Mint(ctx context.Context, key *auth.Local, request auth.TokenRequest, by string) (auth.Minted, error) {
	q, err := r.queries(ctx)
	if err != nil {
		return auth.Minted{}, err
	}
	if request.Now, err = q.Clock(ctx); err != nil {
		return auth.Minted{}, fmt.Errorf("time of a token: %w", err)
	}
	minted, err := key.Sign(request)
	if err != nil {
		return auth.Minted{}, err
	}
	tenant := request.Tenant
	if request.Operator {
		tenant = envelope.PlaneTenant
	}
	scopes := request.Scopes
	if scopes == nil {
		scopes = []string{}
	}
	err = q.TokenInsert(ctx, db.TokenInsertParams{
		TokenID: minted.ID, TenantID: tenant, Subject: request.Subject, Scopes: scopes, App: request.App, Audience: minted.Audience,
		KeyID: minted.KeyID, IssuedAt: minted.Issued, ExpiresAt: minted.Expires, MintedBy: by,
	})
	if err != nil {
		return auth.Minted{}, fmt.Errorf("record a token: %w", err)
	}
	if err := q.TokenForget(ctx, request.Now.Add(-keptFor)); err != nil {
		return auth.Minted{}, fmt.Errorf("forget old tokens: %w", err)
	}
	return minted, nil
}

// Filter selects tokens; the zero Filter those that have not expired.
type Filter struct {
	Tenant, Subject, ID string // empty = any
	Expired             bool   // those that have expired as well
}

// List returns the tokens that a filter selects, newest first, at most ListMax, with whether they were revoked.
func (r *Registry) List(ctx context.Context, f Filter) ([]Token, error) {
	q, err := r.queries(ctx)
	if err != nil {
		return nil, err
	}
	found, err := q.TokenList(ctx, db.TokenListParams{TenantID: f.Tenant, Subject: f.Subject, TokenID: f.ID, Expired: f.Expired, CountMax: ListMax})
	if err != nil {
		return nil, fmt.Errorf("list tokens: %w", err)
	}
	revocations, err := r.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	list := revocationsOf(revocations)
	out := make([]Token, len(found))
	for i, t := range found {
		out[i] = Token{
			ID: t.TokenID, Tenant: t.TenantID, Subject: t.Subject, Scopes: t.Scopes, App: t.App, Audience: t.Audience, Key: t.KeyID,
			Issued: t.IssuedAt.UTC(), Expires: t.ExpiresAt.UTC(), By: t.MintedBy,
			Revoked: auth.Revokes(list, auth.Principal{Tenant: t.TenantID, Subject: t.Subject, TokenID: t.TokenID, Issued: t.IssuedAt}),
		}
	}
	return out, nil
}

// Apps lists names that tokens of a tenant are bound to; empty = of all tenants.
func (r *Registry) Apps(ctx context.Context, tenant string) ([]string, error) {
	q, err := r.queries(ctx)
	if err != nil {
		return nil, err
	}
	return q.TokenApps(ctx, db.TokenAppsParams{TenantID: tenant, CountMax: ListMax})
}

// Living counts the recorded tokens of a key that have not expired.
func (r *Registry) Living(ctx context.Context, key string) (int64, error) {
	q, err := r.queries(ctx)
	if err != nil {
		return 0, err
	}
	return q.TokensOfKey(ctx, key)
}

// Revocations lists what is revoked.
func (r *Registry) Revocations(ctx context.Context) ([]Revocation, error) {
	q, err := r.queries(ctx)
	if err != nil {
		return nil, err
	}
	found, err := q.RevocationList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list revocations: %w", err)
	}
	out := make([]Revocation, len(found))
	for i, one := range found {
		out[i] = Revocation{
			Revocation: auth.Revocation{Tenant: one.TenantID, Subject: one.Subject, TokenID: one.TokenID, NotBefore: one.NotBefore.UTC()},
			Until:      one.Until.UTC(), At: one.RevokedAt.UTC(), By: one.RevokedBy,
		}
	}
	return out, nil
}

func revocationsOf(all []Revocation) []auth.Revocation {
	out := make([]auth.Revocation, len(all))
	for i, one := range all {
		out[i] = one.Revocation
	}
	return out
}

// Revoke refuses the tokens of a tenant, or of one of its subjects, that were issued until NotBefore (zero = now), or the
// one with an id whenever it was issued; by names who asks for it. All processes refuse them within some seconds. What was
// revoked up to a later time stays so.
func (r *Registry) Revoke(ctx context.Context, what auth.Revocation, by string) (Revocation, error) {
	out := Revocation{Revocation: what, By: by}
	if what.Tenant == "" && (what.TokenID == "" || what.Subject != "") {
		return out, ErrNothing
	}
	q, err := r.queries(ctx)
	if err != nil {
		return out, err
	}
	if out.At, err = q.Clock(ctx); err != nil {
		return out, fmt.Errorf("time of a revocation: %w", err)
	}
	out.Until = out.At.Add(auth.LifetimeMax + skewMax)
	switch {
	case what.TokenID != "":
		out.NotBefore = out.Until // an id is revoked whenever its token was issued, and once more if it comes again
	case what.NotBefore.IsZero():
		out.NotBefore = out.At
	case what.NotBefore.After(out.At):
		return out, ErrFuture
	}
	err = q.RevocationUpsert(ctx, db.RevocationUpsertParams{
		TenantID: out.Tenant, Subject: out.Subject, TokenID: out.TokenID, NotBefore: out.NotBefore, Until: out.Until, RevokedBy: by,
	})
	if err != nil {
		return out, fmt.Errorf("revoke: %w", err)
	}
	if err := q.RevocationForget(ctx); err != nil {
		return out, fmt.Errorf("forget old revocations: %w", err)
	}
	return out, r.Refresh(ctx)
}

// Refresh reads what was revoked, when it is not what is known.
func (r *Registry) Refresh(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := time.Now()
	q, err := r.queries(ctx)
	if err != nil {
		return err
	}
	mark, err := q.RevocationMark(ctx)
	if err != nil {
		return fmt.Errorf("revocations: %w", err)
	}
	if mark == r.mark {
		r.Revoked.Confirm(asked)
		return nil
	}
	all, err := r.Revocations(ctx) // later than the mark: it may hold more, and is then read once more
	if err != nil {
		return err
	}
	r.Revoked.Replace(revocationsOf(all), asked)
	r.mark = mark
	return nil
}

// Following reports whether Run is under way.
func (r *Registry) Following() bool { return r.following.Load() }

// Run keeps what this process knows fresh until ctx ends. While the database does not answer, what is known stands, for as
// long as auth.RevocationsStale allows.
func (r *Registry) Run(ctx context.Context) error {
	r.following.Store(true)
	defer r.following.Store(false)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		asking, cancel := context.WithTimeout(ctx, pollMax)
		err := r.Refresh(asking)
		cancel()
		if err != nil && ctx.Err() == nil && !failing {
			r.Logger.Warn("cannot read which tokens were revoked", "error", err)
		}
		failing = err != nil
	}
}
