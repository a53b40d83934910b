package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/writer"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// stack is a plane that takes commands over NATS.
type stack struct {
	plane  *plane.Plane
	key    *auth.Local
	config natsapi.Config
	// append stands before the journal for the events of memories, when it is set.
	append atomic.Pointer[func(context.Context, journal.Shard, *envelope.Event, uint64) (journal.Receipt, error)]
}

func newStack(t testing.TB) *stack {
	t.Helper()
	s := opened(t, plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSListen: "127.0.0.1:0", Durability: localstack.DurabilityRelaxed, ScrubRate: -1,
	})
	t.Cleanup(func() { check(t, s.plane.Close()) })
	check(t, s.plane.EnsureLive(t.Context(), nil))
	_, _, err := s.plane.CreateTenant(t.Context(), "a", "", "test")
	check(t, err)
	return s
}

// opened starts a plane, for the caller to close.
func opened(t testing.TB, config plane.Config) *stack {
	t.Helper()
	s := &stack{}
	var err error
	s.plane, err = plane.Open(t.Context(), config)
	check(t, err)
	s.key, err = auth.LocalKey(s.plane.DataDir)
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{s.key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	admission, err := natsapi.NewAdmission(s.plane.Stack.Producers().IssuerSeed, localstack.ProducersAccount)
	check(t, err)
	s.config = natsapi.Config{
		Connect: s.plane.Stack.ConnectProducers, Verifier: verifier, Sealer: sealer, Admission: admission,
		Writer: writer.New(s.plane.Directory, func(n int) journal.Shard { return &hooked{s.plane.Shard(n), s} }, reader.New(s.plane.Live, s.plane.DB)),
	}
	return s
}

type hooked struct {
	journal.Shard
	stack *stack
}

func (h *hooked) Append(ctx context.Context, e *envelope.Event, expected uint64) (journal.Receipt, error) {
	if fn := h.stack.append.Load(); fn != nil && e.Entity == "memory" {
		return (*fn)(ctx, h.Shard, e, expected)
	}
	return h.Shard.Append(ctx, e, expected)
}

func (s *stack) hook(fn func(context.Context, journal.Shard, *envelope.Event, uint64) (journal.Receipt, error)) {
	s.append.Store(&fn)
}

func (s *stack) serve(t testing.TB) (end func()) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- natsapi.Serve(ctx, s.config, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	var once sync.Once
	end = func() { once.Do(func() { stop(); check(t, <-done) }) }
	t.Cleanup(end)
	return end
}

func (s *stack) token(t testing.TB, scopes ...string) string {
	t.Helper()
	if len(scopes) == 0 {
		scopes = auth.AllScopes()
	}
	token, err := s.key.Mint(auth.TokenRequest{Tenant: "a", Subject: "ann", Scopes: scopes})
	check(t, err)
	return token
}

func (s *stack) client(t testing.TB, change ...func(*client.Config)) *client.Client {
	t.Helper()
	config := client.Config{URL: s.plane.Stack.NATSURL(), Token: client.StaticToken(s.token(t)), AttemptMax: 5 * time.Second, RetryMax: 30 * time.Second}
	for _, c := range change {
		c(&config)
	}
	c, err := client.Connect(t.Context(), config)
	check(t, err)
	t.Cleanup(c.Close)
	return c
}

func (s *stack) history(t testing.TB, id uuid.UUID) int {
	t.Helper()
	events, err := s.plane.Journal.Shard(0).History(t.Context(), envelope.Key{Tenant: "a", Entity: "memory", ID: id.String()})
	check(t, err)
	return len(events)
}

func (s *stack) lastSeq(t testing.TB) uint64 {
	t.Helper()
	facts, err := s.plane.Journal.Shard(0).Facts(t.Context())
	check(t, err)
	return facts.LastSeq
}

func add(key, content string) commands.Wish {
	return commands.Wish{Key: key, Command: commands.AddMemory{Content: content}}
}

func TestDo(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	c := s.client(t)
	if c.Tenant() != "a" {
		t.Errorf("tenant %q", c.Tenant())
	}
	made, err := c.Do(t.Context(), add("", "likes tea"))
	check(t, err)
	_, err = c.Do(t.Context(), commands.Wish{Command: commands.ArchiveMemory{ID: *made.ID}, Version: &commands.Version{Number: 7}})
	refused, ok := errors.AsType[*client.RefusedError](err)
	if !ok || refused.Code != "precondition_failed" || refused.Status != 412 {
		t.Errorf("at another version: %v", err)
	}
	if _, err := c.Do(t.Context(), add("k", "")); !errors.As(err, new(*commands.InvalidError)) {
		t.Errorf("an empty memory: %v", err)
	}
	if _, err := c.Do(t.Context(), commands.Wish{Key: "a b", Command: commands.AddMemory{Content: "c"}}); !errors.As(err, new(*commands.InvalidError)) {
		t.Errorf("a malformed key: %v", err)
	}
	if _, err := c.Do(t.Context(), commands.Wish{}); !errors.As(err, new(*commands.InvalidError)) {
		t.Errorf("no command: %v", err)
	}
}

func TestConnectRefused(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	for _, token := range []string{"", "x", "a.b.c", s.token(t) + "x"} {
		if _, err := client.Connect(t.Context(), client.Config{URL: s.plane.Stack.NATSURL(), Token: client.StaticToken(token)}); err == nil {
			t.Errorf("let in with %.20q", token)
		}
	}
	if _, err := client.Connect(t.Context(), client.Config{}); err == nil {
		t.Error("connected to nowhere")
	}
}

// TestUnknownIsRepeated: the plane does not know whether it has stored the command, twice; the third attempt settles it,
// and there is one event.
func TestUnknownIsRepeated(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	var attempts atomic.Int32
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		receipt, err := shard.Append(ctx, e, expected)
		if attempts.Add(1) <= 2 {
			return journal.Receipt{}, journal.ErrUnknown
		}
		return receipt, err
	})
	made, err := s.client(t).Do(t.Context(), add("", "in doubt"))
	check(t, err)
	if attempts.Load() < 2 || made.Version != 1 || s.history(t, *made.ID) != 1 {
		t.Errorf("%d attempts, %+v, %d events, want one", attempts.Load(), made, s.history(t, *made.ID))
	}
}

