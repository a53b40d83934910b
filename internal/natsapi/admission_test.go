package natsapi_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/auth"
)

func TestWhoIsLetIn(t *testing.T) {
	s := serving(t)
	foreign, err := auth.LocalKey(t.TempDir())
	check(t, err)
	forged, err := foreign.Mint(auth.TokenRequest{Tenant: "a", Subject: "ann", Scopes: auth.AllScopes()})
	check(t, err)
	good := s.token(t, "a", "ann")
	operator, err := s.key.Mint(auth.TokenRequest{Operator: true, Subject: "olga", Scopes: auth.AllScopes()})
	check(t, err)
	damaged := good[:len(good)-4] + "AAAA"
	for name, options := range map[string][]nats.Option{
		"nothing":                      nil,
		"a forged token":               {nats.Token(forged)},
		"a damaged token":              {nats.Token(damaged)},
		"an operator":                  {nats.Token(operator)},
		"an empty token":               {nats.Token("")},
		"no token":                     {nats.Token("a.b.c")},
		"a password that is none":      {nats.UserInfo("ann", "secret")},
		"the journal's user, guessing": {nats.UserInfo("refold", good)},
		"the service's user, guessing": {nats.UserInfo("refold-producers", good)},
	} {
		conn, err := nats.Connect(s.url, options...)
		if err == nil {
			conn.Close()
		}
		if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%s: %v, want an authorization violation", name, err)
		}
	}
	for name, option := range map[string]nats.Option{"as token": nats.Token(good), "as password": nats.UserInfo("", good), "as password with a user": nats.UserInfo("ann", good)} {
		conn, err := nats.Connect(s.url, option)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn.Close()
	}
}

// denied waits for the server's complaint.
func (p *producer) denied(what string) {
	p.t.Helper()
	select {
	case err := <-p.faults:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			p.t.Errorf("%s: %v, want a permissions violation", what, err)
		}
	case <-time.After(patience):
		p.t.Errorf("%s: the server does not complain", what)
	}
}

