package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/refold-dev/refold/internal/backup/objects"
	"github.com/refold-dev/refold/internal/failpoint"
)

// ErrPolicy: a policy that would keep nothing by itself.
var ErrPolicy = errors.New("say what to keep")

// Policy says which backups of each journal are kept: those that any of its rules wants. Whatever it says, the newest
// backup is kept, and the newest one whose objects are all there.
type Policy struct {
	Last, Hourly, Daily, Weekly, Monthly int
	// Within keeps everything that is younger.
	Within time.Duration
	// OrphanAge is how old data must be that no backup names before it is removed; 0 = 24 h. A backup that takes longer
	// than this must not run beside a prune.
	OrphanAge time.Duration
	// DryRun only says what would be removed.
	DryRun   bool
	Progress func(Progress)
}

const orphanAgeDefault = 24 * time.Hour

// Pruned is what a prune did, or would do.
type Pruned struct {
	DryRun  bool     `json:"dry_run"`
	Kept    []Kept   `json:"kept"`
	Removed []string `json:"removed"` // backups
	Objects int      `json:"objects_removed"`
	Bytes   int64    `json:"bytes_removed"`
}

// Kept is a backup and why it stays.
type Kept struct {
	ID      string   `json:"id"`
	Reasons []string `json:"reasons"`
}

// Prune removes backups that no rule wants, then data that no backup needs any more. It may be cut short and repeated. It
// is refused while the repository holds a manifest that cannot be read: nobody knows what that one needs.
func (r *Repository) Prune(ctx context.Context, p Policy) (*Pruned, error) {
	if p.Last <= 0 && p.Hourly <= 0 && p.Daily <= 0 && p.Weekly <= 0 && p.Monthly <= 0 && p.Within <= 0 {
		return nil, fmt.Errorf("prune: %w: for example the last 7, and one of each of 12 weeks", ErrPolicy)
	}
	if p.OrphanAge == 0 {
		p.OrphanAge = orphanAgeDefault
	}
	if p.Progress == nil {
		p.Progress = func(Progress) {}
	}
	x := &pruning{Repository: r, policy: p, out: Pruned{DryRun: p.DryRun, Kept: []Kept{}, Removed: []string{}}, reasons: map[string][]string{}}
	if err := x.run(ctx); err != nil {
		return nil, fmt.Errorf("prune %s: %w", r.Store, err)
	}
	return &x.out, nil
}

type pruning struct {
	*Repository
	policy  Policy
	out     Pruned
	reasons map[string][]string
	there   []objects.Info // all data, as it was before the manifests were read
}

func (x *pruning) run(ctx context.Context) error {
	var err error
	// In this order: whatever a manifest names was there before the manifest was.
	if x.there, err = x.Store.List(ctx, dataPrefix); err != nil {
		return err
	}
	entries, unreadable, err := x.List(ctx)
	if err != nil {
		return err
	}
	if len(unreadable) > 0 {
		return fmt.Errorf("%d manifests cannot be read (%s): look at them, and move them away to go on: %w", len(unreadable), unreadable[0].Fault, ErrUnreadable)
	}
	pending, err := x.pending(ctx)
	if err != nil {
		return err
	}
	x.decide(entries, pending)
	needed := map[string]bool{}
	var going []Entry
	for _, e := range entries {
		if len(x.reasons[e.ID]) == 0 {
			going = append(going, e)
			x.out.Removed = append(x.out.Removed, e.ID)
			continue
		}
		x.out.Kept = append(x.out.Kept, Kept{e.ID, x.reasons[e.ID]})
		e.objects(func(name string, _ int64, _ string) { needed[name] = true })
	}
	// Manifests first: cut short in between, nothing is left that names what is gone.
	if err := x.removeBackups(ctx, going); err != nil {
		return err
	}
	if err := failpoint.Hit("backup.manifests-pruned"); err != nil {
		return err
	}
	return x.removeData(ctx, going, needed)
}