// TestLostAnswers: the command is stored, but its answer comes too late.
func TestLostAnswers(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	release := make(chan struct{})
	var attempts atomic.Int32
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		receipt, err := shard.Append(ctx, e, expected)
		if attempts.Add(1) == 1 {
			<-release
		}
		return receipt, err
	})
	defer close(release)
	c := s.client(t, func(c *client.Config) { c.AttemptMax = 300 * time.Millisecond })
	made, err := c.Do(t.Context(), add("", "answered late"))
	check(t, err)
	if attempts.Load() < 2 || s.history(t, *made.ID) != 1 {
		t.Errorf("%d attempts, %d events, want one", attempts.Load(), s.history(t, *made.ID))
	}
}

// TestTimeIsUp: what is not known when the time is up is called so, never refused.
func TestTimeIsUp(t *testing.T) {
	s := newStack(t)
	end := s.serve(t)
	s.hook(func(context.Context, journal.Shard, *envelope.Event, uint64) (journal.Receipt, error) {
		return journal.Receipt{}, journal.ErrUnknown
	})
	c := s.client(t, func(c *client.Config) { c.RetryMax = time.Second })
	if _, err := c.Do(t.Context(), add("k", "c")); !errors.Is(err, client.ErrUnknown) {
		t.Errorf("got %v, want ErrUnknown", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	end()
	if _, err := c.Do(ctx, add("k", "c")); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("without a plane: %v, want ErrUnavailable", err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, err := c.Do(left, add("k", "c")); !errors.Is(err, client.ErrUnavailable) {
		t.Errorf("with no time at all: %v, want ErrUnavailable", err)
	}
}

// TestDoubtIsKept: an attempt that stored nothing says so, alone; after one that may be stored it settles nothing, and
// only an answer to the command itself does.
func TestDoubtIsKept(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	away, unknown, silent := journal.Unavailable(errors.New("away")), journal.ErrUnknown, errors.New("no answer in time")
	for name, c := range map[string]struct {
		attempts []error // what the journal says; nil = stored
		want     error
		code     string // of the problem
	}{
		"unavailable":                  {[]error{away}, client.ErrUnavailable, "not_stored"},
		"busy":                         {[]error{command.ErrBusy}, client.ErrUnavailable, "busy"},
		"unavailable, unknown":         {[]error{away, unknown}, client.ErrUnknown, ""},
		"unavailable, no answer":       {[]error{away, silent}, client.ErrUnknown, ""},
		"unknown, unavailable":         {[]error{unknown, away}, client.ErrUnknown, ""},
		"no answer, unavailable":       {[]error{silent, away}, client.ErrUnknown, ""},
		"unknown, full":                {[]error{unknown, journal.ErrFull}, client.ErrUnknown, ""},
		"unavailable, stored":          {[]error{away, nil}, nil, ""},
		"unknown, unavailable, stored": {[]error{unknown, away, nil}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			defer close(over)
			var tried atomic.Int32
			s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
				switch err := c.attempts[tried.Add(1)-1]; err {
				case nil:
					return shard.Append(ctx, e, expected)
				case silent:
					<-over
					return journal.Receipt{}, unknown
				default:
					return journal.Receipt{}, err
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			token := s.token(t)
			cl := s.client(t, func(config *client.Config) {
				config.AttemptMax = 500 * time.Millisecond
				config.Token = func(context.Context) (string, error) {
					if int(tried.Load()) == len(c.attempts) {
						cancel() // the time is up right before one attempt more
					}
					return token, nil
				}
			})
			_, err := cl.Do(ctx, add("", name))
			if !errors.Is(err, c.want) || errors.Is(err, client.ErrUnknown) && errors.Is(err, client.ErrUnavailable) || errors.As(err, new(*client.RefusedError)) {
				t.Fatalf("got %v after %d attempts, want %v", err, tried.Load(), c.want)
			}
			if p, ok := errors.AsType[*commands.Problem](err); ok != (c.code != "") || ok && p.Code != c.code {
				t.Errorf("got the problem %v, want %q", p, c.code)
			}
		})
	}
}

// TestPlaneComesBack: with nobody there the client waits, and goes on when somebody is.
func TestPlaneComesBack(t *testing.T) {
	s := newStack(t)
	end := s.serve(t)
	c := s.client(t)
	end()
	done := make(chan error, 1)
	go func() {
		_, err := c.Do(t.Context(), add("k", "c"))
		done <- err
	}()
	s.serve(t)
	check(t, <-done)
}

// TestRefusalAfterDoubt: a token that expires between two attempts does not make the first one refused.
func TestRefusalAfterDoubt(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	good, weak := s.token(t), s.token(t, auth.MemoriesRead)
	var attempts atomic.Int32
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		if _, err := shard.Append(ctx, e, expected); err != nil {
			return journal.Receipt{}, err
		}
		attempts.Add(1)
		return journal.Receipt{}, journal.ErrUnknown
	})
	for name, bad := range map[string]string{"no scope": weak, "damaged": good + "x"} {
		before := attempts.Load()
		c := s.client(t, func(c *client.Config) {
			c.RetryMax = 2 * time.Second
			c.Token = func(context.Context) (string, error) {
				if attempts.Load() == before {
					return good, nil
				}
				return bad, nil
			}
		})
		if _, err := c.Do(t.Context(), add("", name)); !errors.Is(err, client.ErrUnknown) || attempts.Load() != before+1 {
			t.Errorf("%s: %v after %d attempts, want ErrUnknown after one", name, err, attempts.Load()-before)
		}
	}
}

func TestLimitsAreWaitedFor(t *testing.T) {
	s := newStack(t)
	s.config.Limits = quota.New(quota.Limits{PerSecond: 2, Burst: 1})
	s.serve(t)
	c := s.client(t)
	for range 3 {
		_, err := c.Do(t.Context(), add("", "c"))
		check(t, err)
	}
}

// TestDoAll sends more than fits into one request, with commands about one thing in both.
func TestDoAll(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	c := s.client(t)
	made, err := c.Do(t.Context(), add("", "c"))
	check(t, err)
	about := func(c commands.Command) commands.Wish { return commands.Wish{Command: c} }
	wishes := []commands.Wish{about(commands.PauseMemory{ID: *made.ID})}
	for i := range commands.BatchMax + 100 {
		wishes = append(wishes, add("", fmt.Sprint(i)))
	}
	for i := range 8 {
		wishes = append(wishes, add("", fmt.Sprint(i)+strings.Repeat("x", 200_000)))
	}
	wishes = append(wishes, about(commands.ArchiveMemory{ID: *made.ID}), about(commands.ActivateMemory{ID: *made.ID}))
	// The first command about the memory fails for now, once: those behind it wait for it, in both requests.
	var failed atomic.Bool
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		if e.ID == made.ID.String() && failed.CompareAndSwap(false, true) {
			return journal.Receipt{}, journal.ErrFull
		}
		return shard.Append(ctx, e, expected)
	})
	before := s.lastSeq(t)
	results, err := c.DoAll(t.Context(), wishes)
	check(t, err)
	for i, r := range results {
		if err := client.Err(r); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
	}
	if got := s.lastSeq(t) - before; got != uint64(len(wishes)) {
		t.Errorf("%d events of %d commands", got, len(wishes))
	}
	last := len(results) - 1
	if results[0].Version != 2 || results[last-1].Version != 3 || results[last].Version != 4 {
		t.Errorf("not in their order: versions %d, %d, %d", results[0].Version, results[last-1].Version, results[last].Version)
	}
}

