package natsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/natsapi"
)

// TestFloodOfOneTenant (I18): however many batches of one tenant are under way, another's are taken at once. The journal
// holds back what the first one sends, so that no place becomes free meanwhile.
func TestFloodOfOneTenant(t *testing.T) {
	const batches = 100
	s := serving(t)
	noisy, quiet := s.producer(t, "a", "ann"), s.producer(t, "b", "ann")
	wantAccepted(t, noisy.do("first", commands.AddMemory{Content: "so that the user exists"}))
	var held atomic.Int64
	release := make(chan struct{})
	s.before(func(_ context.Context, e *envelope.Event) error {
		if e.Tenant == "a" {
			held.Add(1)
			<-release
		}
		return nil
	})
	answers := make(chan *nats.Msg, batches)
	inbox := commands.InboxPrefix("a", "ann")
	_, err := noisy.conn.ChanSubscribe(inbox+".flood", answers)
	check(t, err)
	for i := range batches {
		wishes := make([]commands.Wish, commands.BatchMax)
		for n := range wishes {
			wishes[n] = commands.Wish{Key: fmt.Sprintf("k%d-%d", i, n), Command: commands.AddMemory{Content: "c"}}
		}
		body, err := commands.EncodeBatch(wishes)
		check(t, err)
		m := noisy.request("cmd.a.batch", string(body))
		m.Reply = inbox + ".flood"
		check(t, noisy.conn.PublishMsg(m))
	}
	check(t, noisy.conn.Flush())
	// All that are not worked on are told to come again; what the first of them say must not be stored.
	refused := 0
	next := func() *nats.Msg {
		select {
		case m := <-answers:
			return m
		case <-time.After(patience):
			t.Fatal("no answer")
		}
		return nil
	}
	count := func(m *nats.Msg) {
		var r commands.BatchResult
		check(t, json.Unmarshal(m.Data, &r))
		switch {
		case r.Problem == nil:
			for _, one := range r.Results {
				wantAccepted(t, one)
			}
		case r.Problem.Code != "too_many_requests" || !r.Problem.Retryable || m.Header.Get("Retry-After") != "1":
			t.Fatalf("%+v, %v, want it refused for now", r.Problem, m.Header)
		default:
			refused++
		}
	}
	count(next())
	for i := range 3 {
		got := quiet.batch(commands.Wish{Key: fmt.Sprint("b", i), Command: commands.AddMemory{Content: "c"}})
		if got.Problem != nil {
			t.Fatalf("the other tenant: %v", got.Problem)
		}
		wantAccepted(t, got.Results[0])
		wantAccepted(t, quiet.do(fmt.Sprint("s", i), commands.AddMemory{Content: "c"}))
	}
	wantAccepted(t, s.producer(t, "b", "bob").do("k", commands.AddMemory{Content: "c"}))
	if got, most := int(held.Load()), 2*journal.BatchMax+commands.BatchMax; got > most {
		t.Errorf("%d commands of one tenant are worked on, at most %d", got, most)
	}
	before := s.lastSeq(t)
	close(release)
	for range batches - 1 {
		count(next())
	}
	if got := int(s.lastSeq(t) - before); got != (batches-refused)*commands.BatchMax || refused == 0 {
		t.Errorf("%d events of %d batches that were taken", got, batches-refused)
	}
}

// TestScopes holds each command against each scope, alone and in a batch, for a tenant that is there and one that is
// not: without its scope a token learns nothing about the tenant, not even that its limits are used up.
func TestScopes(t *testing.T) {
	s := serving(t)
	met := 0
	for _, name := range auth.Operations() {
		command, ok := strings.CutPrefix(name, "nats:")
		if !ok {
			continue
		}
		met++
		scope, _ := auth.ScopeOf(name)
		others := slices.DeleteFunc(auth.AllScopes(), func(s string) bool { return s == scope })
		for _, tenant := range []string{"a", "ghost"} {
			for _, scopes := range [][]string{others, {scope}} {
				p := s.producer(t, tenant, "ann", scopes...)
				// Neither has a form that is taken: who may do it is told that, or that the tenant is not there.
				single, _ := p.ask("cmd."+tenant+"."+commands.EntityOf(command)+".new", "5", commands.HeaderCommand, command, commands.HeaderKey, "k")
				batched := p.batchOf(`{"commands":[{"key":"k","command":"` + command + `","id":"x"}]}`)
				answers := []*commands.Problem{single.Problem, batched.Problem}
				if batched.Problem == nil {
					answers[1] = batched.Results[0].Problem
				}
				want := "insufficient_scope"
				if len(scopes) == 1 {
					if want = "invalid"; tenant == "ghost" {
						want = "not_found"
					}
				}
				for i, got := range answers {
					if got == nil || got.Code != want {
						t.Errorf("%s, tenant %s, %d scopes, %d: %v, want %s", command, tenant, len(scopes), i, got, want)
					}
				}
			}
		}
	}
	if met != len(commands.Names()) {
		t.Errorf("the table of scopes has %d commands, there are %d", met, len(commands.Names()))
	}
}

