// Package versions tells how a memory has become what it is: its versions, each as it stood after one event, with what has
// changed since the one before. Rows hold the newest version only, so the versions are folded from the journal, up to the one
// that the rows have: an answer is never ahead of the rows that it names the position of.
package versions

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	// pageBytesMax bounds the contents and metadata of a page; one version is in it whatever its size.
	pageBytesMax = 4 << 20
	// readMax bounds the reading of a history.
	readMax = 20 * time.Second
)

// Log reads the versions of memories. It is safe for concurrent use.
type Log struct {
	// Reading lets a question read the journal; nil = all at once. Set it before use.
	Reading func(ctx context.Context, c reader.Caller) (leave func(), err error)

	shard  func(number int) journal.Shard
	reader *reader.Reader
}

// New returns a Log.
func New(shard func(number int) journal.Shard, r *reader.Reader) *Log {
	return &Log{shard: shard, reader: r}
}

// App names an app.
type App struct {
	ID   uuid.UUID
	Name string
}

// Content is what a memory holds at a version.
type Content struct {
	Content    string
	Metadata   json.RawMessage
	Categories []string // by name; never nil
	State      events.State
	App        *App
}

// Version is a memory as it stood after one event.
type Version struct {
	Number uint64
	Kind   string     // of the event
	By     *uuid.UUID // the user who made it; nil when no user did
	At     time.Time
	Content
	Changed []memory.Field // since the version before; none for the first
	Before  *Content       // that version, as far as it differs; nil where nothing does and where the caller may not read it
}

// Page is a part of a memory's versions, newest first.
type Page struct {
	Items []Version // never nil
	Next  uint64    // the next page begins before this version; 0 = this is the last page
}

// Page returns at most count of the versions of a memory that are older than one, 0 = from the newest on, or
// reader.ErrNotFound. Pages that would be large are shorter. Through an app, versions that its access rules keep from it are
// left out.
func (l *Log) Page(ctx context.Context, c reader.Caller, f reader.Freshness, id uuid.UUID, olderThan uint64, count int) (Page, reader.Stamp, error) {
	newest, rules, stamp, err := l.reader.Versioned(ctx, c, f, id)
	if err != nil {
		return Page{}, stamp, err
	}
	if olderThan > 0 {
		newest = min(newest, olderThan-1)
	}
	w := window{count: max(1, min(count, reader.PageCountMax))}
	if err := l.read(ctx, c, id, newest, rules, w.add); err != nil {
		return Page{}, stamp, err
	}
	items, err := l.named(ctx, c, w.kept)
	if err != nil {
		return Page{}, stamp, err
	}
	slices.Reverse(items)
	page := Page{Items: items}
	if w.dropped {
		page.Next = items[len(items)-1].Number
	}
	l.reader.Noted(c, activity.Read, id)
	return page, stamp, nil
}

// One returns one version of a memory, and which is the newest; or reader.ErrNotFound.
func (l *Log) One(ctx context.Context, c reader.Caller, f reader.Freshness, id uuid.UUID, number uint64) (v Version, newest uint64, stamp reader.Stamp, err error) {
	newest, rules, stamp, err := l.reader.Versioned(ctx, c, f, id)
	if err == nil && (number < 1 || number > newest) {
		err = reader.ErrNotFound
	}
	if err != nil {
		return v, newest, stamp, err
	}
	var found []version
	err = l.read(ctx, c, id, number, rules, func(v version) {
		if v.number == number {
			found = append(found, v)
		}
	})
	if err == nil && len(found) == 0 {
		err = reader.ErrNotFound
	}
	if err != nil {
		return v, newest, stamp, err
	}
	items, err := l.named(ctx, c, found)
	if err != nil {
		return v, newest, stamp, err
	}
	l.reader.Noted(c, activity.Read, id)
	return items[0], newest, stamp, nil
}

// version is a Version without names.
type version struct {
	number  uint64
	kind    string
	by      *uuid.UUID
	at      time.Time
	state   memory.State
	changed []memory.Field
	before  *memory.State
}