func TestBatcher(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	b := client.NewBatcher(s.client(t), client.BatcherConfig{})
	before := s.lastSeq(t)
	ids := sync.Map{}
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			r, err := b.Do(t.Context(), add(fmt.Sprint("k", i%900), "c"+fmt.Sprint(i%900)))
			if err != nil {
				t.Errorf("command %d: %v", i, err)
				return
			}
			ids.Store(*r.ID, true)
		})
	}
	all.Wait()
	count := 0
	ids.Range(func(any, any) bool { count++; return true })
	if got := s.lastSeq(t) - before; count != 900 || got != 901 { // and the user
		t.Errorf("%d memories and %d events of 900 commands", count, got)
	}
	b.Close()
	b.Close()
	if _, err := b.Do(t.Context(), add("", "c")); !errors.Is(err, client.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// wire is the network between a client and the server: all that is on it can be cut at once.
type wire struct {
	listener net.Listener
	to       string
	mu       sync.Mutex
	conns    []net.Conn
	cuts     int
}

func newWire(t testing.TB, url string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	w := &wire{listener: listener, to: strings.TrimPrefix(url, "nats://")}
	t.Cleanup(func() { _ = listener.Close(); w.cut() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.carry(conn)
		}
	}()
	return w
}

func (w *wire) url() string { return "nats://" + w.listener.Addr().String() }

func (w *wire) carry(conn net.Conn) {
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = conn.Close()
		return
	}
	w.mu.Lock()
	w.conns = append(w.conns, conn, far)
	w.mu.Unlock()
	forward := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_, _ = to.Close(), from.Close()
	}
	go forward(far, conn)
	go forward(conn, far)
}

