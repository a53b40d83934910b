package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/user"
	"github.com/refold-dev/refold/internal/writer"
)

// heard is a change as a listener got it.
type heard struct {
	Kind, Entity, ID string
	Version          int64
}

// served is the edge over a whole plane, behind real sockets.
type served struct {
	plane  *plane.Plane
	config httpapi.Config
	key    *auth.Local
}

func newServed(t *testing.T) *served {
	t.Helper()
	p, err := plane.Open(t.Context(), plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: "relaxed", BytesMax: 256 << 20, SkipVerifyMigrations: true,
	})
	check(t, err)
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
		check(t, p.Close())
	})
	check(t, p.EnsureLive(t.Context(), nil))
	for _, tenant := range []string{"a", "b"} {
		_, _, err = p.CreateTenant(t.Context(), tenant, tenant, "operator")
		check(t, err)
	}
	s := &served{plane: p}
	s.key, err = auth.LocalKey(t.TempDir())
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{s.key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	rows := reader.New(p.Live, p.DB)
	s.config = httpapi.Config{
		Verifier: verifier, Writer: writer.New(p.Directory, p.Journal.Shard, rows), Reader: rows, Sealer: sealer, Health: p,
		Heartbeat: 200 * time.Millisecond,
	}
	return s
}

// replica serves on an address of its own until the test is over.
func (s *served) replica(t *testing.T) (*http.Server, string) {
	t.Helper()
	config := s.config
	feed := changes.New(s.plane.Journal.Shard, s.config.Reader)
	feed.Remember = 100 // so that who was away for a moment must read the journal
	config.Changes = feed
	edge := httpapi.Server(config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go func() { _ = edge.Serve(listener) }()
	t.Cleanup(func() { _ = edge.Close(); feed.Close() })
	return edge, "http://" + listener.Addr().String()
}

func (s *served) token(t *testing.T, tenant, subject string, ttl time.Duration, scopes ...string) string {
	t.Helper()
	if len(scopes) == 0 {
		scopes = auth.AllScopes()
	}
	token, err := s.key.Mint(auth.TokenRequest{Tenant: tenant, Subject: subject, Scopes: scopes, TTL: ttl})
	check(t, err)
	return token
}

// request sends one request over a connection of its own.
func request(ctx context.Context, t *testing.T, method, url, token, body string, headers ...string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Authorization", "Bearer "+token)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return http.DefaultClient.Do(r)
}

// command sends a command until its outcome is known and returns the answer.
func command(t *testing.T, method, url, token, body, key string) map[string]any {
	t.Helper()
	for {
		response, err := request(t.Context(), t, method, url, token, body, "Idempotency-Key", key)
		check(t, err)
		content, err := io.ReadAll(response.Body)
		check(t, err)
		check(t, response.Body.Close())
		if response.StatusCode == http.StatusServiceUnavailable {
			continue
		}
		var out map[string]any
		check(t, json.Unmarshal(content, &out))
		if response.StatusCode/100 != 2 {
			t.Fatalf("%s %s: %d %s", method, url, response.StatusCode, content)
		}
		return out
	}
}

// write makes memories of a user, and moves them about.
func write(t *testing.T, url, token, user string, count int) {
	for i := range count {
		key := fmt.Sprintf("%s-%d", user, i)
		m := command(t, "POST", url+"/v1/memories", token, fmt.Sprintf(`{"content":"%s","app":"app-%d","categories":["c-%d"]}`, key, i%3, i%5), key)
		for _, action := range []string{"pause", "activate", "archive"}[:i%4%3] {
			command(t, "POST", fmt.Sprintf("%s/v1/memories/%v/%s", url, m["id"], action), token, "", key+action)
		}
	}
}

// listener hears over server-sent events and loses its connection again and again.
type listener struct {
	t      *testing.T
	urls   []string // replicas
	path   string
	token  string
	last   string // Last-Event-ID
	random *rand.Rand
	heard  []heard
	cuts   int
}

// listen hears until it has count changes; each connection is cut after a random number of bytes, be it in the middle
// of an event.
func (l *listener) listen(ctx context.Context, count int) {
	for len(l.heard) < count && ctx.Err() == nil {
		headers := []string{"Accept", "text/event-stream"}
		if l.last != "" {
			headers = append(headers, "Last-Event-ID", l.last)
		}
		once, cut := context.WithTimeout(ctx, time.Duration(20+l.random.IntN(400))*time.Millisecond)
		response, err := request(once, l.t, "GET", l.urls[l.random.IntN(len(l.urls))]+l.path, l.token, "", headers...)
		if err == nil {
			if response.StatusCode != http.StatusOK {
				body, _ := io.ReadAll(response.Body)
				l.t.Errorf("status %d: %s", response.StatusCode, body)
				cut()
				return
			}
			l.read(io.LimitReader(response.Body, int64(200+l.random.IntN(12_000))), count)
			_ = response.Body.Close()
		}
		cut()
		l.cuts++
	}
}

// read takes whole events in, as the specification of server-sent events has it.
func (l *listener) read(in io.Reader, count int) {
	lines := bufio.NewScanner(in)
	var id, kind, data string
	for len(l.heard) < count && lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch name {
		case "id":
			id = value
		case "event":
			kind = value
		case "data":
			data = value
		case "":
			l.last = id
			l.take(kind, data)
			kind, data = "", ""
		}
	}
}

