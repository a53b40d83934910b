package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
)

// StepDown makes the leader of a shard's stream hand over to the preferred server; empty = to any other. It returns when
// the leader has agreed: see Peers for who leads then.
func (j *Journal) StepDown(ctx context.Context, shard int, preferred string) error {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return fmt.Errorf("step down of shard %d: the journal has no such shard", shard)
	}
	var body []byte
	if preferred != "" {
		request := struct {
			Placement struct {
				Preferred string `json:"preferred"`
			} `json:"placement"`
		}{}
		request.Placement.Preferred = preferred
		var err error
		if body, err = json.Marshal(request); err != nil {
			return err
		}
	}
	err := patiently(ctx, func(ctx context.Context) error {
		m, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN."+s.stream, body)
		if err != nil {
			return err
		}
		var answer struct {
			Error *jetstream.APIError `json:"error"`
		}
		if err := json.Unmarshal(m.Data, &answer); err != nil {
			return fmt.Errorf("answer of the server: %w", err)
		}
		if answer.Error != nil {
			return answer.Error
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("step down of stream %s: %w", s.stream, gone(err))
	}
	return nil
}

// SetReplicas changes how many replicas a shard's stream has, and nothing else of it. With fewer, NATS lets go of a
// replica on a server that is offline first; with more, it makes new ones on servers that are online. It returns when the
// server has agreed: see Peers for where the replicas are then.
func (j *Journal) SetReplicas(ctx context.Context, shard, replicas int) error {
	s, ok := j.Shard(shard).(*jetShard)
	if !ok {
		return fmt.Errorf("replicas of shard %d: the journal has no such shard", shard)
	}
	err := patiently(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.stream)
		if err != nil {
			return err
		}
		config := stream.CachedInfo().Config
		if config.Replicas == replicas {
			return nil
		}
		config.Replicas = replicas
		_, err = s.js.UpdateStream(ctx, config)
		return err
	})
	if err != nil {
		return fmt.Errorf("give stream %s %d replicas: %w", s.stream, replicas, gone(err))
	}
	return nil
}

// joinedMax bounds how long Joined waits for its stream to be there on the server.
const joinedMax = 10 * time.Second

// Joined reports whether a server takes part in the cluster and has seen every change of streams that came before this
// call: it hosts a replica of a stream that is made for this, in memory, and removed again. A server that was down for the
// removal of its replica of another stream, and has joined, has removed its files.
func (j *Journal) Joined(ctx context.Context, server string, replicas int) (bool, error) {
	name := "REFOLD-JOINED-" + ulid.Make().String() // never used again, like every name
	making, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	_, err := j.js.CreateStream(making, jetstream.StreamConfig{
		Name: name, Subjects: []string{name}, Storage: jetstream.MemoryStorage, Replicas: replicas, MaxBytes: 1 << 10, MaxMsgs: 1,
	})
	defer func() {
		removing, cancel := context.WithTimeout(context.WithoutCancel(ctx), askMax)
		defer cancel()
		_ = j.js.DeleteStream(removing, name)
	}()
	if err != nil {
		return false, fmt.Errorf("make a stream with %d replicas: %w", replicas, err)
	}
	for begun := time.Now(); time.Since(begun) < joinedMax; {
		stream, err := j.js.Stream(ctx, name)
		if err == nil {
			for _, p := range peersOf(stream.CachedInfo().Cluster) {
				if p.Server == server && p.Current && !p.Offline {
					return true, nil
				}
			}
		}
		if !pause(ctx, backoffMax) {
			return false, ctx.Err()
		}
	}
	return false, nil
}