// cut ends every connection; new ones are carried.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns, w.cuts = nil, w.cuts+1
}

// TestCutWhileTheAnswerIsUnderWay: each time that commands are stored, the connection is cut before the answer is sent,
// six times. The client comes back and asks again; nothing is stored twice.
func TestCutWhileTheAnswerIsUnderWay(t *testing.T) {
	s := newStack(t)
	s.serve(t)
	w := newWire(t, s.plane.Stack.NATSURL())
	c := s.client(t, func(c *client.Config) {
		c.URL, c.AttemptMax = w.url(), 700*time.Millisecond
		c.Options = []nats.Option{nats.ReconnectWait(10 * time.Millisecond)}
	})
	_, err := c.Do(t.Context(), add("", "so that the user exists"))
	check(t, err)
	before := s.lastSeq(t)
	var stored atomic.Int32
	s.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		receipt, err := shard.Append(ctx, e, expected)
		if stored.Add(1) <= 6 {
			w.cut()
		}
		return receipt, err
	})
	ids := map[uuid.UUID]bool{}
	for i := range 4 {
		made, err := c.Do(t.Context(), add("", fmt.Sprint("alone ", i)))
		check(t, err)
		ids[*made.ID] = true
	}
	wishes := make([]commands.Wish, 50)
	for i := range wishes {
		wishes[i] = add("", fmt.Sprint("together ", i))
	}
	results, err := c.DoAll(t.Context(), wishes)
	check(t, err)
	for i, r := range results {
		if err := client.Err(r); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		ids[*r.ID] = true
	}
	if got := s.lastSeq(t) - before; len(ids) != 54 || got != 54 {
		t.Errorf("%d memories and %d events of 54 commands", len(ids), got)
	}
	if w.cuts < 5 || stored.Load() <= 54 {
		t.Errorf("%d cuts and %d attempts: nothing was lost on the way", w.cuts, stored.Load())
	}
}

