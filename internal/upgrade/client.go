package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	requestMax   = 30 * time.Second
	notesMax     = 60 // memories that a client goes on changing
	listCount    = 10
	changesMax   = 100 // events of one memory
	positionName = "Refold-Position"
	waitPrefer   = "wait=20"
)

// client is one user who writes and reads his own memories, one request at a time. He alone writes them, so he knows
// what each must be.
type client struct {
	base    string
	http    *http.Client
	tenant  string
	subject string
	token   string
	sealer  *reader.Sealer // to look into positions, which callers cannot
	account *account
	random  *rand.Rand

	position string // of the newest answer; handed in by every second read
	at       reader.Position
	count    int
	notes    []*note
}

// note is a memory as it was acknowledged last.
type note struct {
	ID       uuid.UUID
	Version  int64
	Content  string
	State    string
	created  time.Time
	moves    int   // changes of its state
	contents int   // that it has had
	seen     int64 // newest version that was read
	doubtful bool  // a command was not answered, so nobody knows
}

// memory is what answers say of one.
type memory struct {
	ID        uuid.UUID `json:"id"`
	Version   int64     `json:"version"`
	Content   string    `json:"content"`
	State     string    `json:"state"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// run sends a command and on average as many reads as readsPer says, once every period, until ctx ends.
func (c *client) run(ctx context.Context, period time.Duration, readsPer float64) {
	owed := c.random.Float64()
	next := time.Now().Add(time.Duration(c.random.Int64N(int64(period))))
	for {
		late := time.Since(next)
		c.account.both(func(t *tally) { t.behind = max(t.behind, late) })
		select {
		case <-ctx.Done():
			return
		case <-time.After(-late):
		}
		c.command()
		for owed += readsPer; owed >= 1; owed-- {
			c.read()
		}
		next = next.Add(period)
	}
}

// answer of a request.
type answer struct {
	status  int
	header  http.Header
	body    []byte
	backend string
	took    time.Duration
	err     error
}

func (a answer) String() string {
	return fmt.Sprintf("answered by %q after %s: status %d, %v\n%s", a.backend, a.took.Round(time.Millisecond), a.status, a.err, bytes.TrimSpace(a.body))
}

func (c *client) send(method, path string, header map[string]string, body any) (a answer) {
	ctx, cancel := context.WithTimeout(context.Background(), requestMax) // a request that was begun is finished
	defer cancel()
	var sent io.Reader
	if body != nil {
		text, _ := json.Marshal(body) // maps of strings
		sent = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, sent)
	if err != nil {
		return answer{err: err}
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	began := time.Now()
	response, err := c.http.Do(request)
	if err != nil {
		return answer{err: err, took: time.Since(began)}
	}
	defer func() { _ = response.Body.Close() }()
	a.status, a.header, a.backend = response.StatusCode, response.Header, response.Header.Get(backendHeader)
	a.body, a.err = io.ReadAll(response.Body)
	a.took = time.Since(began)
	return a
}

func (c *client) command() {
	c.count++
	key := map[string]string{"Idempotency-Key": fmt.Sprintf("%s-%d", c.subject, c.count)}
	kind := c.random.IntN(100)
	if len(c.notes) == 0 || kind < 40 {
		c.add(key)
		return
	}
	n := c.notes[max(0, len(c.notes)-notesMax)+c.random.IntN(min(notesMax, len(c.notes)))]
	switch {
	case n.doubtful || n.Version >= changesMax:
		c.add(key)
	case kind < 85:
		c.change(n, key)
	default:
		c.move(n, key)
	}
}

func (c *client) content() string {
	return fmt.Sprintf("%s says for the %d. time that refold remembers what was said %s", c.subject, c.count, words[:c.random.IntN(len(words))])
}

const words = "again and again and then once more for good measure before the day is over"

func (c *client) add(key map[string]string) {
	content := c.content()
	a := c.send(http.MethodPost, "/v1/memories", key, map[string]string{"content": content})
	var m memory
	if !c.accepted(a, http.StatusCreated, "add a memory") || !c.parse(a, &m) {
		return
	}
	c.notes = append(c.notes, &note{ID: m.ID, Version: m.Version, Content: content, State: "active", created: m.CreatedAt, contents: 1})
}

func (c *client) change(n *note, key map[string]string) {
	content := c.content()
	header := map[string]string{"If-Match": fmt.Sprintf("%q", strconv.FormatInt(n.Version, 10))}
	maps.Copy(header, key)
	a := c.send(http.MethodPatch, "/v1/memories/"+n.ID.String(), header, map[string]string{"content": content})
	if !c.advance(a, n, "change a memory") {
		return
	}
	n.Content = content
	n.contents++
}

// move pauses a memory, or activates it again.
func (c *client) move(n *note, key map[string]string) {
	verb, state := "pause", "paused"
	if n.State == "paused" {
		verb, state = "activate", "active"
	}
	a := c.send(http.MethodPost, "/v1/memories/"+n.ID.String()+"/"+verb, key, nil)
	if !c.advance(a, n, verb+" a memory") {
		return
	}
	n.State = state
	n.moves++
}

// advance takes the acknowledgement of a command on a memory that is there.
func (c *client) advance(a answer, n *note, what string) bool {
	var m memory
	if !c.accepted(a, http.StatusOK, what) || !c.parse(a, &m) {
		n.doubtful = true
		return false
	}
	if m.Version != n.Version+1 {
		c.account.fail("%s %s: version %d after %d", what, n.ID, m.Version, n.Version)
	}
	n.Version = m.Version
	return true
}

func (c *client) accepted(a answer, status int, what string) bool {
	if a.err != nil || a.status != status {
		c.account.fail("%s of %s: %s", what, c.subject, a)
		return false
	}
	c.account.answered(true, a.took)
	c.forward(a, what)
	return true
}

// forward takes the position of an answer, which must not be before that of the answer before it.
func (c *client) forward(a answer, what string) {
	token := a.header.Get(positionName)
	at, err := c.sealer.OpenPosition(c.tenant, token)
	switch {
	case err != nil:
		c.account.fail("%s of %s: position %q: %v", what, c.subject, token, err)
	case c.position != "" && (at.JournalID != c.at.JournalID || at.Shard != c.at.Shard || at.Seq < c.at.Seq):
		c.account.fail("%s of %s went back in time: position %+v after %+v, by %s", what, c.subject, at, c.at, a.backend)
	default:
		c.position, c.at = token, at
	}
}

func (c *client) parse(a answer, into any) bool {
	if err := json.Unmarshal(a.body, into); err != nil {
		c.account.fail("unreadable: %v: %s", err, a)
		return false
	}
	return true
}

// read asks for something of its own. Every second time it hands in the position of its newest answer; then the
// answer must hold all it was told before.
func (c *client) read() {
	if len(c.notes) == 0 {
		return
	}
	n := c.notes[max(0, len(c.notes)-notesMax)+c.random.IntN(min(notesMax, len(c.notes)))]
	if n.doubtful {
		return // nobody knows what it is
	}
	level := c.random.IntN(2) == 0
	header := map[string]string{}
	if level {
		header[positionName], header["Prefer"] = c.position, waitPrefer
		c.account.both(func(t *tally) { t.waited++ })
	}
	switch kind := c.random.IntN(100); {
	case kind < 60 || !level:
		c.get(n, level, header)
	case kind < 85:
		c.list(header)
	default:
		c.history(n, header)
	}
}

func (c *client) get(n *note, level bool, header map[string]string) {
	a := c.send(http.MethodGet, "/v1/memories/"+n.ID.String(), header, nil)
	if !level && a.status == http.StatusNotFound {
		c.older(n, 0) // not there yet
		c.account.answered(false, a.took)
		return
	}
	var m memory
	if !c.ok(a, "read a memory") || !c.parse(a, &m) {
		return
	}
	if !level {
		c.older(n, m.Version)
		return
	}
	c.forward(a, "read a memory")
	c.mustBe(n, m, a)
}

// older notes an answer that is older than one before, which may be when no position was handed in.
func (c *client) older(n *note, version int64) {
	if version < n.seen {
		c.account.both(func(t *tally) { t.older++ })
	}
	n.seen = max(n.seen, version)
}

func (c *client) mustBe(n *note, m memory, a answer) {
	if m.Version != n.Version || m.Content != n.Content || m.State != n.State {
		c.account.fail("%s does not read what was acknowledged: %+v, want %+v: %s", c.subject, m, *n, a)
	}
	n.seen = max(n.seen, m.Version)
}

// list reads the newest memories; they must be exactly the newest that were acknowledged.
func (c *client) list(header map[string]string) {
	a := c.send(http.MethodGet, fmt.Sprintf("/v1/memories?limit=%d", listCount), header, nil)
	var page struct {
		Items []memory `json:"items"`
	}
	if !c.ok(a, "list memories") || !c.parse(a, &page) {
		return
	}
	c.forward(a, "list memories")
	if want := min(listCount, len(c.notes)); len(page.Items) != want && !c.anyDoubtful() {
		c.account.fail("a list of %s has %d memories, want %d: %s", c.subject, len(page.Items), want, a)
	}
	known := map[uuid.UUID]*note{}
	for _, n := range c.notes {
		known[n.ID] = n
	}
	for i, m := range page.Items {
		if i > 0 && m.CreatedAt.After(page.Items[i-1].CreatedAt) {
			c.account.fail("a list of %s is out of order: %s", c.subject, a)
		}
		if n := known[m.ID]; n == nil {
			if !c.anyDoubtful() {
				c.account.fail("a list of %s has a memory that was never acknowledged: %s", c.subject, a)
			}
		} else if !n.doubtful {
			c.mustBe(n, m, a)
		}
	}
}

func (c *client) anyDoubtful() bool {
	_, failures := c.account.sum()
	return len(failures) > 0
}

func (c *client) history(n *note, header map[string]string) {
	a := c.send(http.MethodGet, "/v1/memories/"+n.ID.String()+"/history", header, nil)
	var history struct {
		Items []struct {
			Version int64 `json:"version"`
		} `json:"items"`
	}
	if !c.ok(a, "read a history") || !c.parse(a, &history) {
		return
	}
	c.forward(a, "read a history")
	if len(history.Items) != n.moves {
		c.account.fail("the history of %s has %d lines, want %d: %s", n.ID, len(history.Items), n.moves, a)
	}
}

func (c *client) ok(a answer, what string) bool {
	if a.err != nil || a.status != http.StatusOK {
		c.account.fail("%s of %s: %s", what, c.subject, a)
		return false
	}
	c.account.answered(false, a.took)
	return true
}
