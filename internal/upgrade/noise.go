package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	producers "github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/events/commands"
)

const (
	victimTenant, noisyTenant = "quiet", "noisy"
	// noiseVariable has this program make noise and do nothing else.
	noiseVariable = "REFOLD_NOISE"
	batchOfNoise  = 900 // commands
)

// noise is what one tenant does to the others, or what the machine does beside the plane.
type noise struct {
	URL, NATS, Token string
	FloodToken       string // of another user, whom the plane may keep out for flooding it
	Burn             int    // threads that only compute, and nothing else; 0 = requests
	Only             string // kind of connection; empty = all
}

// noiseKind is a number of connections that do one thing again and again.
type noiseKind struct {
	name  string
	count int
	make  func(ctx context.Context, n noise, web *http.Client)
}

// noiseKinds are the connections, 200 in all: lists that search and sort, feeds that nobody reads, messages over NATS that
// want no reply, and what the others are called.
var noiseKinds = []noiseKind{
	{"lists", 70, func(ctx context.Context, n noise, web *http.Client) {
		n.get(ctx, web, "/v1/memories?sort=content&count=true&limit=100&search="+url.QueryEscape(uuid.NewString()[:2]))
	}},
	{"search", 20, func(ctx context.Context, n noise, web *http.Client) {
		n.get(ctx, web, "/v1/memories/search?q=the+note")
	}},
	{"stats", 30, func(ctx context.Context, n noise, web *http.Client) { n.get(ctx, web, "/v1/stats") }},
	{"exports", 20, func(ctx context.Context, n noise, web *http.Client) { n.get(ctx, web, "/v1/export") }},
	{"feeds", 40, func(ctx context.Context, n noise, web *http.Client) { n.unread(ctx, web) }},
	{"messages", 10, func(ctx context.Context, n noise, _ *http.Client) { n.flood(ctx) }},
	{"batches", 10, func(ctx context.Context, n noise, _ *http.Client) { n.batches(ctx) }},
}

// makeNoise goes on until the process is killed.
func makeNoise(wish string) error {
	var n noise
	if err := json.Unmarshal([]byte(wish), &n); err != nil {
		return err
	}
	ctx := context.Background()
	for range n.Burn {
		go func() {
			for {
			}
		}()
	}
	if n.Burn > 0 {
		select {}
	}
	for _, kind := range noiseKinds {
		if n.Only != "" && n.Only != kind.name {
			continue
		}
		for range kind.count {
			go func() {
				web := &http.Client{Transport: &http.Transport{}} // a connection of its own
				for {
					kind.make(ctx, n, web)
				}
			}()
		}
	}
	select {}
}

func (n noise) request(ctx context.Context, path string) *http.Request {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, n.URL+path, nil)
	if err != nil {
		panic(err) // the paths are above
	}
	request.Header.Set("Authorization", "Bearer "+n.Token)
	return request
}

func (n noise) get(ctx context.Context, web *http.Client, path string) {
	response, err := web.Do(n.request(ctx, path))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
}

// unread opens a feed from its beginning and reads nothing of it until the plane has had enough.
func (n noise) unread(ctx context.Context, web *http.Client) {
	request := n.request(ctx, "/v1/changes?from=begin")
	request.Header.Set("Accept", "text/event-stream")
	response, err := web.Do(request)
	if err != nil {
		return
	}
	time.Sleep(10 * time.Second) // noise, nothing that is waited for
	_ = response.Body.Close()
}

// flood publishes commands that nobody waits for.
func (n noise) flood(ctx context.Context) {
	conn, err := nats.Connect(n.NATS, nats.Token(n.FloodToken), nats.MaxReconnects(-1))
	if err != nil {
		return
	}
	defer conn.Close()
	message := nats.NewMsg("cmd." + noisyTenant + ".memory.new")
	message.Header.Set(commands.HeaderAuthorization, "Bearer "+n.FloodToken)
	message.Header.Set(commands.HeaderCommand, "memory.add")
	message.Data = []byte(`{"content": "` + strings.Repeat("noise ", 20) + `"}`)
	for ctx.Err() == nil {
		message.Header.Set(commands.HeaderKey, uuid.NewString())
		if err := conn.PublishMsg(message); err != nil {
			return
		}
	}
}

func (n noise) producer(ctx context.Context) (*producers.Client, error) {
	return producers.Connect(ctx, producers.Config{URL: n.NATS, Token: producers.StaticToken(n.Token)})
}

func (n noise) batches(ctx context.Context) {
	c, err := n.producer(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	for n.send(ctx, c, batchOfNoise) == nil {
	}
}

// send adds memories of some words in one batch.
func (n noise) send(ctx context.Context, c *producers.Client, count int) error {
	wishes := make([]commands.Wish, count)
	for i := range wishes {
		id := uuid.NewString()
		wishes[i] = commands.Wish{Key: id, Command: commands.AddMemory{Content: "the note " + id + " of the noisy tenant " + strings.Repeat("and more of it ", 10)}}
	}
	_, err := c.DoAll(ctx, wishes)
	return err
}