func (l *listener) take(kind, data string) {
	switch kind {
	case "change":
		var h heard
		check(l.t, json.Unmarshal([]byte(data), &h))
		l.heard = append(l.heard, h)
	case "problem":
		l.t.Logf("stream ended: %s", data)
	}
}

// poll hears page by page.
func (l *listener) poll(ctx context.Context, count int) {
	for len(l.heard) < count && ctx.Err() == nil {
		url := fmt.Sprintf("%s%s?limit=%d&from=begin", l.urls[l.random.IntN(len(l.urls))], l.path, 1+l.random.IntN(40))
		if l.last != "" {
			url = fmt.Sprintf("%s%s?after=%s", l.urls[0], l.path, l.last)
		}
		response, err := request(ctx, l.t, "GET", url, l.token, "", "Prefer", "wait=2")
		if err != nil {
			return
		}
		var page struct {
			Items []heard
			Next  string
		}
		err = json.NewDecoder(response.Body).Decode(&page)
		_ = response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK || page.Next == "" {
			l.t.Errorf("page: %d, %v", response.StatusCode, err)
			return
		}
		l.heard, l.last = append(l.heard, page.Items...), page.Next
	}
}

// journalOf is what the journal itself holds of tenant a: all of it, and what alice may read.
func (s *served) journalOf(t *testing.T) (all, alices []heard) {
	t.Helper()
	shard := s.plane.Journal.Shard(0)
	facts, err := shard.Facts(t.Context())
	check(t, err)
	follower, err := shard.Follow(t.Context(), journal.FollowOptions{})
	check(t, err)
	defer follower.Close()
	tenant, err := s.plane.Directory.Tenant(t.Context(), "a")
	check(t, err)
	alice := user.ID(tenant.Key, "a", "alice").String()
	for at := uint64(0); at < facts.LastSeq; {
		events, err := follower.Next(t.Context(), 0, 0)
		check(t, err)
		for _, e := range events {
			at = e.Seq
			if e.Tenant != "a" {
				continue
			}
			h := heard{e.Kind, e.Entity, e.ID, int64(e.Version)}
			all = append(all, h)
			if e.Actor == alice || e.Entity == "category" {
				alices = append(alices, h)
			}
		}
	}
	return all, alices
}

