package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nkeys"

	producing "github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
)

// batchMax is the most commands that a producer sends at once.
const batchMax = 8

// producer is a user who sends commands over NATS, in batches, with the client that refold offers.
type producer struct {
	*client
	conn *producing.Client
}

// issuer is the key that says who may connect to NATS as a producer: the public half for the servers, the other one in
// a file for refold.
type issuer struct{ public, seedFile string }

func newIssuer(dir string) (issuer, error) {
	key, err := nkeys.CreateAccount()
	if err != nil {
		return issuer{}, err
	}
	seed, err := key.Seed()
	if err != nil {
		return issuer{}, err
	}
	i := issuer{seedFile: filepath.Join(dir, "producers.seed")}
	if i.public, err = key.PublicKey(); err != nil {
		return i, err
	}
	return i, os.WriteFile(i.seedFile, seed, 0o600)
}

// connect opens the connection of a producer.
func (p *producer) connect(ctx context.Context, url string) (err error) {
	p.conn, err = producing.Connect(ctx, producing.Config{URL: url, Token: producing.StaticToken(p.token), RetryMax: settleMax})
	return err
}

// run sends batches until stop is closed; the one in progress is settled first.
func (p *producer) run(ctx context.Context, stop <-chan struct{}, every time.Duration) {
	defer p.conn.Close()
	for pause(ctx, every/2+rand.N(every+1)) == nil {
		select {
		case <-stop:
			return
		default:
			p.batch(ctx)
		}
	}
}

// batch sends creates, and changes of memories that were made before, at most one of each memory.
func (p *producer) batch(ctx context.Context) {
	var wishes []commands.Wish
	var sent []*command
	notes := map[*command]*note{}
	for range 1 + p.random.IntN(batchMax) {
		cmd := &command{Tenant: p.tenant, User: p.user, Key: p.key(), Kind: "create", Content: p.content(), Outcome: unknown}
		n := p.pick()
		if n == nil || p.random.IntN(2) == 0 || contains(notes, n) {
			wishes = append(wishes, commands.Wish{Key: cmd.Key, Command: commands.AddMemory{Content: cmd.Content}})
		} else {
			cmd.Kind, cmd.Memory, cmd.Expect = "change", n.id, n.version
			wishes = append(wishes, commands.Wish{
				Key: cmd.Key, Version: &commands.Version{Number: uint64(n.version)},
				Command: commands.ChangeMemory{ID: uuid.MustParse(n.id), Content: &cmd.Content},
			})
			notes[cmd] = n
		}
		sent = append(sent, cmd)
	}
	results, err := p.conn.DoAll(ctx, wishes)
	if err != nil {
		p.ledger.violate("producer", "a batch of %s was not sent: %v", p.tenant, err)
		return
	}
	for i, cmd := range sent {
		p.settled(cmd, results[i], notes[cmd])
	}
}

// settled records a result. changed is the memory of a change, nil for a create.
func (p *producer) settled(cmd *command, r commands.Result, changed *note) {
	switch {
	case r.Outcome == commands.Accepted && r.ID != nil:
		cmd.Outcome, cmd.Memory, cmd.Version, cmd.Position = accepted, r.ID.String(), int64(r.Version), r.Position
		p.position = r.Position
	case r.Outcome == commands.Refused && r.Problem != nil && !r.Problem.Retryable:
		cmd.Outcome, cmd.Status, cmd.Code = refused, r.Problem.Status, r.Problem.Code
		p.unexpected(cmd, answer{status: cmd.Status, body: fmt.Append(nil, *r.Problem)})
	case r.Outcome == commands.Refused && r.Problem != nil: // for now, until the time was up
		cmd.Status, cmd.Code = r.Problem.Status, r.Problem.Code
	default:
		cmd.Doubts++
	}
	p.ledger.settled(cmd)
	switch {
	case cmd.Outcome == accepted && changed == nil:
		p.notes = append(p.notes, &note{cmd.Memory, cmd.Version, cmd.Content, active})
	case cmd.Outcome == accepted:
		p.mustFollow(changed, cmd)
		changed.content = cmd.Content
	case changed != nil:
		p.forget(changed)
	}
}

func contains(notes map[*command]*note, wanted *note) bool {
	for _, n := range notes {
		if n == wanted {
			return true
		}
	}
	return false
}
