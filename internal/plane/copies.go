package plane

import (
	"context"
	"fmt"

	"github.com/refold-dev/refold/internal/witness"
)

// CopyStatus is one replica of a shard: what NATS says of it, and what reading it has shown.
type CopyStatus struct {
	witness.Copy
	Leader  bool   `json:"leader"`
	Offline bool   `json:"offline"`
	Current bool   `json:"current"` // as NATS says, which does not know whether the bytes are damaged
	Lag     uint64 `json:"lag"`     // operations, as NATS says
}

// Damaged reports whether events of the copy were found changed, missing or unreadable.
func (c CopyStatus) Damaged() bool {
	return c.Bad() && c.State != witness.Behind && c.State != witness.Unreachable
}

// copyStatus adds the replicas of a replicated journal. What is wrong with one is a fault, but does not end the serving.
func (p *Plane) copyStatus(ctx context.Context, s *Status) error {
	if p.Journal == nil {
		return nil // said already
	}
	known, err := witness.Copies(ctx, p.DB, p.Journal.ID)
	if err != nil {
		return err
	}
	for _, shard := range p.Journal.Shards {
		if shard == nil {
			continue // said already
		}
		peers, err := p.Journal.Peers(ctx, shard.Number())
		if err != nil {
			s.Faults = append(s.Faults, err.Error())
			continue
		}
		if len(peers) < 2 {
			continue
		}
		if len(peers)%2 == 0 {
			s.Faults = append(s.Faults, fmt.Sprintf("shard %d: its stream has %d replicas, one too few: a rebuild was cut short; run `refold journal rebuild-replica` again", shard.Number(), len(peers)))
		}
		for _, peer := range peers {
			one := CopyStatus{Leader: peer.Leader, Offline: peer.Offline, Current: peer.Current, Lag: peer.Lag}
			one.Copy = witness.Copy{Shard: shard.Number(), Server: peer.Server, JournalID: p.Journal.ID}
			for _, c := range known {
				if c.Shard == shard.Number() && c.Server == peer.Server {
					one.Copy = c
				}
			}
			switch {
			case peer.Offline:
				s.Faults = append(s.Faults, fmt.Sprintf("shard %d: NATS server %s is offline: start it, or see docs/nats-cluster.md", shard.Number(), peer.Server))
			case one.Bad():
				s.Faults = append(s.Faults, one.String())
			case !peer.Current:
				s.Notes = append(s.Notes, fmt.Sprintf("shard %d: NATS server %s is not current, %d operations behind", shard.Number(), peer.Server, peer.Lag))
			}
			s.Copies = append(s.Copies, one)
		}
	}
	return nil
}
