package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/openmemory/sample"
	"github.com/refold-dev/refold/internal/projector"
	"github.com/refold-dev/refold/internal/user"
)

const demoSubject = sample.Subject

// importSample brings the sample into both tenants: the same ids, apart all the same.
func (s *story) importSample(ctx context.Context) error {
	zip, err := sample.Zip()
	if err != nil {
		return err
	}
	for _, tenant := range []directory.Tenant{s.acme, s.blue} {
		bar := s.progress()
		report, err := openmemory.Import(ctx, openmemory.Config{
			File: bytes.NewReader(zip), Size: int64(len(zip)), Tenant: tenant, Shard: s.plane.Journal.Shard(tenant.Shard), Actor: "demo",
			Progress: func(at openmemory.Progress) {
				bar.tell(fmt.Sprint("import ", tenant.ID, " ", at.Phase), at.Done, at.Total)
			},
		})
		bar.end()
		if err != nil {
			return fmt.Errorf("import for %s: %w", tenant.ID, err)
		}
		s.say("%s: imported %d memories, %d apps, %d categories", tenant.ID, report.Counts[openmemory.KindMemory].Added,
			report.Counts[openmemory.KindApp].Added, report.Counts[openmemory.KindCategory].Added)
	}
	return nil
}

// execute runs one command on a memory of the demo's user.
func (s *story) execute(ctx context.Context, tenant directory.Tenant, id uuid.UUID, commandID string, fresh bool, cmd memory.Command) (command.Outcome, error) {
	hash, err := command.Hash(fmt.Sprintf("%T", cmd), cmd)
	if err != nil {
		return command.Outcome{}, err
	}
	return command.Execute(ctx, s.plane.Journal.Shard(tenant.Shard), command.Request{
		Key: envelope.Key{Tenant: tenant.ID, Entity: "memory", ID: id.String()}, TenantKey: tenant.Key, CommandID: commandID,
		RequestHash: hash, Actor: "demo", Fresh: fresh,
	}, memory.Evolve, memory.Decide, cmd)
}

func (s *story) add(ctx context.Context, tenant directory.Tenant, commandID string) (uuid.UUID, command.Outcome, error) {
	id := memory.NewID(tenant.Key, tenant.ID, demoSubject, commandID)
	out, err := s.execute(ctx, tenant, id, commandID, true, memory.Add{UserID: user.ID(tenant.Key, tenant.ID, demoSubject), Content: "Noted by the demo: " + commandID})
	return id, out, err
}

// latencies measure accepted -> readable: from the answer of a command to the commit of its rows.
type latencies struct {
	mu       sync.Mutex
	edition  int64
	accepted map[uint64]time.Time
	readable map[uint64]time.Time
}

func (l *latencies) begin(edition int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.edition, l.accepted, l.readable = edition, map[uint64]time.Time{}, map[uint64]time.Time{}
}

func (l *latencies) took(seq uint64) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted[seq] = now
}

func (l *latencies) committed(edition int64, _ int, b projector.Batch) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if edition != l.edition || l.readable == nil {
		return
	}
	for i := range b.Events {
		l.readable[b.Events[i].Seq] = now
	}
}

// end returns the latencies, shortest first, of all that has become readable, and how many have not yet.
func (l *latencies) end() (sorted []time.Duration, missing int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for seq, accepted := range l.accepted {
		readable, ok := l.readable[seq]
		if !ok {
			missing++
			continue
		}
		sorted = append(sorted, max(readable.Sub(accepted), 0))
	}
	slices.Sort(sorted)
	return sorted, missing
}

const (
	measureCommands = 600
	measurePause    = 4 * time.Millisecond
)

