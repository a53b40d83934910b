package natsapi

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/internal/auth"
)

// Messages without a reply cost little to drop, but a connection may send as many as a processor can read, and those that
// wait for that processor wait. NATS has no bound for that; so when a tenant sends too many, those of its connections that do
// are ended, and their users are let in again a while later.
const (
	floodMax  = 2000                   // messages without a reply of a tenant, in a second
	floodRate = 500                    // messages a second of a connection that is ended for it
	floodLook = 500 * time.Millisecond // for which it is looked who sends how much
	floodBan  = 10 * time.Second
)

// floods counts the messages that were dropped in this second, by tenant.
type floods struct {
	mu      sync.Mutex
	second  int64
	dropped map[string]int
	looking map[string]bool
}

// note counts one, and is true when it is to be found out who sends them; then end must be called.
func (f *floods) note(tenant string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now().Unix(); now != f.second || f.dropped == nil {
		f.second, f.dropped = now, map[string]int{}
	}
	f.dropped[tenant]++
	if f.dropped[tenant] < floodMax || f.looking[tenant] {
		return false
	}
	if f.looking == nil {
		f.looking = map[string]bool{}
	}
	f.looking[tenant] = true
	return true
}

func (f *floods) end(tenant string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.looking, tenant)
}

// stem ends the connections of a tenant that flood, and keeps their users out for a while.
func (e *edge) stem(ctx context.Context, tenant string) {
	defer e.floods.end(tenant)
	if err := e.endFlooding(ctx, e.Admission.admitted.of(tenant)); err != nil && ctx.Err() == nil {
		e.Logger.WarnContext(ctx, "the connections of a tenant that floods cannot be ended: import $SYS.REQ.SERVER.*.CONNZ and $SYS.REQ.SERVER.*.KICK into the account of producers",
			"tenant", tenant, "error", err)
	}
}

func (e *edge) endFlooding(ctx context.Context, of map[connection]auth.Principal) error {
	before, err := sentBy(ctx, e.conn, of)
	if err != nil {
		return err
	}
	select {
	case <-time.After(floodLook):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := sentBy(ctx, e.conn, of)
	if err != nil {
		return err
	}
	for c, sent := range after {
		if float64(sent-before[c]) < floodRate*floodLook.Seconds() {
			continue
		}
		e.Admission.admitted.ban(of[c], time.Now().Add(floodBan))
		e.Logger.WarnContext(ctx, "a producer floods: its connection is ended", "tenant", of[c].Tenant, "subject", of[c].Subject, "connection", c.id, "again_after", floodBan)
		if err := kick(ctx, e.conn, c); err != nil {
			return err
		}
	}
	return nil
}

// sentBy asks the servers how many messages connections have sent; those that are gone are left out.
func sentBy(ctx context.Context, conn *nats.Conn, of map[connection]auth.Principal) (map[connection]int64, error) {
	servers := map[string]bool{}
	for c := range of {
		servers[c.server] = true
	}
	sent := map[connection]int64{}
	for server := range servers {
		body, err := askServer(ctx, conn, server, "CONNZ", map[string]any{"limit": connectionsMax})
		if err != nil {
			return nil, err
		}
		var answer struct {
			Data struct {
				Connections []struct {
					ID   uint64 `json:"cid"`
					Sent int64  `json:"in_msgs"`
				} `json:"connections"`
			} `json:"data"`
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, fmt.Errorf("connections of server %s: %w", server, err)
		}
		for _, one := range answer.Data.Connections {
			if c := (connection{server, one.ID}); of[c].Tenant != "" {
				sent[c] = one.Sent
			}
		}
	}
	return sent, nil
}