// held is a verifier that holds back the tokens of one tenant.
type held struct {
	natsapi.Verifier
	token   string
	waiting atomic.Int64
	release chan struct{}
}

func (h *held) Verify(ctx context.Context, token string) (auth.Principal, error) {
	if token == h.token {
		h.waiting.Add(1)
		select {
		case <-h.release:
		case <-ctx.Done():
		}
	}
	return h.Verifier.Verify(ctx, token)
}

// TestUnreadRequestsOfOneTenant: however many requests of one tenant wait to be read, another's are read at once.
func TestUnreadRequestsOfOneTenant(t *testing.T) {
	const requests = 2000
	s := newStack(t)
	verifier := &held{Verifier: s.config.Verifier, token: s.token(t, "a", "held"), release: make(chan struct{})}
	s.serve(t, func(c *natsapi.Config) { c.Verifier = verifier })
	defer close(verifier.release)
	noisy, quiet := s.producer(t, "a", "ann"), s.producer(t, "b", "ann")
	noisy.token = verifier.token
	for i := range requests {
		m := noisy.request("cmd.a.memory.new", `{"content": "c"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, fmt.Sprint("k", i))
		m.Reply = commands.InboxPrefix("a", "ann") + ".flood"
		check(t, noisy.conn.PublishMsg(m))
	}
	check(t, noisy.conn.Flush())
	for i := range 3 {
		wantAccepted(t, quiet.do(fmt.Sprint("s", i), commands.AddMemory{Content: "c"}))
	}
	if verifier.waiting.Load() == 0 {
		t.Error("no request of the other tenant was read: the test shows nothing")
	}
}

// TestMessagesWithoutReply: what nobody waits for is not carried out, but counted.
func TestMessagesWithoutReply(t *testing.T) {
	const messages = 500
	s := serving(t)
	p := s.producer(t, "a", "ann")
	wantAccepted(t, p.do("first", commands.AddMemory{Content: "so that the user exists"}))
	before := s.lastSeq(t)
	for i := range messages {
		check(t, p.conn.PublishMsg(p.request("cmd.a.memory.new", `{"content": "c"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, fmt.Sprint("k", i))))
	}
	check(t, p.conn.Flush())
	conn, err := s.config.Connect()
	check(t, err)
	defer conn.Close()
	dropped := func() int64 {
		var stats micro.Stats
		request(t, conn, "$SRV.STATS.refold-commands", &stats)
		var of map[string]int64
		check(t, json.Unmarshal(stats.Endpoints[0].Data, &of))
		return of["dropped"]
	}
	for deadline := time.Now().Add(patience); dropped() != messages; {
		if time.Now().After(deadline) {
			t.Fatalf("%v dropped, want %d", dropped(), messages)
		}
	}
	if got := s.lastSeq(t); got != before {
		t.Errorf("%d events were stored of messages without a reply", got-before)
	}
}

// TestFloodsAreEnded: a connection that sends more than anybody could want answered is ended, and its user stays out for a
// while; others of the tenant stay.
func TestFloodsAreEnded(t *testing.T) {
	s := serving(t)
	noisy, quiet := s.producer(t, "a", "ann"), s.producer(t, "a", "bob")
	closed := make(chan struct{})
	noisy.conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
	message := noisy.request("cmd.a.memory.new", `{"content": "c"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, "k")
	late := time.After(patience)
	for ended := false; !ended; {
		select {
		case <-closed:
			ended = true
		case <-late:
			t.Fatal("the connection goes on")
		default:
			_ = noisy.conn.PublishMsg(message) // until the server ends it
		}
	}
	if again, err := nats.Connect(s.url, nats.Token(noisy.token)); err == nil {
		again.Close()
		t.Error("who flooded is let in again at once")
	}
	wantAccepted(t, quiet.do("k", commands.AddMemory{Content: "c"}))
}
