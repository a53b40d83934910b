package plane_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/archival"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
	"github.com/refold-dev/refold/internal/writer"
)

// archived is a plane on which users want things archived, and wakes up in forty days.
type archived struct {
	*plane.Plane
	t      *testing.T
	writer *writer.Writer
}

func (a *archived) caller(tenant, subject string) writer.Caller {
	a.t.Helper()
	c, err := a.writer.Caller(a.t.Context(), auth.Principal{Tenant: tenant, Subject: subject, Scopes: auth.AllScopes()})
	if err != nil {
		a.t.Fatal(err)
	}
	if c.User != user.ID(c.Tenant.Key, tenant, subject) {
		a.t.Fatalf("%s/%s is %s", tenant, subject, c.User)
	}
	return c
}

// add makes memories of an app and a category.
func (a *archived) add(c writer.Caller, app, category string, count int) (ids []uuid.UUID, appID uuid.UUID) {
	a.t.Helper()
	for i := range count {
		add := commands.AddMemory{Content: fmt.Sprint(app, category, i), App: &app, Categories: []string{category}}
		done, of, err := a.writer.AddMemory(a.t.Context(), c, writer.Wish{ID: uuid.NewString()}, add)
		if err != nil {
			a.t.Fatal(err)
		}
		ids, appID = append(ids, done.ID), *of
	}
	return ids, appID
}

func (a *archived) want(c writer.Caller, rule commands.ArchiveRule) uuid.UUID {
	a.t.Helper()
	done, err := a.writer.MakeArchivePolicy(a.t.Context(), c, writer.Wish{ID: uuid.NewString()}, commands.MakeArchivePolicy{ArchiveRule: rule})
	if err != nil {
		a.t.Fatal(err)
	}
	return done.ID
}

func (a *archived) worker(days int) *archival.Worker { return inDays(a.Plane, days) }

// inDays is what archives in so many days.
func inDays(p *plane.Plane, days int) *archival.Worker {
	w := p.Archival()
	w.Rate = 100_000
	w.Now = func() time.Time { return time.Now().AddDate(0, 0, days) }
	return w
}

