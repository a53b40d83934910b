package witness_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/journal/journaltest"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/witness"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// stand is a journal with a witness.
type stand struct {
	*witness.Witness
	nc *nats.Conn
}

func newStand(t *testing.T) *stand {
	t.Helper()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: testenv.Dir(t), Durability: localstack.DurabilityRelaxed})
	s := &stand{nc: testenv.Connect(t, server)}
	j, err := journal.Create(t.Context(), s.nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	s.Witness = newWitness(t, j)
	s.PageEvents = 10
	return s
}

// newWitness returns the witness of a journal, with a database of its own.
func newWitness(t *testing.T, j *journal.Journal) *witness.Witness {
	t.Helper()
	db, err := postgres.Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	signer, err := report.NewSigner(make([]byte, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return &witness.Witness{DB: db, Shards: j.Shards, Reports: &report.Log{DB: db, Signer: signer}}
}

func (s *stand) append(t *testing.T, n int) {
	t.Helper()
	facts := s.facts(t)
	for i := range n {
		key := envelope.Key{Tenant: "acme", Entity: "note", ID: fmt.Sprintf("n%d", int(facts.LastSeq)+i)}
		if _, err := s.Shards[0].Append(t.Context(), journaltest.Event(key, "c", fmt.Sprintf("text %d", i), 1), 0); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *stand) facts(t *testing.T) journal.Facts {
	t.Helper()
	facts, err := s.Shards[0].Facts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func (s *stand) advance(t *testing.T) {
	t.Helper()
	if err := s.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// heads are the signed heads in the database.
func (s *stand) heads(t *testing.T) (heads []witness.Head) {
	t.Helper()
	err := s.Reports.From(t.Context(), 1, witness.HeadKind, func(r report.Recorded) error {
		checked, err := report.Check(r.Document, s.Reports.Signer.Public())
		if err != nil {
			return err
		}
		var head witness.Head
		heads = append(heads, head)
		return checked.Read(&heads[len(heads)-1])
	})
	if err != nil {
		t.Fatal(err)
	}
	return heads
}

func (s *stand) check(t *testing.T, shard journal.Shard) *witness.Result {
	t.Helper()
	kept, damage, err := s.Kept(t.Context())
	if err != nil || len(damage) > 0 {
		t.Fatal(damage, err)
	}
	result, err := witness.Check(t.Context(), s.DB, shard, witness.Heads{Known: s.heads(t), Kept: kept}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func (s *stand) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	pool, err := s.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tag, err := pool.Exec(t.Context(), sql, args...); err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("%s: %v %v", sql, tag, err)
	}
}

func TestAnUntouchedJournalIsClean(t *testing.T) {
	s := newStand(t)
	s.HeadsDir = filepath.Join(t.TempDir(), "heads")
	for _, n := range []int{0, 3, 6, 1, 25, 0, 5} { // pages are begun, grown, filled and passed over
		s.append(t, n)
		s.advance(t)
		if _, err := s.SignHead(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := s.check(t, s.Shards[0])
		if facts := s.facts(t); !r.Clean || r.Seq != facts.LastSeq || r.Events != facts.LastSeq || r.Witnessed != facts.LastSeq || r.Heads != len(s.heads(t)) {
			t.Fatalf("got %+v at the end %d", r, facts.LastSeq)
		}
	}
	s.append(t, 4)
	if r := s.check(t, s.Shards[0]); !r.Clean || r.Witnessed+4 != r.Seq {
		t.Fatalf("events that nobody has witnessed yet: %+v", r)
	}
	files, err := os.ReadDir(s.HeadsDir)
	if err != nil || len(files) != 7 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	document, err := os.ReadFile(filepath.Join(s.HeadsDir, files[6].Name()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Check(document, s.Reports.Signer.Public()); err != nil {
		t.Fatal(err)
	}
}

// A verification reads up to its checkpoint, behind which the journal goes on.
func TestACheckMayStopBeforeTheEnd(t *testing.T) {
	s := newStand(t)
	s.append(t, 36)
	s.advance(t)
	if _, err := s.SignHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.append(t, 6)
	s.advance(t)
	upto := func(last uint64) *witness.Result {
		c := witness.NewChecker(s.DB, s.facts(t), witness.Heads{Known: s.heads(t)})
		for seq := range last {
			e, err := s.Shards[0].At(t.Context(), seq+1)
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Add(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		return c.Stop()
	}
	for _, last := range []uint64{0, 1, 15, 20, 36, 37, 40, 43} {
		heads := 0
		if last >= 37 {
			heads = 1
		}
		if r := upto(last); !r.Clean || r.Seq != last || r.Events != last || r.Witnessed != last || r.Heads != heads {
			t.Errorf("up to %d: %+v", last, r)
		}
	}
	s.exec(t, "DELETE FROM control.journal_page WHERE first_seq >= 31")
	if r := upto(36); r.Clean || r.Witnessed != 30 || r.Faults[0].What != witness.BadPage || r.Faults[0].From != 31 || r.Faults[0].Seq != 36 {
		t.Errorf("before the head that was signed on what is gone: %+v", r)
	}
	if r := upto(30); !r.Clean {
		t.Errorf("before what is gone: %+v", r)
	}
	if r := upto(40); r.Clean || r.Faults[0].What != witness.BadPage || r.Faults[0].From != 31 || r.Faults[0].Seq != 37 {
		t.Errorf("behind it: %+v", r)
	}
}

// TestRunKeepsUp: Run notices events by itself and signs a head, also when two of them run.
func TestRunKeepsUp(t *testing.T) {
	s := newStand(t)
	s.append(t, 57)
	s.Every = time.Millisecond
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	done := make(chan error, 2)
	for range cap(done) {
		go func() { done <- s.Run(ctx) }()
	}
	for len(s.heads(t)) == 0 {
		if ctx.Err() != nil {
			t.Fatal("no head was signed")
		}
	}
	stop()
	for range cap(done) {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if r := s.check(t, s.Shards[0]); !r.Clean || r.Witnessed != 58 || r.Heads != 1 {
		t.Fatalf("got %+v", r)
	}
}

// message is a stored one.
type message struct {
	subject string
	header  nats.Header
	data    []byte
}

// messages reads the whole stream, without anything of ours.
func (s *stand) messages(t *testing.T) (config jetstream.StreamConfig, out []message) {
	t.Helper()
	js, err := jetstream.New(s.nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), s.facts(t).Stream)
	if err != nil {
		t.Fatal(err)
	}
	for seq := range s.facts(t).LastSeq {
		m, err := stream.GetMsg(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		header := nats.Header{}
		for name, values := range m.Header {
			if !strings.HasPrefix(name, "Nats-") {
				header[name] = values
			}
		}
		out = append(out, message{m.Subject, header, m.Data})
	}
	return stream.CachedInfo().Config, out
}

// forge makes another server hold a stream of the same name and settings with these messages: what somebody with all
// rights on the store can do.
func forge(t *testing.T, config jetstream.StreamConfig, messages []message) *journal.Journal {
	t.Helper()
	server := testenv.NATSServer(t, localstack.NATSOptions{StoreDir: testenv.Dir(t), Durability: localstack.DurabilityRelaxed})
	nc := testenv.Connect(t, server)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if _, err := js.PublishMsgAsync(&nats.Msg{Subject: m.subject, Header: m.header, Data: m.data}); err != nil {
			t.Fatal(err)
		}
	}
	<-js.PublishAsyncComplete()
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// altered is one way to forge a journal, and the sequences that must be named.
type altered struct {
	what     string
	messages []message
	want     map[uint64]string // sequence -> what
}

// alter changes messages at random, never the genesis event.
func alter(t *testing.T, random *rand.Rand, original []message) altered {
	t.Helper()
	ms := slices.Clone(original)
	at := 1 + random.IntN(len(ms)-2)
	seq := uint64(at + 1)
	header := func(name string, change func(string) string) altered {
		h := nats.Header{}
		for n, v := range ms[at].header {
			h[n] = v
		}
		if len(ms[at].header[name]) == 0 {
			h[name] = []string{change("")}
		} else {
			h[name] = []string{change(ms[at].header[name][0])}
		}
		ms[at].header = h
		return altered{"header " + name, ms, map[uint64]string{seq: witness.Changed}}
	}
	flip := func(s string) string {
		b := []byte(s)
		b[len(b)-1] ^= 1
		return string(b)
	}
	switch random.IntN(13) {
	case 0:
		ms[at].data = bytes.Clone(ms[at].data)
		ms[at].data[random.IntN(len(ms[at].data))] ^= 1 << random.IntN(7)
		return altered{"a bit of the payload", ms, map[uint64]string{seq: witness.Changed}}
	case 1:
		ms[at].data = append(bytes.Clone(ms[at].data), ' ')
		return altered{"a blank behind the payload", ms, map[uint64]string{seq: witness.Changed}}
	case 2:
		return header("refold-actor", func(s string) string { return s + "x" })
	case 3:
		return header("refold-command", func(s string) string { return s + "x" })
	case 4:
		return header("ce-id", flip)
	case 5:
		return header("ce-type", func(s string) string { return s + "1" })
	case 6:
		return header("refold-version", func(string) string { return "2" })
	case 7:
		return header("ce-time", func(s string) string { return strings.Replace(s, "2", "3", 1) })
	case 8:
		return header("note", func(string) string { return "x" })
	case 9:
		ms[at].subject = strings.Replace(ms[at].subject, ".acme.", ".evil.", 1)
		return altered{"the tenant", ms, map[uint64]string{seq: witness.Changed}}
	case 10:
		other := 1 + (at+random.IntN(len(ms)-3))%(len(ms)-1)
		if other == at {
			other = 1 + at%(len(ms)-1)
		}
		ms[at], ms[other] = ms[other], ms[at]
		return altered{"two changed about", ms, map[uint64]string{seq: witness.Moved, uint64(other + 1): witness.Moved}}
	case 11:
		want := map[uint64]string{}
		for i := at + 1; i < len(ms); i++ {
			want[uint64(i)] = witness.Moved
		}
		want[uint64(len(ms))] = witness.Lost
		return altered{"one left out, those behind it moved up", slices.Delete(ms, at, at+1), want}
	default:
		cut := 1 + random.IntN(5)
		want := map[uint64]string{}
		for i := range cut {
			want[uint64(len(ms)-i)] = witness.Lost
		}
		return altered{"the end cut off", ms[:len(ms)-cut], want}
	}
}

func rounds(short, long int) int {
	if os.Getenv("REFOLD_CHAOS") == "long" {
		return long
	}
	return short
}

func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("REFOLD_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("REFOLD_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestATamperedJournalIsFoundAndLocated(t *testing.T) {
	s, random := newStand(t), random(t)
	s.append(t, 60)
	s.advance(t)
	config, original := s.messages(t)
	if r := s.check(t, forge(t, config, original).Shards[0]); !r.Clean {
		t.Fatalf("a true copy: %+v", r)
	}
	for i := range rounds(24, 200) {
		a := alter(t, random, original)
		t.Run(fmt.Sprintf("%d %s", i, a.what), func(t *testing.T) {
			r := s.check(t, forge(t, config, a.messages).Shards[0])
			got := map[uint64]string{}
			for _, f := range r.Faults {
				got[f.Seq] = f.What
			}
			if r.Clean || fmt.Sprint(got) != fmt.Sprint(a.want) || r.Total != len(r.Faults) {
				t.Fatalf("got  %v\nwant %v", got, a.want)
			}
		})
	}
}

// Somebody who rewrites the journal and what was kept about it cannot rewrite what was signed.
func TestARewrittenPastDoesNotFitTheSignedHeads(t *testing.T) {
	s := newStand(t)
	s.append(t, 20)
	s.advance(t)
	if _, err := s.SignHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.append(t, 20)
	s.advance(t)
	if _, err := s.SignHead(t.Context()); err != nil {
		t.Fatal(err)
	}
	config, messages := s.messages(t)
	messages[29].data = append(messages[29].data, ' ')
	forged := forge(t, config, messages).Shards[0]
	other := &witness.Witness{DB: s.DB, Shards: []journal.Shard{forged}, Reports: s.Reports, PageEvents: 10}
	s.exec(t, "DELETE FROM control.journal_page")
	if err := other.Advance(t.Context()); !errors.Is(err, witness.ErrChanged) {
		t.Fatalf("the mark of what was kept does not hold the journal: %v", err)
	}
	s.exec(t, "DELETE FROM control.journal_page")
	s.exec(t, "DELETE FROM control.setting WHERE name LIKE 'mark_kept%'")
	if err := other.Advance(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := s.check(t, forged)
	if r.Clean || len(r.Faults) != 1 || r.Faults[0].What != witness.Rewritten || r.Faults[0].From != 22 || r.Faults[0].Seq != 41 {
		t.Fatalf("got %+v", r)
	}
}

func TestDamagedPagesAreNotBlamedOnTheJournal(t *testing.T) {
	for what, c := range map[string]struct {
		sql      string
		from, to uint64
	}{
		"a digest": {"UPDATE control.journal_page SET event_digests = set_byte(event_digests, 35, get_byte(event_digests, 35) # 4) WHERE first_seq = 11", 13, 13},
		"a chain":  {"UPDATE control.journal_page SET chain = set_byte(chain, 3, get_byte(chain, 3) # 4) WHERE first_seq = 11", 11, 20},
		"a page":   {"DELETE FROM control.journal_page WHERE first_seq = 11", 11, 20},
		"the last": {"DELETE FROM control.journal_page WHERE first_seq = 31", 31, 37},
		"all":      {"DELETE FROM control.journal_page", 1, 37},
		"a length": {"UPDATE control.journal_page SET event_digests = substring(event_digests FROM 1 FOR 100) WHERE first_seq = 11", 11, 20},
		"a bound":  {"UPDATE control.journal_page SET last_seq = 19 WHERE first_seq = 11", 11, 19},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStand(t)
			s.append(t, 36)
			s.advance(t)
			if _, err := s.SignHead(t.Context()); err != nil {
				t.Fatal(err)
			}
			s.exec(t, c.sql)
			r := s.check(t, s.Shards[0])
			if r.Clean || r.Faults[0].What != witness.BadPage || r.Faults[0].From != c.from || r.Faults[0].Seq != c.to {
				t.Fatalf("got %+v", r)
			}
			for _, f := range r.Faults {
				if f.What != witness.BadPage {
					t.Fatalf("the journal is blamed: %+v", f)
				}
			}
		})
	}
}

// Digests that were kept and are gone are missed, whether a head was signed on them or not; those of events that nobody has
// witnessed yet are not. Read again from the same journal they are what they were.
func TestDigestsThatAreGoneAreMissed(t *testing.T) {
	for what, c := range map[string]struct {
		sql      string
		from, to uint64
	}{
		"the first": {"DELETE FROM control.journal_page WHERE first_seq = 1", 1, 10},
		"a middle":  {"DELETE FROM control.journal_page WHERE first_seq = 11", 11, 20},
		"the last":  {"DELETE FROM control.journal_page WHERE first_seq = 31", 31, 37},
		"some":      {"DELETE FROM control.journal_page WHERE first_seq > 11", 21, 37},
		"all":       {"DELETE FROM control.journal_page", 1, 37},
	} {
		t.Run(what, func(t *testing.T) {
			s := newStand(t)
			s.append(t, 36)
			s.advance(t)
			s.append(t, 5)
			if r := s.check(t, s.Shards[0]); !r.Clean {
				t.Fatalf("nothing is gone: %+v", r)
			}
			s.exec(t, c.sql)
			r := s.check(t, s.Shards[0])
			if r.Clean || len(r.Faults) != 1 || r.Faults[0].What != witness.BadPage || r.Faults[0].From != c.from || r.Faults[0].Seq != c.to {
				t.Fatalf("got %+v", r)
			}
			if what == "the first" || what == "a middle" {
				return // only the end of what is kept is gone on with
			}
			s.advance(t)
			if r := s.check(t, s.Shards[0]); !r.Clean || r.Witnessed != 42 {
				t.Fatalf("once they are kept again: %+v", r)
			}
		})
	}
	t.Run("a changed mark", func(t *testing.T) {
		s := newStand(t)
		s.append(t, 6)
		s.advance(t)
		s.exec(t, `UPDATE control.setting SET value = replace(value, '"number":7', '"number":2') WHERE name = 'mark_kept_digests_0'`)
		if _, damage, err := s.Kept(t.Context()); err != nil || len(damage) != 1 {
			t.Fatal(damage, err)
		}
	})
}

// The witness itself notices at its next turn that the end of the journal is not what it was.
func TestTheWitnessDoesNotGoOnWithAnotherJournal(t *testing.T) {
	s := newStand(t)
	s.append(t, 20)
	s.advance(t)
	config, original := s.messages(t)
	changed := slices.Clone(original)
	changed[20].data = append(bytes.Clone(changed[20].data), ' ')
	for what, messages := range map[string][]message{"shorter": original[:15], "with another end": changed} {
		t.Run(what, func(t *testing.T) {
			forged := &witness.Witness{DB: s.DB, Shards: []journal.Shard{forge(t, config, messages).Shards[0]}, Reports: s.Reports, PageEvents: 10}
			if err := forged.Advance(t.Context()); !errors.Is(err, witness.ErrChanged) {
				t.Fatalf("got %v", err)
			}
			if _, err := forged.SignHead(t.Context()); !errors.Is(err, witness.ErrChanged) {
				t.Fatalf("a head was signed: %v", err)
			}
		})
	}
}

// TestABitFlippedInTheStore: whatever bit of the store's files is flipped, the journal does not open, or its facts say
// that events are missing, or the check finds it, or every event is still what it was.
func TestABitFlippedInTheStore(t *testing.T) {
	s, random := newStand(t), random(t)
	dir := testenv.Dir(t)
	start := func(t *testing.T, dir string) (*localstack.NATS, *nats.Conn) {
		t.Helper()
		server, err := localstack.StartNATS(t.Context(), localstack.NATSOptions{StoreDir: dir, Durability: localstack.DurabilityRelaxed})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Stop)
		return server, testenv.Connect(t, server)
	}
	server, nc := start(t, dir)
	j, err := journal.Create(t.Context(), nc, journal.Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Shards, s.nc = j.Shards, nc
	s.append(t, 120)
	s.advance(t)
	original := history(t, s.Shards[0], s.facts(t).LastSeq)
	j.Close()
	nc.Close()
	server.Stop()
	found := map[string]int{}
	for range rounds(12, 100) {
		copied := filepath.Join(t.TempDir(), "store")
		if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		file, bit := flipBit(t, random, copied)
		how := s.lookAt(t, copied, start, original)
		t.Logf("bit %d of %s: %s", bit, file, how)
		found[how]++
	}
	t.Logf("%v", found)
}

// lookAt opens a damaged store and says how the damage showed.
func (s *stand) lookAt(t *testing.T, dir string, start func(*testing.T, string) (*localstack.NATS, *nats.Conn), original []envelope.Event) string {
	t.Helper()
	server, nc := start(t, dir)
	defer server.Stop()
	defer nc.Close()
	j, err := journal.Open(t.Context(), nc, journal.Config{})
	if err != nil {
		return "the journal does not open"
	}
	defer j.Close()
	facts, err := j.Shards[0].Facts(t.Context())
	if err != nil {
		return "the journal does not answer"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r, err := witness.Check(ctx, s.DB, j.Shards[0], witness.Heads{}, nil)
	switch {
	case ctx.Err() != nil:
		t.Fatalf("the check hung: %v", err)
	case err != nil:
		return "the check says that the journal cannot be read"
	case !r.Clean:
		if facts.Deleted > 0 || facts.LastSeq < uint64(len(original)) {
			return "events are missing, and the check names them"
		}
		return "the check names what has changed"
	}
	if now := history(t, j.Shards[0], facts.LastSeq); fmt.Sprint(now) != fmt.Sprint(original) {
		t.Fatal("served over silently: events differ and the check is clean")
	}
	return "every event is what it was"
}

func history(t *testing.T, shard journal.Shard, last uint64) []envelope.Event {
	t.Helper()
	var out []envelope.Event
	for seq := range last {
		e, err := shard.At(t.Context(), seq+1)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, *e)
	}
	return out
}

// flipBit flips one random bit in a file of the stream; sometimes the index is taken away as well, so that the server
// must read the blocks.
func flipBit(t *testing.T, random *rand.Rand, dir string) (string, int) {
	t.Helper()
	var blocks []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.Contains(path, "msgs") {
			if filepath.Ext(path) == ".blk" {
				blocks = append(blocks, path)
			} else if random.IntN(2) == 0 {
				return os.Remove(path)
			}
		}
		return err
	})
	if err != nil || len(blocks) == 0 {
		t.Fatalf("%d blocks, %v", len(blocks), err)
	}
	file := blocks[random.IntN(len(blocks))]
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bit := random.IntN(len(content) * 8)
	content[bit/8] ^= 1 << (bit % 8)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Base(file), bit
}

func TestFaultsAreSaidInWords(t *testing.T) {
	for want, f := range map[string]witness.Fault{
		"event 7 is not the one that was read before (now of acme/note/n1)": {What: witness.Changed, Seq: 7, Entity: "acme/note/n1"},
		"event 7 is lost": {What: witness.Lost, Seq: 7},
		"event 7 is lost: the journal ends before it":                 {What: witness.Lost, Seq: 7, Detail: "the journal ends before it"},
		"event 7: the event that was at 9 stands here (acme/note/n1)": {What: witness.Moved, Seq: 7, From: 9, Entity: "acme/note/n1"},
		"events 3 to 9: bad page: it is missing":                      {What: witness.BadPage, From: 3, Seq: 9, Detail: "it is missing"},
	} {
		if f.String() != want {
			t.Errorf("got %q, want %q", f, want)
		}
	}
	var back witness.Result
	b, err := json.Marshal(witness.Result{Faults: []witness.Fault{{What: witness.Lost, Seq: 1}}})
	if err != nil || json.Unmarshal(b, &back) != nil || len(back.Faults) != 1 {
		t.Fatalf("%s, %v", b, err)
	}
}
