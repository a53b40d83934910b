package command_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
)

// The entity of these tests is a tally: it is opened, amounts are added, and it is closed.
type tally struct {
	Open   bool
	Closed bool
	Sum    int
}

type tallyEvent struct {
	Name   string `json:"-"`
	Amount int    `json:"amount"`
}

func (e *tallyEvent) Kind() string { return "tally." + e.Name + ".v1" }

func (e *tallyEvent) Halves() (public, private []byte, err error) {
	if e.Amount < 0 {
		return nil, nil, errors.New("a negative amount cannot be encoded")
	}
	public, err = json.Marshal(e)
	return public, []byte("{}"), err
}

type add struct {
	Amount int
	Open   bool // open the tally first if need be
	Close  bool
}

func evolve(t tally, e *envelope.Event) (tally, error) {
	var payload tallyEvent
	if err := json.Unmarshal(e.Data, &payload); err != nil {
		return t, err
	}
	switch e.Kind {
	case "tally.added.v1":
		t.Open, t.Sum = true, t.Sum+payload.Amount
	case "tally.closed.v1":
		t.Closed = true
	default:
		return t, fmt.Errorf("unknown kind %q", e.Kind)
	}
	return t, nil
}

func decide(t tally, c add) (command.Payload, error) {
	switch {
	case !t.Open && !c.Open:
		return nil, command.Refuse(command.NotFound, "there is no such tally")
	case t.Closed && c.Close:
		return nil, nil
	case t.Closed:
		return nil, command.Refuse(command.StateForbids, "the tally is closed")
	case c.Close:
		return &tallyEvent{Name: "closed"}, nil
	}
	return &tallyEvent{Name: "added", Amount: c.Amount}, nil
}

var tallyKey = envelope.Key{Tenant: "acme", Entity: "tally", ID: "t1"}

func request(t testing.TB, commandID string, c add) command.Request {
	t.Helper()
	hash, err := command.Hash("tally.add", c)
	if err != nil {
		t.Fatal(err)
	}
	return command.Request{Key: tallyKey, TenantKey: []byte("key"), CommandID: commandID, RequestHash: hash, Actor: "tester"}
}

func execute(t testing.TB, s journal.Shard, r command.Request, c add) (command.Outcome, error) {
	t.Helper()
	return command.Execute(t.Context(), s, r, evolve, decide, c)
}

// accepted executes a command that must be accepted.
func accepted(t testing.TB, s journal.Shard, commandID string, c add) command.Outcome {
	t.Helper()
	outcome, err := execute(t, s, request(t, commandID, c), c)
	if err != nil {
		t.Fatalf("command %s: %v", commandID, err)
	}
	return outcome
}

func wantRefusal(t testing.TB, err error, want command.Code) {
	t.Helper()
	refusal, ok := errors.AsType[*command.Refusal](err)
	if !ok || refusal.Code != want {
		t.Fatalf("got %v, want a refusal %s", err, want)
	}
}

func wantEvents(t testing.TB, s journal.Shard, want int) []envelope.Event {
	t.Helper()
	history, err := s.History(t.Context(), tallyKey)
	if err != nil || len(history) != want {
		t.Fatalf("history has %d events, %v, want %d", len(history), err, want)
	}
	return history
}

func TestAccepted(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	r := request(t, "c1", add{Amount: 5, Open: true})
	r.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	first, err := execute(t, s, r, add{Amount: 5, Open: true})
	if err != nil {
		t.Fatal(err)
	}
	second := accepted(t, s, "c2", add{Amount: 7})
	if first.Version != 1 || first.Seq != 2 || first.Repeated || first.Nothing || second.Version != 2 || second.Seq != 3 {
		t.Fatalf("outcomes: got %+v and %+v", first, second)
	}
	history := wantEvents(t, s, 2)
	if diff := cmp.Diff(&history[0], first.Event); diff != "" {
		t.Fatalf("outcome holds another event than the journal (-journal +outcome):\n%s", diff)
	}
	e := history[0]
	if e.Kind != "tally.added.v1" || e.Actor != "tester" || e.CommandID != "c1" || e.TraceParent != r.TraceParent ||
		e.EventID != envelope.MessageID([]byte("key"), tallyKey, "c1") || envelope.RequestHash(e.Data) != r.RequestHash {
		t.Fatalf("stored event: %+v", e)
	}
}