// events counts the archivals of each memory in the journal.
func (a *archived) events() map[string]int {
	a.t.Helper()
	counts := map[string]int{}
	facts, err := a.Journal.Shard(0).Facts(a.t.Context())
	if err == nil {
		err = journal.Read(a.t.Context(), a.Journal.Shard(0), 0, facts.LastSeq, func(e *envelope.Event) error {
			if e.Kind == "memory.archived.v1" {
				counts[e.ID]++
			}
			return nil
		})
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return counts
}

func texts(ids ...[]uuid.UUID) map[string]int {
	out := map[string]int{}
	for _, id := range slices.Concat(ids...) {
		out[id.String()] = 1
	}
	return out
}

func planeToArchive(t *testing.T) *archived {
	t.Helper()
	p := open(t)
	tenantFor(t, p, "acme")
	tenantFor(t, p, "blue")
	return &archived{p, t, writer.New(p.Directory, p.Shard, reader.New(p.Live, p.DB))}
}

func TestArchivePoliciesAreApplied(t *testing.T) {
	a := planeToArchive(t)
	ann, bob, cy, other := a.caller("acme", "ann"), a.caller("acme", "bob"), a.caller("acme", "cy"), a.caller("blue", "ann")
	notes, notesApp := a.add(ann, "notes", "tea", 3)
	a.add(ann, "mail", "coffee", 2)
	everything, _ := a.add(bob, "notes", "tea", 3)
	a.add(cy, "notes", "tea", 2)
	a.add(other, "notes", "tea", 2)
	a.want(ann, commands.ArchiveRule{Criteria: "app", CriteriaID: &notesApp, Days: 30})
	a.want(bob, commands.ArchiveRule{Criteria: "global", Days: 30})
	a.want(cy, commands.ArchiveRule{Criteria: "global", Days: 300})
	a.want(other, commands.ArchiveRule{Criteria: "app", CriteriaID: &notesApp, Days: 30}) // somebody else's app
	settle(t, a.Plane, 1)

	dry, err := a.worker(40).Apply(t.Context(), archival.Options{DryRun: true})
	if err != nil || dry.Policies != 4 || dry.Due != 6 || dry.Archived != 0 || len(a.events()) != 0 {
		t.Fatalf("a dry run: %+v, %v", dry, err)
	}
	young, err := a.worker(20).Apply(t.Context(), archival.Options{})
	if err != nil || young.Policies != 4 || young.Due != 0 {
		t.Fatalf("before their time: %+v, %v", young, err)
	}
	round, err := a.worker(40).Apply(t.Context(), archival.Options{})
	if err != nil || round.Due != 6 || round.Archived != 6 || round.Failed != 0 {
		t.Fatalf("a round: %+v, %v", round, err)
	}
	if got, want := a.events(), texts(notes, everything); !maps.Equal(got, want) {
		t.Errorf("archived %v, want %v", got, want)
	}
	settle(t, a.Plane, 1)
	again, err := a.worker(40).Apply(t.Context(), archival.Options{})
	if err != nil || again.Due != 0 {
		t.Errorf("once more: %+v, %v", again, err)
	}
	// In the name of the owner, with a history, and proven as everything else.
	rows := reader.New(a.Live, a.DB)
	memory, history, _, err := rows.MemoryHistory(t.Context(), ann.Reads(), reader.Freshness{}, notes[0])
	if err != nil || memory.State != "archived" || len(history) != 1 || history[0].ChangedBy != ann.User || history[0].NewState != "archived" {
		t.Errorf("history: %+v, %+v, %v", memory, history, err)
	}
	mustBeClean(t, verifyEdition(t, a.Plane, 1))
}

func TestCategoriesAreArchived(t *testing.T) {
	a := planeToArchive(t)
	ann := a.caller("acme", "ann")
	tea, _ := a.add(ann, "notes", "tea", 2)
	a.add(ann, "notes", "coffee", 2)
	settle(t, a.Plane, 1)
	page, _, err := reader.New(a.Live, a.DB).Categories(t.Context(), ann.Reads(), reader.Freshness{}, reader.Pages[reader.CategoryMark]{Count: 10})
	if err != nil || len(page.Items) != 2 || page.Items[1].Name != "tea" {
		t.Fatalf("%+v, %v", page, err)
	}
	id := a.want(ann, commands.ArchiveRule{Criteria: "category", CriteriaID: &page.Items[1].ID, Days: 30})
	settle(t, a.Plane, 1)
	if _, err := a.writer.WithdrawArchivePolicy(t.Context(), ann, writer.Wish{ID: "early"}, uuid.New()); err == nil {
		t.Error("a policy that is not there was withdrawn")
	}
	if round, err := a.worker(40).Apply(t.Context(), archival.Options{Tenant: "acme"}); err != nil || round.Archived != 2 {
		t.Errorf("%+v, %v", round, err)
	}
	if got, want := a.events(), texts(tea); !maps.Equal(got, want) {
		t.Errorf("archived %v, want %v", got, want)
	}
	if _, err := a.writer.WithdrawArchivePolicy(t.Context(), ann, writer.Wish{ID: "late"}, id); err != nil {
		t.Fatal(err)
	}
	settle(t, a.Plane, 1)
	if round, err := a.worker(40).Apply(t.Context(), archival.Options{}); err != nil || round.Policies != 0 {
		t.Errorf("a policy that was withdrawn is applied: %+v, %v", round, err)
	}
}

// TestArchivalIsDoneOnce: a round that is broken off, one that goes on before the rows have its events, and two at the same
// time archive nothing twice.
func TestArchivalIsDoneOnce(t *testing.T) {
	a := planeToArchive(t)
	ann := a.caller("acme", "ann")
	ids, _ := a.add(ann, "notes", "tea", 30)
	a.want(ann, commands.ArchiveRule{Criteria: "global", Days: 30})
	settle(t, a.Plane, 1)

	ctx, breakOff := context.WithCancel(t.Context())
	broken, err := a.worker(40).Apply(ctx, archival.Options{Progress: func(r archival.Round) {
		if r.Archived == 7 {
			breakOff()
		}
	}})
	if err == nil || broken.Archived != 7 {
		t.Fatalf("broken off: %+v, %v", broken, err)
	}
	rounds := make(chan archival.Round, 2)
	for range 2 {
		go func() {
			round, err := a.worker(40).Apply(t.Context(), archival.Options{})
			if err != nil {
				t.Error(err)
			}
			rounds <- round
		}()
	}
	one, two := <-rounds, <-rounds
	if one.Archived+two.Archived != 23 || one.Failed+two.Failed != 0 {
		t.Errorf("two rounds at once: %+v, %+v", one, two)
	}
	if got, want := a.events(), texts(ids); !maps.Equal(got, want) {
		t.Errorf("archived %v, want %v", got, want)
	}
}

// TestOneProcessArchives: while one process goes round another one does not, and what the last round did is in the status.
func TestOneProcessArchives(t *testing.T) {
	a := planeToArchive(t)
	ann := a.caller("acme", "ann")
	a.add(ann, "notes", "tea", 2)
	a.want(ann, commands.ArchiveRule{Criteria: "global", Days: 30})
	settle(t, a.Plane, 1)
	release, ours, err := a.worker(40).Lock(t.Context())
	if err != nil || !ours {
		t.Fatal(ours, err)
	}
	if round, ours, err := a.worker(40).Alone(t.Context()); err != nil || ours {
		t.Errorf("beside another process: %+v, %v", round, err)
	}
	release()
	if round, ours, err := a.worker(40).Alone(t.Context()); err != nil || !ours || round.Archived != 2 {
		t.Errorf("alone: %+v, %t, %v", round, ours, err)
	}
	text, err := json.Marshal(a.Status(t.Context()))
	if err != nil || !strings.Contains(string(text), "1 policies, 2 due, 2 archived, 0 skipped, 0 failed") {
		t.Errorf("the status says nothing of it: %s, %v", text, err)
	}
}