// read folds the history of a memory and hands over the versions that the rules allow, oldest first.
func (l *Log) read(ctx context.Context, c reader.Caller, id uuid.UUID, upTo uint64, rules reader.Rules, take func(version)) error {
	if upTo == 0 {
		return nil
	}
	if l.Reading != nil {
		leave, err := l.Reading(ctx, c)
		if err != nil {
			return err
		}
		defer leave()
	}
	ctx, cancel := context.WithTimeout(ctx, readMax)
	defer cancel()
	var before memory.State
	readable := false // before
	key := envelope.Key{Tenant: c.Tenant, Entity: memory.Entity, ID: id.String()}
	return l.shard(c.Shard).Visit(ctx, key, upTo, func(e *envelope.Event) error {
		after, err := memory.Evolve(before, e)
		if err != nil {
			return fmt.Errorf("version %d of %s: %w", e.Version, key, err)
		}
		after = after.WithoutHistory()
		allowed := rules.Allow(id, c.User, after.AppID, after.CategoryIDs)
		if allowed {
			take(versionOf(e, before, after, readable))
		}
		before, readable = after, allowed
		return nil
	})
}

func versionOf(e *envelope.Event, before, after memory.State, readable bool) version {
	v := version{number: e.Version, kind: e.Kind, at: e.Time, state: after}
	if by, err := uuid.Parse(e.Actor); err == nil {
		v.by = &by
	}
	if !before.Exists {
		return v
	}
	if v.changed = memory.Differences(before, after); readable && len(v.changed) > 0 {
		v.before = &before
	}
	return v
}

// window keeps the newest versions, as many as a page holds.
type window struct {
	count   int
	kept    []version
	bytes   int
	dropped bool // older ones
}

func (w *window) add(v version) {
	w.kept = append(w.kept, v)
	w.bytes += v.bytes()
	for len(w.kept) > w.count || w.bytes > pageBytesMax && len(w.kept) > 1 {
		w.bytes -= w.kept[0].bytes()
		w.kept[0] = version{} // its content is no longer held
		w.kept, w.dropped = w.kept[1:], true
	}
}

// bytes is about what a version takes in an answer.
func (v version) bytes() int {
	size := len(v.state.Content) + len(v.state.Metadata)
	if v.before != nil {
		size += len(v.before.Content) + len(v.before.Metadata)
	}
	return size
}

// named gives versions the names that belong to them.
func (l *Log) named(ctx context.Context, c reader.Caller, found []version) ([]Version, error) {
	var categories, apps []uuid.UUID
	for _, v := range found {
		for _, s := range []*memory.State{&v.state, v.before} {
			if s == nil {
				continue
			}
			categories = append(categories, s.CategoryIDs...)
			if s.AppID != nil {
				apps = append(apps, *s.AppID)
			}
		}
	}
	names, err := l.reader.Names(ctx, c, distinct(categories), distinct(apps))
	if err != nil {
		return nil, err
	}
	out := make([]Version, 0, len(found))
	for _, v := range found {
		one := Version{Number: v.number, Kind: v.kind, By: v.by, At: v.at, Content: contentOf(v.state, names), Changed: v.changed}
		if v.before != nil {
			before := contentOf(*v.before, names)
			one.Before = &before
		}
		out = append(out, one)
	}
	return out, nil
}

func distinct(ids []uuid.UUID) []uuid.UUID {
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(ids)
}

func contentOf(s memory.State, names map[uuid.UUID]string) Content {
	out := Content{Content: s.Content, Metadata: s.Metadata, State: s.Status, Categories: []string{}}
	for _, id := range s.CategoryIDs {
		if name, known := names[id]; known {
			out.Categories = append(out.Categories, name)
		}
	}
	slices.Sort(out.Categories)
	if s.AppID != nil {
		if name, known := names[*s.AppID]; known {
			out.App = &App{*s.AppID, name}
		}
	}
	return out
}