// Listeners whose connections are cut at any place, at any replica, while writers go on and an edition is cut over, hear
// exactly what the journal holds: all of it, in order, once, and nothing of others.
func TestListenersHearTheJournal(t *testing.T) {
	s := newServed(t)
	var urls []string
	for range 2 {
		_, url := s.replica(t)
		urls = append(urls, url)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	newListener := func(path, subject string) *listener {
		return &listener{t: t, urls: urls, path: path, token: s.token(t, "a", subject, 0), random: rand.New(rand.NewPCG(seed, uint64(len(path))))}
	}
	var writers sync.WaitGroup
	for _, who := range []struct{ tenant, subject string }{{"a", "alice"}, {"a", "bob"}, {"b", "alice"}} {
		writers.Go(func() { write(t, urls[0], s.token(t, who.tenant, who.subject, 0), who.subject, 150) })
	}
	ctx, stop := context.WithTimeout(t.Context(), 60*time.Second)
	defer stop()
	// How many there will be is known only afterwards: they hear until they are told, and the rest then.
	writing, written := context.WithCancel(ctx)
	own, tenant, polled := newListener("/v1/changes?from=begin", "alice"), newListener("/v1/tenant/changes?from=begin", "carol"), newListener("/v1/changes", "alice")
	var hearing sync.WaitGroup
	hearing.Go(func() { own.listen(writing, 1<<30) })
	hearing.Go(func() { tenant.listen(writing, 1<<30) })
	hearing.Go(func() { polled.poll(writing, 1<<30) })

	number, err := s.plane.Editions.Build(ctx, nil)
	check(t, err)
	_, err = s.plane.Editions.Cutover(ctx, number)
	check(t, err)
	writers.Wait()
	written()
	hearing.Wait()
	all, alices := s.journalOf(t)
	own.listen(ctx, len(alices))
	tenant.listen(ctx, len(all))
	polled.poll(ctx, len(alices))
	for name, diff := range map[string]string{
		"alice by events": cmp.Diff(alices, own.heard), "alice by pages": cmp.Diff(alices, polled.heard), "the tenant by events": cmp.Diff(all, tenant.heard),
	} {
		if diff != "" {
			t.Errorf("%s (-journal +heard):\n%s", name, diff)
		}
	}
	if own.cuts < 10 || tenant.cuts < 10 || len(alices) < 100 || len(all) < 2*len(alices)-20 {
		t.Errorf("%d and %d cuts, %d and %d changes: the test proves little", own.cuts, tenant.cuts, len(alices), len(all))
	}
	t.Logf("%d changes of alice, %d of the tenant; %d and %d connections cut", len(alices), len(all), own.cuts, tenant.cuts)
}

// Whoever hears of a change can read it, without waiting.
func TestWhoHearsCanRead(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	page := alice.do("GET", "/v1/changes?from=now", "").want(t, http.StatusOK)
	for range 30 {
		alice.add(`{"content":"x"}`)
	}
	for seen := 0; seen < 30; {
		page = alice.do("GET", fmt.Sprintf("/v1/changes?limit=7&after=%v", page["next"]), "", "Prefer", "wait=10").want(t, http.StatusOK)
		for _, change := range items(page) {
			if change["entity"] != "memory" {
				continue
			}
			alice.position = ""
			position, _ := change["position"].(string)
			alice.do("GET", fmt.Sprintf("/v1/memories/%v", change["id"]), "", "Refold-Min-Position", position).want(t, http.StatusOK)
			seen++
		}
	}
}

// A token to go on from is of use to its user, on its route, and as long as the journal's past stands.
func TestResumeTokensAreSealed(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"x"}`)
	next, _ := alice.do("GET", "/v1/changes?from=begin", "", "Prefer", "wait=10").want(t, http.StatusOK)["next"].(string)
	for who, c := range map[string]*client{"another user": s.client(t, "a", "bob"), "another tenant": s.client(t, "b", "alice")} {
		foreign := c.do("GET", "/v1/changes?after="+next, "")
		garbage := c.do("GET", "/v1/changes?after=garbage", "")
		if foreign.status != http.StatusBadRequest || foreign.body != garbage.body {
			t.Errorf("%s: %d %s, want %s", who, foreign.status, foreign.body, garbage.body)
		}
	}
	alice.position = "" // no question waits from here on
	alice.do("GET", "/v1/tenant/changes?after="+next, "").want(t, http.StatusBadRequest)
	alice.do("GET", "/v1/changes", "", "Last-Event-ID", "garbage").want(t, http.StatusBadRequest)
	alice.do("GET", "/v1/changes?from=yesterday", "").want(t, http.StatusBadRequest)
	alice.do("GET", "/v1/changes?limit=0", "").want(t, http.StatusBadRequest)
	alice.do("GET", "/v1/changes?after=garbage", "", "Last-Event-ID", next).want(t, http.StatusOK)

	facts, err := s.journal.Facts(t.Context())
	check(t, err)
	caller, err := s.config.Writer.Caller(t.Context(), auth.Principal{Tenant: "a", Subject: "alice"})
	check(t, err)
	before, err := json.Marshal(reader.Position{JournalID: facts.JournalID, Incarnation: facts.Incarnation - 1, Seq: 1})
	check(t, err)
	lost := s.config.Sealer.Seal("changes", before, "a", caller.User.String(), "listChanges")
	for _, accept := range []string{"application/json", "text/event-stream"} {
		if code := alice.do("GET", "/v1/changes?after="+lost, "", "Accept", accept).want(t, http.StatusConflict)["code"]; code != "position_lost" {
			t.Errorf("after a restore: %v", code)
		}
	}
}

// A stream ends with its token, with the server, and when nobody reads it; a tenant has so many and no more.
func TestStreamsEnd(t *testing.T) {
	s := newServed(t)
	s.config.Limits = quota.New(quota.Limits{Listeners: 2, InFlight: 1})
	edge, url := s.replica(t)
	open := func(token string) *http.Response {
		response, err := request(t.Context(), t, "GET", url+"/v1/changes", token, "", "Accept", "text/event-stream")
		check(t, err)
		return response
	}
	brief := open(s.token(t, "a", "alice", 2*time.Second))
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, brief.Body)
		ended <- err
	}()
	select {
	case err := <-ended:
		check(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("the stream outlives its token")
	}
	one, two := open(s.token(t, "a", "alice", 0)), open(s.token(t, "a", "bob", 0))
	three := open(s.token(t, "a", "carol", 0))
	if three.StatusCode != http.StatusTooManyRequests || three.Header.Get("Retry-After") == "" {
		t.Errorf("a third listener: %d", three.StatusCode)
	}
	if other := open(s.token(t, "b", "alice", 0)); other.StatusCode != http.StatusOK {
		t.Errorf("a listener of another tenant: %d", other.StatusCode)
	}
	// Listeners do not take the places of others.
	response, err := request(t.Context(), t, "GET", url+"/v1/memories", s.token(t, "a", "alice", 0), "")
	check(t, err)
	if response.StatusCode != http.StatusOK {
		t.Errorf("a question beside the listeners: %d", response.StatusCode)
	}
	ending, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	check(t, edge.Shutdown(ending)) // waits for all that is under way
	for _, stream := range []*http.Response{one, two} {
		if _, err := io.Copy(io.Discard, stream.Body); err != nil {
			t.Errorf("a stream at the end of the server: %v", err)
		}
	}
}

// Streams and long polls end soon after their token was revoked or their tenant removed, and say so.
func TestListenersEndWithWhatIsTakenBack(t *testing.T) {
	s := newServed(t)
	var err error
	s.config.Verifier, err = auth.NewVerifier(auth.Config{
		Issuers: []auth.Issuer{s.key.Issuer()}, Revoked: &s.plane.Tokens.Revoked, Gone: s.plane.Directory.Gone,
	})
	check(t, err)
	_, url := s.replica(t)
	for tenant, take := range map[string]func(){
		"a": func() {
			_, err := s.plane.Tokens.Revoke(t.Context(), auth.Revocation{Tenant: "a", Subject: "alice"}, "test")
			check(t, err)
		},
		"b": func() {
			_, err := s.plane.RemoveTenant(t.Context(), "b", "test")
			check(t, err)
		},
	} {
		token := s.token(t, tenant, "alice", 0)
		stream, err := request(t.Context(), t, "GET", url+"/v1/changes", token, "", "Accept", "text/event-stream")
		check(t, err)
		type polled struct {
			status int
			body   string
			err    error
		}
		polls := make(chan polled, 1)
		go func() {
			poll, err := request(t.Context(), t, "GET", url+"/v1/changes", token, "", "Prefer", "wait=30")
			if err != nil {
				polls <- polled{err: err}
				return
			}
			body, err := io.ReadAll(poll.Body)
			polls <- polled{poll.StatusCode, string(body), err}
		}()
		began := time.Now()
		take()
		heard, err := io.ReadAll(stream.Body)
		check(t, err)
		if !strings.Contains(string(heard), "event: problem") || !strings.Contains(string(heard), "invalid_token") {
			t.Errorf("the stream of tenant %s does not say why it ends: %s", tenant, heard)
		}
		// A poll that came only after the removal hears that there is nothing; one that came before is told why it ends.
		if p := <-polls; p.err != nil || p.status != http.StatusUnauthorized && (tenant != "b" || p.status != http.StatusOK) {
			t.Errorf("the poll of tenant %s: %+v", tenant, p)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("tenant %s is listened to for %s", tenant, took)
		}
		again, err := request(t.Context(), t, "GET", url+"/v1/changes", token, "")
		check(t, err)
		if tenant == "a" && again.StatusCode != http.StatusUnauthorized {
			t.Errorf("a revoked token: %d", again.StatusCode)
		}
	}
}

// pipes is a listener whose connections hold nothing back: what one side does not read, the other cannot write.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p pipes) Close() error {
	close(p)
	return nil
}

func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// A listener that does not read is cut off, and gives its place back.
func TestSlowListenersAreCut(t *testing.T) {
	s := newStack(t)
	s.config.Heartbeat = 100 * time.Millisecond
	edge, connections := httpapi.Server(s.config), make(pipes)
	go func() { _ = edge.Serve(connections) }()
	t.Cleanup(func() { _ = edge.Close() })
	here, there := net.Pipe()
	connections <- there
	_, err := fmt.Fprintf(here, "GET /v1/changes?from=begin HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", s.client(t, "a", "alice").token)
	check(t, err)
	first := make([]byte, 1)
	_, err = here.Read(first)
	check(t, err) // it is being answered
	ending, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	closed := make(chan error, 1)
	go func() { // nobody reads; only when the server has cut the connection does a write to it fail
		for ending.Err() == nil {
			if _, err := here.Write([]byte(" ")); err != nil {
				closed <- err
				return
			}
		}
	}()
	select {
	case <-closed:
	case <-ending.Done():
		t.Error("a listener that does not read is not cut off")
	}
}
