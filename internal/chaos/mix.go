package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"
)

const (
	notesMax    = 40  // memories that a client goes on changing
	versionsMax = 100 // of one memory
	waitPrefer  = "wait=5"
)

// run works until stop is closed; the command in progress is settled first, unless ctx ends.
func (c *client) run(ctx context.Context, stop <-chan struct{}, every time.Duration) {
	for pause(ctx, every/2+rand.N(every+1)) == nil {
		select {
		case <-stop:
			return
		default:
		}
		if c.random.IntN(2) == 0 {
			c.command(ctx)
		} else {
			c.read(ctx)
		}
	}
}

func (c *client) key() string {
	c.count++
	return fmt.Sprintf("%s-%s-%d", c.tenant, c.name, c.count)
}

func (c *client) content() string {
	return fmt.Sprintf("%s of %s "+contentMark+" for the %d. time %s", c.name, c.tenant, c.count, filler[:c.random.IntN(len(filler))])
}

// contentMark is in each content.
const contentMark = "remembers"

const filler = "that what was said once is still there after every machine has fallen over and got up again, whoever asks and wherever"

// command sends one of the mix.
func (c *client) command(ctx context.Context) {
	kind := c.random.IntN(100)
	n := c.pick()
	switch {
	case kind < 10 && c.shared != nil:
		c.contend(ctx)
	case kind < 13 && c.last != nil:
		c.again(ctx)
	case kind < 16 && n != nil:
		c.refuse(ctx, n)
	case kind < 50 || n == nil:
		c.create(ctx, nil)
	case kind < 80:
		c.change(ctx, n)
	case kind < 95:
		c.move(ctx, n)
	default:
		c.remove(ctx, n)
	}
}

// pick is one of the newest notes that can still be changed, or nil.
func (c *client) pick() *note {
	if len(c.notes) == 0 {
		return nil
	}
	n := c.notes[max(0, len(c.notes)-notesMax)+c.random.IntN(min(notesMax, len(c.notes)))]
	if n.version >= versionsMax || n.state == deleted {
		return nil
	}
	return n
}

const (
	active   = "active"
	paused   = "paused"
	archived = "archived"
	deleted  = "deleted"
)

// create adds a memory by way of any server, or of only one.
func (c *client) create(ctx context.Context, only *server) *note {
	cmd := &command{Key: c.key(), Kind: "create", Content: c.content()}
	a := c.settle(ctx, cmd, only)
	if cmd.Outcome != accepted {
		c.unexpected(cmd, a)
		return nil
	}
	n := &note{cmd.Memory, cmd.Version, cmd.Content, active}
	c.notes = append(c.notes, n)
	return n
}

// unexpected is a refusal of what only this client can have changed.
func (c *client) unexpected(cmd *command, a answer) {
	if cmd.Outcome == refused {
		c.ledger.violate("refused", "%s %s on %s at version %d was refused, and nobody else writes there: %s", cmd.Kind, cmd.Key, cmd.Memory, cmd.Expect, a)
	}
}

func (c *client) change(ctx context.Context, n *note) {
	cmd := &command{Key: c.key(), Kind: "change", Memory: n.id, Content: c.content(), Expect: n.version}
	if c.advance(ctx, n, cmd) {
		n.content = cmd.Content
	}
}

// move pauses, archives or activates a memory.
func (c *client) move(ctx context.Context, n *note) {
	cmd := &command{Key: c.key(), Memory: n.id}
	target := active
	switch {
	case n.state != active:
		cmd.Kind = "activate"
	case c.random.IntN(2) == 0:
		cmd.Kind, target = "pause", paused
	default:
		cmd.Kind, target = "archive", archived
	}
	if c.advance(ctx, n, cmd) {
		n.state = target
	}
}

func (c *client) remove(ctx context.Context, n *note) {
	if c.advance(ctx, n, &command{Key: c.key(), Kind: "delete", Memory: n.id}) {
		n.state = deleted
	}
}

// advance settles a command on a memory that nobody else writes.
func (c *client) advance(ctx context.Context, n *note, cmd *command) bool {
	a := c.settle(ctx, cmd, nil)
	if cmd.Outcome != accepted {
		c.unexpected(cmd, a)
		c.forget(n)
		return false
	}
	c.mustFollow(n, cmd)
	return true
}

// mustFollow takes the version of an accepted command on a memory that nobody else writes.
func (c *client) mustFollow(n *note, cmd *command) {
	if cmd.Version != n.version+1 {
		c.ledger.violate("version", "%s %s on %s: version %d after %d", cmd.Kind, cmd.Key, n.id, cmd.Version, n.version)
	}
	n.version = cmd.Version
}

// forget leaves a memory alone of which nobody knows what it is.
func (c *client) forget(n *note) {
	c.notes = slices.DeleteFunc(c.notes, func(other *note) bool { return other == n })
}

