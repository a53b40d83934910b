package natsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/auth"
)

const (
	// watchEvery is how often it is looked whether the connections that were admitted may stay.
	watchEvery = time.Second
	kickMax    = 2 * time.Second
	// connectionMax bounds how long a connection lasts before it is asked for its token once more, and so for how long it
	// is remembered; connectionsMax how many are.
	connectionMax  = 24 * time.Hour
	connectionsMax = 50_000
)

// connection is one of a NATS server, whose ids it never uses again.
type connection struct {
	server string
	id     uint64
}

// admitted are the connections that this process has let in, so that they can be ended when their tokens are revoked: the
// server itself knows only when they expire.
type admitted struct {
	mu     sync.Mutex
	all    map[connection]auth.Principal
	banned map[user]time.Time // until when
}

type user struct{ tenant, subject string }

// of returns the connections of a tenant.
func (a *admitted) of(tenant string) map[connection]auth.Principal {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[connection]auth.Principal{}
	for c, p := range a.all {
		if p.Tenant == tenant {
			out[c] = p
		}
	}
	return out
}

// ban keeps a user out for a while.
func (a *admitted) ban(p auth.Principal, until time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.banned == nil {
		a.banned = map[user]time.Time{}
	}
	a.banned[user{p.Tenant, p.Subject}] = until
}

// isBanned also forgets those who are not any more.
func (a *admitted) isBanned(p auth.Principal, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.banned, func(_ user, until time.Time) bool { return !now.Before(until) })
	_, banned := a.banned[user{p.Tenant, p.Subject}]
	return banned
}

func (a *admitted) add(c connection, p auth.Principal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil {
		a.all = map[connection]auth.Principal{}
	}
	if len(a.all) >= connectionsMax {
		for one := range a.all { // any: each request shows its token all the same
			delete(a.all, one)
			break
		}
	}
	a.all[c] = p
}

// ended returns the connections that may not stay, and forgets them together with those that have expired.
func (a *admitted) ended(standing func(auth.Principal) error, now time.Time) (out []connection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for c, p := range a.all {
		if !now.Before(p.Expires) {
			delete(a.all, c)
		} else if err := standing(p); err != nil && !errors.Is(err, auth.ErrRevocationsUnknown) {
			delete(a.all, c)
			out = append(out, c)
		}
	}
	return out
}

// watch ends connections until ctx ends.
func (a *Admission) watch(ctx context.Context, conn *nats.Conn, standing func(auth.Principal) error, logger *slog.Logger) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range a.admitted.ended(standing, time.Now()) {
			if err := kick(ctx, conn, c); err != nil && ctx.Err() == nil {
				logger.WarnContext(ctx, "the connection of a producer whose token was revoked cannot be ended: import $SYS.REQ.SERVER.*.KICK into the account of producers",
					"server", c.server, "connection", c.id, "error", err)
			}
		}
	}
}

// kick asks a server to end a connection. One that is gone already counts as ended.
func kick(ctx context.Context, conn *nats.Conn, c connection) error {
	_, err := askServer(ctx, conn, c.server, "KICK", map[string]uint64{"cid": c.id})
	return err
}

// askServer sends a request to a server's own account.
func askServer(ctx context.Context, conn *nats.Conn, server, what string, request any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, kickMax)
	defer cancel()
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	// A subscription of its own: that of conn.Request would stay, and the end waits until there are none.
	inbox := conn.NewInbox()
	answer, err := conn.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = answer.Unsubscribe() }() // it fails where the connection is gone, and with it the subscription
	if err := conn.PublishRequest(fmt.Sprintf("$SYS.REQ.SERVER.%s.%s", server, what), inbox, body); err != nil {
		return nil, err
	}
	m, err := answer.NextMsgWithContext(ctx)
	if err != nil {
		return nil, err
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == noResponders {
		return nil, nats.ErrNoResponders
	}
	return m.Data, nil
}

// noResponders is the status of a message that a server sends when nobody hears a subject.
const noResponders = "503"