func TestRefused(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	_, err := execute(t, s, request(t, "c1", add{Amount: 1}), add{Amount: 1})
	wantRefusal(t, err, command.NotFound)
	_, err = execute(t, s, request(t, "c2", add{Amount: -1, Open: true}), add{Amount: -1, Open: true})
	wantRefusal(t, err, command.Invalid)
	wantEvents(t, s, 0)
}

func TestNothingToDo(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Open: true})
	closed := accepted(t, s, "c2", add{Close: true})
	outcome := accepted(t, s, "c3", add{Close: true})
	if !outcome.Nothing || outcome.Event != nil || outcome.Version != closed.Version || outcome.Seq != closed.Seq {
		t.Fatalf("closed twice: got %+v, want nothing to do at version %d", outcome, closed.Version)
	}
	wantEvents(t, s, 2)
}

// lagging hides the newest events of a history so many times.
func lagging(s *journaltest.Fake, events, times int) {
	s.HistoryLag = func(envelope.Key) int {
		if times == 0 {
			return 0
		}
		times--
		return events
	}
}

// TestRefusalIsConfirmed: what a stale history says is asked of the leader before anybody is told no.
func TestRefusalIsConfirmed(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	lagging(s, 1, 2) // not found, as far as the history goes
	if outcome := accepted(t, s, "c2", add{Amount: 2}); outcome.Version != 2 {
		t.Fatalf("got %+v, want version 2", outcome)
	}
	accepted(t, s, "c3", add{Close: true})
	lagging(s, 1, 1)
	_, err := execute(t, s, request(t, "c4", add{Amount: 4}), add{Amount: 4})
	wantRefusal(t, err, command.StateForbids)
}

// TestStaleForEver: a follower that never catches up ends in an honest answer, with nothing stored.
func TestStaleForEver(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	lagging(s, 1, -1)
	_, err := execute(t, s, request(t, "c2", add{Amount: 2, Open: true}), add{Amount: 2, Open: true})
	if !errors.Is(err, command.ErrBusy) {
		t.Fatalf("got %v, want %v", err, command.ErrBusy)
	}
	s.HistoryLag = nil
	wantEvents(t, s, 1)
}

func TestConflictIsRetried(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	accepted(t, s, "c2", add{Amount: 2})
	lagging(s, 1, 3)
	if outcome := accepted(t, s, "c3", add{Amount: 3}); outcome.Version != 3 || outcome.Repeated {
		t.Fatalf("got %+v, want version 3", outcome)
	}
	wantEvents(t, s, 3)
}

// TestFreshOfAnExistingEntity: a create under an id that exists is decided again with its history.
func TestFreshOfAnExistingEntity(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	r := request(t, "c2", add{Amount: 2, Open: true})
	r.Fresh = true
	outcome, err := execute(t, s, r, add{Amount: 2, Open: true})
	if err != nil || outcome.Version != 2 {
		t.Fatalf("got %+v, %v, want version 2", outcome, err)
	}
	r = request(t, "c1", add{Amount: 1, Open: true})
	r.Fresh = true
	if outcome, err = execute(t, s, r, add{Amount: 1, Open: true}); err != nil || !outcome.Repeated || outcome.Version != 1 {
		t.Fatalf("repeated create: got %+v, %v, want version 1 repeated", outcome, err)
	}
}

func TestRepeated(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	first := accepted(t, s, "c1", add{Amount: 1, Open: true})
	accepted(t, s, "c2", add{Close: true})
	// Found in the history, although the state would refuse it now.
	again := accepted(t, s, "c1", add{Amount: 1, Open: true})
	if !again.Repeated || again.Seq != first.Seq || again.Version != first.Version {
		t.Fatalf("repeated: got %+v, want %+v again", again, first)
	}
	// Found by the append, because the history lags behind.
	lagging(s, 2, 1)
	again = accepted(t, s, "c1", add{Amount: 1, Open: true})
	if !again.Repeated || again.Seq != first.Seq || again.Version != first.Version || again.Event.Version != 1 {
		t.Fatalf("repeated on a stale history: got %+v, want %+v again", again, first)
	}
	wantEvents(t, s, 2)
}

func TestKeyReused(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	_, err := execute(t, s, request(t, "c1", add{Amount: 2}), add{Amount: 2})
	wantRefusal(t, err, command.KeyReused)
	// The same where only the append can see it at first.
	lagging(s, 1, 1)
	_, err = execute(t, s, request(t, "c1", add{Amount: 2, Open: true}), add{Amount: 2, Open: true})
	wantRefusal(t, err, command.KeyReused)
	wantEvents(t, s, 1)
}