func TestWhatAProducerMayNot(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	bob := s.producer(t, "a", "bob")
	facts, err := s.plane.Journal.Shard(0).Facts(t.Context())
	check(t, err)
	for _, subject := range []string{
		"cmd.b.memory.new", "cmd.b.batch", "cmd.ab.batch", "ev.0.a.memory.x", "ev.0.b.memory.x", "$JS.API.INFO", "$JS.API.STREAM.NAMES", "$JS.API.STREAM.DELETE." + facts.Stream,
		"$SYS.REQ.USER.AUTH", "$SYS.REQ.SERVER.PING", "$SRV.PING", commands.InboxPrefix("a", "bob") + ".x", commands.InboxPrefix("a", "ann") + ".x", "anything",
	} {
		check(t, ann.conn.Publish(subject, []byte("{}")))
		check(t, ann.conn.Flush())
		ann.denied("publish to " + subject)
	}
	for _, subject := range []string{
		">", "*", "ev.>", "ev.0.a.>", "cmd.>", "cmd.a.>", "cmd.b.batch", "$JS.API.>", "$SYS.>", "$SRV.>", "_INBOX.>", "_INBOX.a.>", "_INBOX.*.*.>", "_INBOX.b.>",
		commands.InboxPrefix("a", "bob") + ".>", commands.InboxPrefix("b", "ann") + ".>", commands.InboxPrefix("a", "ann"),
	} {
		sub, err := ann.conn.SubscribeSync(subject)
		check(t, err)
		check(t, ann.conn.Flush())
		ann.denied("subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
	wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
	wantAccepted(t, bob.do("k", commands.AddMemory{Content: "c"}))
	if len(ann.faults)+len(bob.faults) != 0 {
		t.Error("more complaints than refused attempts")
	}
}

// TestRepliesGoToTheUserOnly: a reply elsewhere would make the plane speak for the producer where that may not.
func TestRepliesGoToTheUserOnly(t *testing.T) {
	s := serving(t)
	ann, bob := s.producer(t, "a", "ann"), s.producer(t, "a", "bob")
	overheard, err := bob.conn.SubscribeSync(commands.InboxPrefix("a", "bob") + ".>")
	check(t, err)
	check(t, bob.conn.Flush())
	wantAccepted(t, ann.do("first", commands.AddMemory{Content: "c"}))
	before := s.lastSeq(t)
	for _, reply := range []string{
		"", "ev.0.a.memory.x", "$JS.API.STREAM.NAMES", "cmd.a.batch", "cmd.b.batch", commands.InboxPrefix("a", "bob") + ".x", commands.InboxPrefix("b", "ann") + ".x",
		"_INBOX.a.x", "_INBOX.b.x", commands.InboxPrefix("a", "ann") + "x.y",
	} {
		m := ann.request("cmd.a.memory.new", `{"content":"c"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, "k")
		m.Reply = reply
		check(t, ann.conn.PublishMsg(m))
	}
	// The requests of a connection are taken in turn, so those before this one were looked at; none made an event.
	result := ann.do("last", commands.AddMemory{Content: "d"})
	wantAccepted(t, result)
	if after := s.lastSeq(t); after != before+1 {
		t.Errorf("%d events, want the last one only", after-before)
	}
	wantAccepted(t, bob.do("k", commands.AddMemory{Content: "c"})) // a round trip on bob's connection
	if m, err := overheard.NextMsg(time.Millisecond); err == nil && !strings.Contains(string(m.Data), `"accepted"`) {
		t.Errorf("bob has heard %s", m.Data)
	}
}

// TestExpiry: a token that expires ends the connection that was opened with it.
func TestExpiry(t *testing.T) {
	s := serving(t)
	token, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "ann", Scopes: auth.AllScopes(), TTL: 2 * time.Second})
	check(t, err)
	closed, faults := make(chan struct{}), make(chan error, 10)
	conn, err := nats.Connect(s.url, nats.Token(token), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { faults <- err }))
	check(t, err)
	defer conn.Close()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("the connection goes on after its token")
	}
	select {
	case err := <-faults:
		if !errors.Is(err, nats.ErrAuthExpired) {
			t.Errorf("closed by %v, want an expired authorization", err)
		}
	default:
		t.Error("the server does not say why")
	}
	if again, err := nats.Connect(s.url, nats.Token(token)); err == nil {
		again.Close()
		t.Error("an expired token is let in")
	}
}

// A connection ends soon after its token was revoked or its tenant removed, and comes back only with a token that is good.
func TestConnectionsEndWithWhatIsTakenBack(t *testing.T) {
	s := newStack(t)
	var err error
	s.config.Verifier, err = auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{s.key.Issuer()}, Revoked: &s.plane.Tokens.Revoked, Gone: s.plane.Directory.Gone,
	})
	check(t, err)
	s.serve(t)
	stays := s.producer(t, "a", "bob")
	for tenant, take := range map[string]func(){
		"a": func() {
			_, err := s.plane.Tokens.Revoke(t.Context(), auth.Revocation{Tenant: "a", Subject: "ann"}, "test")
			check(t, err)
		},
		"b": func() {
			_, err := s.plane.RemoveTenant(t.Context(), "b", "test")
			check(t, err)
		},
	} {
		p := s.producer(t, tenant, "ann")
		wantAccepted(t, p.do("k", commands.AddMemory{Content: "c"}))
		closed := make(chan struct{})
		p.conn.SetClosedHandler(func(*nats.Conn) { close(closed) })
		began := time.Now()
		take()
		if tenant == "a" { // before the connection ends, nothing is taken any more
			m, err := p.conn.RequestMsg(p.request("cmd.a.memory.new", `{"content":"c"}`, commands.HeaderCommand, "memory.add", commands.HeaderKey, "late"), patience)
			if err == nil && !strings.Contains(string(m.Data), "revoked") && !strings.Contains(string(m.Data), "invalid_token") {
				t.Errorf("a request with the revoked token: %s", m.Data)
			}
		}
		select {
		case <-closed:
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the connection of tenant %s ends after %s", tenant, took)
			}
		case <-time.After(patience):
			t.Fatalf("the connection of tenant %s goes on", tenant)
		}
		if again, err := nats.Connect(s.url, nats.Token(p.token)); err == nil {
			again.Close()
			t.Errorf("tenant %s is let in again", tenant)
		}
	}
	wantAccepted(t, stays.do("k", commands.AddMemory{Content: "c"}))
	s.producer(t, "a", "ann") // with a new token
}