// contend changes the shared memory from the version that it reads: of two who read the same one, one is refused.
func (c *client) contend(ctx context.Context) {
	a := c.get(ctx, nil, c.shared.id)
	var m memory
	if a.status != http.StatusOK || json.Unmarshal(a.body, &m) != nil {
		c.ledger.count(func(t *tally) { t.ReadsFailed++ })
		return
	}
	cmd := &command{Key: c.key(), Kind: "change", Memory: c.shared.id, Content: c.content(), Expect: m.Version}
	if a := c.settle(ctx, cmd, nil); cmd.Outcome == refused && a.status != http.StatusPreconditionFailed {
		c.ledger.violate("refused", "change of the shared %s at version %d: %s", c.shared.id, m.Version, a)
	}
}

// again repeats the newest accepted command with its key: the answer must be the same, and nothing more is stored.
func (c *client) again(ctx context.Context) {
	method, path, header, body := c.last.request()
	a := c.send(ctx, c.to(nil), method, path, header, body)
	if !a.definite() {
		return
	}
	c.ledger.count(func(t *tally) { t.Repeated++ })
	var m memory
	if a.status >= 300 || json.Unmarshal(a.body, &m) != nil || m.ID != c.last.Memory || m.Version != c.last.Version {
		c.ledger.violate("repeat", "%s %s of %s at version %d, repeated: %s", c.last.Kind, c.last.Key, c.last.Memory, c.last.Version, a)
	}
}

// refuse sends a change that expects a version which is long past or not there yet.
func (c *client) refuse(ctx context.Context, n *note) {
	expect := n.version + 1
	if n.version > 1 && c.random.IntN(2) == 0 {
		expect = n.version - 1
	}
	cmd := &command{Key: c.key(), Kind: "change", Memory: n.id, Content: c.content(), Expect: expect}
	if a := c.settle(ctx, cmd, nil); cmd.Outcome == accepted || cmd.Outcome == refused && a.status != http.StatusPreconditionFailed {
		c.ledger.violate("precondition", "change %s of %s expected version %d of %d: %s", cmd.Key, n.id, expect, n.version, a)
	}
}

// memory is what answers say of one.
type memory struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Content string `json:"content"`
	State   string `json:"state"`
}

// get asks for a memory, by way of any server or of only one, that is as new as the client's newest answer.
func (c *client) get(ctx context.Context, only *server, id string) answer {
	header := map[string]string{"Prefer": waitPrefer}
	if c.position != "" {
		header[positionName] = c.position
	}
	return c.send(ctx, c.to(only), http.MethodGet, "/v1/memories/"+id, header, nil)
}

// read asks for a memory of its own with the position of its newest answer: it must read what was acknowledged.
func (c *client) read(ctx context.Context) {
	if len(c.notes) == 0 {
		return
	}
	n := c.notes[max(0, len(c.notes)-notesMax)+c.random.IntN(min(notesMax, len(c.notes)))]
	c.mustRead(n, c.get(ctx, nil, n.id))
}

// mustRead holds an answer against what was acknowledged; an answer that there is none at the moment is no violation.
func (c *client) mustRead(n *note, a answer) bool {
	if a.status != http.StatusOK && a.status != http.StatusNotFound {
		if a.definite() {
			c.ledger.violate("read", "read of %s: %s", n.id, a)
		}
		c.ledger.count(func(t *tally) { t.ReadsFailed++ })
		return false
	}
	c.ledger.count(func(t *tally) { t.Reads++ })
	if n.state == deleted && a.status == http.StatusNotFound {
		return true
	}
	var m memory
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &m); err != nil {
			c.ledger.violate("answer", "read of %s: %v: %s", n.id, err, a)
			return false
		}
	}
	if a.status != http.StatusOK || m.Version != n.version || m.Content != n.content || m.State != n.state {
		c.ledger.count(func(t *tally) { t.StaleReads++ })
		c.ledger.violate("stale read", "%s of %s at position %s: %s; acknowledged was %+v", n.id, c.tenant, c.position, a, *n)
		return false
	}
	c.position = a.header.Get(positionName)
	return true
}

// probe adds a memory and reads it back, by way of one server or of any. It returns when both have succeeded.
func (c *client) probe(ctx context.Context, only *server, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	n := c.create(ctx, only)
	if n == nil || time.Now().After(deadline) {
		return fmt.Errorf("no command of %s was accepted within %s", c.tenant, limit)
	}
	for {
		a := c.get(ctx, only, n.id)
		switch {
		case c.mustRead(n, a):
			return nil
		case a.definite():
			return fmt.Errorf("what %s was acknowledged is not read: %s", c.tenant, a)
		case time.Now().After(deadline):
			return fmt.Errorf("what %s was acknowledged could not be read within %s: %s", c.tenant, limit, a)
		}
		if err := pause(ctx, repeatMin); err != nil {
			return err
		}
	}
}