// TestKeyOfAnother: the key of another actor says nothing, neither that it was used nor that the entity is there.
func TestKeyOfAnother(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	accepted(t, s, "c2", add{Close: true})
	r := request(t, "c1", add{Amount: 2})
	r.Actor = "stranger"
	_, err := execute(t, s, r, add{Amount: 2})
	wantRefusal(t, err, command.StateForbids) // by the decision, not by the key
	wantEvents(t, s, 2)
}

func TestIfVersion(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	at := func(commandID string, version uint64, c add) (command.Outcome, error) {
		r := request(t, commandID, c)
		r.IfVersion = &version
		return execute(t, s, r, c)
	}
	_, err := at("c0", 1, add{Amount: 1, Open: true})
	wantRefusal(t, err, command.NotFound)
	accepted(t, s, "c1", add{Amount: 1, Open: true})
	accepted(t, s, "c2", add{Amount: 2})
	_, err = at("c3", 1, add{Amount: 3})
	wantRefusal(t, err, command.PreconditionFailed)
	// A stale history must not refuse the version that is the newest, nor accept one that is not.
	lagging(s, 1, 1)
	if outcome, err := at("c4", 2, add{Amount: 4}); err != nil || outcome.Version != 3 {
		t.Fatalf("at version 2: got %+v, %v, want version 3", outcome, err)
	}
	lagging(s, 1, 1)
	_, err = at("c5", 2, add{Amount: 5})
	wantRefusal(t, err, command.PreconditionFailed)
	// A repetition is the same command, whatever the version is by now.
	if outcome, err := at("c4", 2, add{Amount: 4}); err != nil || !outcome.Repeated || outcome.Version != 3 {
		t.Fatalf("repeated at version 2: got %+v, %v, want version 3 again", outcome, err)
	}
	wantEvents(t, s, 3)
}

// TestUnknownIsPassedOn, and repeating with the same id makes it definite, stored or not.
func TestUnknownIsPassedOn(t *testing.T) {
	for name, c := range map[string]struct {
		lose         func(*journaltest.Fake, func(*envelope.Event) error)
		wantRepeated bool
	}{
		"not stored": {func(s *journaltest.Fake, f func(*envelope.Event) error) { s.BeforeAppend = f }, false},
		"stored":     {func(s *journaltest.Fake, f func(*envelope.Event) error) { s.AfterAppend = f }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := journaltest.NewFake(0, 1)
			failing := true
			c.lose(s, func(*envelope.Event) error {
				if failing {
					return journal.ErrUnknown
				}
				return nil
			})
			r := request(t, "c1", add{Amount: 1, Open: true})
			if _, err := execute(t, s, r, add{Amount: 1, Open: true}); !errors.Is(err, journal.ErrUnknown) {
				t.Fatalf("got %v, want %v", err, journal.ErrUnknown)
			}
			failing = false
			outcome, err := execute(t, s, r, add{Amount: 1, Open: true})
			if err != nil || outcome.Repeated != c.wantRepeated || outcome.Version != 1 {
				t.Fatalf("repeated: got %+v, %v, want version 1, repeated %v", outcome, err, c.wantRepeated)
			}
			wantEvents(t, s, 1)
		})
	}
}