// TestPlaneRestarts: the whole process with its NATS server goes while commands are stored and not answered yet, and
// comes back at the same address.
func TestPlaneRestarts(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	address := listener.Addr().String()
	check(t, listener.Close())
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSListen: address, Durability: localstack.DurabilityAlways, ScrubRate: -1}
	first := opened(t, config)
	check(t, first.plane.EnsureLive(t.Context(), nil))
	_, _, err = first.plane.CreateTenant(t.Context(), "a", "", "test")
	check(t, err)
	first.config.DrainMax = time.Millisecond // it does not wait for answers
	ctx, stop := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- natsapi.Serve(ctx, first.config, func() { close(ready) }) }()
	<-ready
	c := first.client(t, func(c *client.Config) {
		c.AttemptMax = time.Second
		c.Options = []nats.Option{nats.ReconnectWait(20 * time.Millisecond)}
	})
	_, err = c.Do(t.Context(), add("", "so that the user exists"))
	check(t, err)
	before := first.lastSeq(t)
	stored, release := make(chan struct{}, 100), make(chan struct{})
	first.hook(func(ctx context.Context, shard journal.Shard, e *envelope.Event, expected uint64) (journal.Receipt, error) {
		receipt, err := shard.Append(ctx, e, expected)
		stored <- struct{}{}
		<-release
		return receipt, err
	})
	const count = 20
	wishes := make([]commands.Wish, count)
	for i := range wishes {
		wishes[i] = add("", fmt.Sprint("c", i))
	}
	results := make(chan []commands.Result, 1)
	go func() {
		all, _ := c.DoAll(t.Context(), wishes)
		results <- all
	}()
	for range count {
		<-stored
	}
	stop()
	if err := <-ended; err == nil {
		t.Error("nothing was left unanswered: the test shows nothing")
	}
	check(t, first.plane.Close())
	close(release)
	second := opened(t, config)
	defer func() { check(t, second.plane.Close()) }()
	defer second.serve(t)()
	for i, r := range <-results {
		if err := client.Err(r); err != nil || r.Version != 1 {
			t.Errorf("command %d: %+v, %v", i, r, err)
		}
	}
	if got := second.lastSeq(t) - before; got != count {
		t.Errorf("%d events of %d commands", got, count)
	}
}
