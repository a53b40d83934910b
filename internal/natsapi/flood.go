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
	of := e.Admission.admitted.of(tenant)
	before, err := sentBy(ctx, e.conn, of)
	if err == nil {
		select {
		case <-time.After(floodLook):
		case <-ctx.Done():
			return
		}
		var after map[connection]int64
		if after, err = sentBy(ctx, e.conn, of); err == nil {
			for c, sent := range after {
				if float64(sent-before[c]) < floodRate*floodLook.Seconds() {
					continue
				}
				e.Admission.admitted.ban(of[c], time.Now().Add(floodBan))
				e.Logger.WarnContext(ctx, "a producer floods: its connection is ended", "tenant", tenant, "subject", of[c].Subject, "connection", c.id, "again_after", floodBan)
				if err = kick(ctx, e.conn, c); err != nil {
					break
				}
			}
		}
	}
	if err != nil && ctx.Err() == nil {
		e.Logger.WarnContext(ctx, "the connections of a tenant that floods cannot be ended: import $SYS.REQ.SERVER.*.CONNZ and $SYS.REQ.SERVER.*.KICK into the account of producers",
			"tenant", tenant, "error", err)
	}
}

// sentBy asks the servers how many messages connections have sent.
func sentBy(ctx context.Context, conn *nats.Conn, of map[connection]auth.Principal) (map[connection]int64, error) {
	sent := map[connection]int64{}
	for c := range of {
		if _, known := sent[c]; known {
			continue
		}
		// One question for each server, whose answer has all its connections in the account.
		var answer struct {
			Data struct {
				Connections []struct {
					ID   uint64 `json:"cid"`
					Sent int64  `json:"in_msgs"`
				} `json:"connections"`
			} `json:"data"`
		}
		body, err := askServer(ctx, conn, c.server, "CONNZ", map[string]any{"limit": connectionsMax})
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, fmt.Errorf("connections of server %s: %w", c.server, err)
		}
		for _, one := range answer.Data.Connections {
			if at := (connection{c.server, one.ID}); of[at].Tenant != "" {
				sent[at] = one.Sent
			}
		}
		sent[c] += 0 // one that is gone is not asked about again
	}
	return sent, nil
}