func TestDefiniteFailuresArePassedOn(t *testing.T) {
	for _, want := range []error{journal.ErrFull, journal.ErrTooLarge, journal.ErrClosed} {
		s := journaltest.NewFake(0, 1)
		s.BeforeAppend = func(*envelope.Event) error { return want }
		r := request(t, "c1", add{Amount: 1, Open: true})
		if _, err := execute(t, s, r, add{Amount: 1, Open: true}); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// deaf is a shard whose journal does not answer what asks it.
type deaf struct {
	journal.Shard
	history, last error
}

func (d *deaf) History(ctx context.Context, key envelope.Key) ([]envelope.Event, error) {
	if d.history != nil {
		return nil, d.history
	}
	return d.Shard.History(ctx, key)
}

func (d *deaf) Last(ctx context.Context, key envelope.Key) (*envelope.Event, error) {
	if d.last != nil {
		return nil, d.last
	}
	return d.Shard.Last(ctx, key)
}

// TestUnavailable: a command that failed before anything of it could be stored says so, whatever it failed on, and the
// same command is carried out later.
func TestUnavailable(t *testing.T) {
	silence := errors.New("no answer")
	create, refused := add{Amount: 1, Open: true}, add{Amount: 1}
	for name, c := range map[string]struct {
		deaf    deaf
		command add
		fresh   bool
		there   bool // the entity, so that a fresh create meets a conflict first
	}{
		"the history is not read":               {deaf: deaf{history: silence}, command: create},
		"nor after a conflict":                  {deaf: deaf{history: silence}, command: create, fresh: true, there: true},
		"a refusal is not confirmed":            {deaf: deaf{last: silence}, command: refused},
		"the caller has left while it was read": {deaf: deaf{history: context.Canceled}, command: create},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := journaltest.NewFake(0, 1)
			want := 0
			if c.there {
				accepted(t, s, "earlier", create)
				want = 1
			}
			d := c.deaf
			d.Shard = s
			r := request(t, "c1", c.command)
			r.Fresh = c.fresh
			_, err := execute(t, &d, r, c.command)
			if !errors.Is(err, journal.ErrUnavailable) || errors.Is(err, journal.ErrUnknown) || errors.As(err, new(*command.Refusal)) {
				t.Fatalf("got %v, want %v", err, journal.ErrUnavailable)
			}
			wantEvents(t, s, want)
			d.history, d.last = nil, nil
			if outcome, err := execute(t, &d, r, c.command); c.command == create && (err != nil || outcome.Repeated) {
				t.Errorf("later: got %+v, %v, want it accepted", outcome, err)
			}
		})
	}
}

// TestDoubtStays: what is in doubt is not made definite by a repetition that fails before it is decided.
func TestDoubtStays(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	s.AfterAppend = func(*envelope.Event) error { return journal.ErrUnknown }
	d := deaf{Shard: s}
	c := add{Amount: 1, Open: true}
	r := request(t, "c1", c)
	if _, err := execute(t, &d, r, c); !errors.Is(err, journal.ErrUnknown) || errors.Is(err, journal.ErrUnavailable) {
		t.Fatalf("got %v, want %v", err, journal.ErrUnknown)
	}
	d.history = errors.New("no answer")
	if _, err := execute(t, &d, r, c); !errors.Is(err, journal.ErrUnavailable) {
		t.Fatalf("repeated: got %v, want %v", err, journal.ErrUnavailable)
	}
	d.history = nil
	if outcome, err := execute(t, &d, r, c); err != nil || !outcome.Repeated {
		t.Fatalf("repeated once more: got %+v, %v, want the event of the first attempt", outcome, err)
	}
}

// TestBadHistory: an event that Evolve does not understand is no reason to decide without it.
func TestBadHistory(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	e := journaltest.Event(tallyKey, "c1", "text", 1)
	if _, err := s.Append(t.Context(), e, 0); err != nil {
		t.Fatal(err)
	}
	_, err := execute(t, s, request(t, "c2", add{Amount: 1, Open: true}), add{Amount: 1, Open: true})
	if !errors.Is(err, journal.ErrUnavailable) {
		t.Fatalf("got %v, want %v", err, journal.ErrUnavailable)
	}
	wantEvents(t, s, 1)
}

func TestLeftCaller(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := add{Amount: 1, Open: true}
	r := request(t, "c1", c)
	r.Fresh = true
	if _, err := command.Execute(ctx, s, r, evolve, decide, c); !errors.Is(err, journal.ErrUnavailable) {
		t.Fatalf("got %v, want %v", err, journal.ErrUnavailable)
	}
}

// TestConcurrent: 16 callers add to one tally, each command twice; every amount counts once.
func TestConcurrent(t *testing.T) {
	s := journaltest.NewFake(0, 1)
	accepted(t, s, "open", add{Open: true})
	const callers, commands = 16, 10
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := range commands {
				// Two callers share each command.
				id := fmt.Sprintf("c%d-%d", i/2, n)
				for {
					_, err := execute(t, s, request(t, id, add{Amount: 1}), add{Amount: 1})
					if errors.Is(err, command.ErrBusy) {
						continue
					}
					if err != nil {
						t.Errorf("command %s: %v", id, err)
					}
					break
				}
			}
		})
	}
	all.Wait()
	history := wantEvents(t, s, 1+callers/2*commands)
	var state tally
	var err error
	for i := range history {
		if state, err = evolve(state, &history[i]); err != nil {
			t.Fatal(err)
		}
	}
	if state.Sum != callers/2*commands {
		t.Fatalf("the sum is %d, want %d", state.Sum, callers/2*commands)
	}
}