// measure sends commands at a steady pace and reports how long their rows took to be readable.
func (s *story) measure(ctx context.Context) error {
	s.latency.begin(s.edition)
	tick := time.NewTicker(measurePause)
	defer tick.Stop()
	var all sync.WaitGroup
	var failed atomic.Pointer[error]
	for i := range measureCommands {
		<-tick.C
		all.Go(func() {
			_, out, err := s.add(ctx, s.blue, "measure-"+strconv.Itoa(i))
			if err != nil {
				failed.Store(&err)
				return
			}
			s.latency.took(out.Seq)
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	if err := s.plane.Editions.CatchUp(ctx, s.edition, nil); err != nil {
		return err
	}
	took, missing := s.latency.end()
	for deadline := time.Now().Add(5 * time.Second); missing > 0 && time.Now().Before(deadline); took, missing = s.latency.end() {
		time.Sleep(time.Millisecond) // the commit is there, its announcement is on its way
	}
	if missing > 0 {
		return fmt.Errorf("%d of %d commands did not become readable", missing, measureCommands)
	}
	s.say("%d durable commands at %d/s: accepted -> readable p50 %s, p99 %s", measureCommands, time.Second/measurePause,
		took[len(took)/2].Round(10*time.Microsecond), took[len(took)*99/100].Round(10*time.Microsecond))
	return nil
}

// traffic is a writer and a reader that go on while the plane is changed under them.
type traffic struct {
	stop     context.CancelFunc
	all      sync.WaitGroup
	written  atomic.Int64
	answers  atomic.Int64
	failures atomic.Int64
	backward atomic.Int64
	err      atomic.Pointer[error]
}

// traffic starts a writer that changes one memory again and again, and a reader that asks for it over HTTP and
// notes every failure and every version lower than one seen before.
func (s *story) traffic(ctx context.Context) (*traffic, error) {
	key, err := auth.LocalKey(s.config.DataDir)
	if err != nil {
		return nil, err
	}
	token, err := key.Mint(auth.TokenRequest{Tenant: s.acme.ID, Subject: demoSubject, Scopes: []string{auth.MemoriesRead}, TTL: time.Hour})
	if err != nil {
		return nil, err
	}
	run := fmt.Sprint("traffic-", time.Now().UnixNano())
	id, _, err := s.add(ctx, s.acme, run)
	if err != nil {
		return nil, err
	}
	if err := s.plane.Editions.CatchUp(ctx, s.edition, nil); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	t := &traffic{stop: stop}
	owner := user.ID(s.acme.Key, s.acme.ID, demoSubject)
	t.all.Go(func() {
		for i := 0; ctx.Err() == nil && i < memory.EventsMax-10; i++ {
			content := fmt.Sprint("version ", i)
			if _, err := s.execute(ctx, s.acme, id, fmt.Sprint(run, "-", i), false, memory.Change{By: owner, Content: &content}); err != nil {
				if ctx.Err() == nil {
					t.err.Store(&err)
				}
				return
			}
			t.written.Add(1)
		}
	})
	t.all.Go(func() { t.read(ctx, s.url+"/v1/memories/"+id.String(), token) })
	return t, nil
}

func (t *traffic) read(ctx context.Context, url, token string) {
	newest, position := 0, ""
	for ctx.Err() == nil {
		version, at, err := etag(ctx, url, token, position)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			t.failures.Add(1)
		case version < newest:
			t.backward.Add(1)
		default:
			newest, position = version, at
			t.answers.Add(1)
		}
	}
}

// etag asks for a version that is not older than the position of an earlier answer, as any client may that wants its
// reads to go forward only, whichever edition answers.
func etag(ctx context.Context, url, token, position string) (version int, at string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if position != "" {
		request.Header.Set("Refold-Position", position)
		request.Header.Set("Prefer", "wait=5")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return 0, "", fmt.Errorf("status %d", response.StatusCode)
	}
	tag, _, _ := strings.Cut(strings.Trim(response.Header.Get("ETag"), `"`), ".") // the version, and a digest of the answer
	version, err = strconv.Atoi(tag)
	return version, response.Header.Get("Refold-Position"), err
}

// end stops both and fails when a reader has noticed anything.
func (t *traffic) end(s *story) error {
	t.stop()
	t.all.Wait()
	s.say("meanwhile %d commands were accepted; %d reads were answered, %d failed, %d went back in time",
		t.written.Load(), t.answers.Load(), t.failures.Load(), t.backward.Load())
	if err := t.err.Load(); err != nil {
		return *err
	}
	if t.failures.Load()+t.backward.Load() > 0 || t.answers.Load() == 0 || t.written.Load() == 0 {
		return fmt.Errorf("readers or writers noticed the cutover")
	}
	return nil
}