// decide fills reasons.
func (x *pruning) decide(entries []Entry, pending []pendingNote) {
	sizes := map[string]int64{}
	for _, info := range x.there {
		sizes[info.Name] = info.Size
	}
	byJournal := map[string][]Entry{}
	for _, e := range slices.Backward(entries) { // the newest first
		byJournal[e.JournalID] = append(byJournal[e.JournalID], e)
	}
	for _, all := range byJournal {
		x.keep(all[0].ID, "newest")
		if i := slices.IndexFunc(all, func(e Entry) bool { return whole(&e.Manifest, sizes) }); i >= 0 {
			x.keep(all[i].ID, "newest that is whole")
		}
		x.rules(all)
	}
	for _, note := range pending {
		if note.Base != "" && time.Since(note.Started) < x.policy.OrphanAge {
			x.keep(note.Base, "backup "+note.ID+" is being made on it")
		}
	}
}

func whole(m *Manifest, sizes map[string]int64) bool {
	ok := true
	m.objects(func(name string, bytes int64, _ string) { ok = ok && sizes[name] == bytes })
	return ok
}

func (x *pruning) keep(id, reason string) { x.reasons[id] = append(x.reasons[id], reason) }

// rules goes through the backups of one journal, the newest first. Each rule of a period keeps the newest backup of each
// of so many periods that have one.
func (x *pruning) rules(all []Entry) {
	p := x.policy
	for i, e := range all {
		if i < p.Last {
			x.keep(e.ID, "last")
		}
		if p.Within > 0 && time.Since(e.Taken) < p.Within {
			x.keep(e.ID, "within")
		}
	}
	for _, rule := range []struct {
		name  string
		count int
		of    func(time.Time) string
	}{
		{"hourly", p.Hourly, func(t time.Time) string { return t.Format("2006-01-02 15") }},
		{"daily", p.Daily, func(t time.Time) string { return t.Format("2006-01-02") }},
		{"weekly", p.Weekly, func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprint(year, " ", week)
		}},
		{"monthly", p.Monthly, func(t time.Time) string { return t.Format("2006-01") }},
	} {
		periods := map[string]bool{}
		for _, e := range all {
			period := rule.of(e.Taken.UTC())
			if !periods[period] && len(periods) < rule.count {
				periods[period] = true
				x.keep(e.ID, rule.name)
			}
		}
	}
}

// pending returns the notes of backups that are being made, and removes those that are too old to be true.
func (x *pruning) pending(ctx context.Context) ([]pendingNote, error) {
	infos, err := x.Store.List(ctx, pendingPrefix)
	if err != nil {
		return nil, err
	}
	var out []pendingNote
	for _, info := range infos {
		body, err := x.Store.Get(ctx, info.Name, 64<<10)
		if errors.Is(err, objects.ErrNotFound) {
			continue
		}
		var note pendingNote
		if err == nil {
			err = json.Unmarshal(body, &note)
		}
		if err == nil {
			out = append(out, note)
		}
		if time.Since(info.Written) > x.policy.OrphanAge && !x.policy.DryRun {
			if err := x.Store.Delete(ctx, info.Name); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func (x *pruning) removeBackups(ctx context.Context, going []Entry) error {
	if x.policy.DryRun {
		return nil
	}
	for i, e := range going {
		if err := x.Store.Delete(ctx, manifestName(e.ID)); err != nil {
			return err
		}
		validations, err := x.Store.List(ctx, validationsPrefix+e.ID+"/")
		if err != nil {
			return err
		}
		for _, info := range validations {
			if err := x.Store.Delete(ctx, info.Name); err != nil {
				return err
			}
		}
		x.policy.Progress(Progress{Phase: "remove backups", Done: int64(i + 1), Total: int64(len(going))})
	}
	return nil
}

// removeData removes what the removed backups needed and no other does, and what belongs to no backup and is old.
func (x *pruning) removeData(ctx context.Context, going []Entry, needed map[string]bool) error {
	freed := map[string]bool{}
	for _, e := range going {
		e.objects(func(name string, _ int64, _ string) { freed[name] = true })
	}
	for i, info := range x.there {
		orphan := !freed[info.Name] && time.Since(info.Written) > x.policy.OrphanAge
		if needed[info.Name] || !freed[info.Name] && !orphan {
			continue
		}
		x.out.Objects++
		x.out.Bytes += info.Size
		if x.policy.DryRun {
			continue
		}
		if err := x.Store.Delete(ctx, info.Name); err != nil {
			return err
		}
		if err := failpoint.Hit("backup.object-pruned"); err != nil {
			return err
		}
		x.policy.Progress(Progress{Phase: "remove data", Done: int64(i + 1), Total: int64(len(x.there))})
	}
	return nil
}
