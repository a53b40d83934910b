package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/localstack"
)

const (
	victimPause = 10 * time.Millisecond  // between two requests of one of the victim's loops
	readyPause  = 100 * time.Millisecond // between two questions for readiness
	settleTime  = 3 * time.Second        // after which a phase is measured
)

// phase is what the victim has met.
type phase struct {
	name                  string
	reads, commands, asks []time.Duration // asks are those for readiness
	failed                []string
}

// noisy measures a quiet tenant beside a noisy one: first on an idle plane while as many cores as there are do something
// else, then while the other tenant has 200 connections that ask for what costs most.
func (c config) noisy(ctx context.Context, root, dir string) (err error) {
	port, err := localstack.FreePort()
	if err != nil {
		return err
	}
	nats := fmt.Sprintf("127.0.0.1:%d", port)
	s, process, end, err := c.alone(ctx, root, dir, []string{victimTenant, noisyTenant}, "--nats-listen", nats)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	key, err := auth.LocalKey(s.old.on.dir)
	if err != nil {
		return err
	}
	n := noise{URL: process.url, NATS: "nats://" + nats, Only: c.noisyKind}
	if n.Token, err = key.Mint(auth.TokenRequest{Tenant: noisyTenant, Subject: "noisy", Scopes: auth.AllScopes(), TTL: time.Hour}); err != nil {
		return err
	}
	if n.FloodToken, err = key.Mint(auth.TokenRequest{Tenant: noisyTenant, Subject: "flood", Scopes: auth.AllScopes(), TTL: time.Hour}); err != nil {
		return err
	}
	victim := victim{url: process.url}
	if victim.token, err = key.Mint(auth.TokenRequest{Tenant: victimTenant, Subject: "victim", Scopes: auth.AllScopes(), TTL: time.Hour}); err != nil {
		return err
	}
	c.say("the noisy tenant gets %d memories of one user", c.noisyMemories)
	if err := n.fill(ctx, c.noisyMemories); err != nil {
		return err
	}
	if err := victim.begin(ctx); err != nil {
		return err
	}
	idle, err := victim.beside(ctx, "idle plane, other work on all cores", c.noisySpan, noise{Burn: runtime.NumCPU()})
	if err != nil {
		return err
	}
	c.tellPhase(idle)
	loud, err := victim.beside(ctx, "noisy neighbour, 200 connections", c.noisySpan, n)
	if err != nil {
		return err
	}
	c.tellPhase(loud)
	c.say("\n%-10s %24s   %24s", "", "p50: idle, noisy, ratio", "p99: idle, noisy, ratio")
	for i, row := range idle.rows() {
		line := fmt.Sprintf("%-10s", row.what)
		for _, p := range []int{50, 99} {
			a, b := percentile(row.sorted, p), percentile(loud.rows()[i].sorted, p)
			ratio := "-" // nothing was answered
			if a > 0 && b > 0 {
				ratio = fmt.Sprintf("%.1f", float64(b)/float64(a))
			}
			line += fmt.Sprintf("   %8s %8s %6s", a, b, ratio)
		}
		c.say("%s", line)
	}
	output, err := s.old.must(ctx, "verify")
	if err == nil {
		s.quote("refold verify", output)
	}
	return err
}

// rows are what was measured, by what was asked.
func (p phase) rows() []phaseRow {
	return []phaseRow{
		{"reads", slices.Sorted(slices.Values(p.reads))}, {"commands", slices.Sorted(slices.Values(p.commands))}, {"readyz", slices.Sorted(slices.Values(p.asks))},
	}
}

type phaseRow struct {
	what   string
	sorted []time.Duration
}

func (c config) tellPhase(p phase) {
	c.say("\n%s", p.name)
	for _, row := range p.rows() {
		c.say("  %-10s %6d answered, p50 %s, p99 %s, slowest %s", row.what, len(row.sorted), percentile(row.sorted, 50), percentile(row.sorted, 99), percentile(row.sorted, 100))
	}
	c.say("  %d failed", len(p.failed))
	faults := slices.Compact(slices.Sorted(slices.Values(p.failed)))
	for _, fault := range faults[:min(5, len(faults))] {
		c.say("    %s", fault)
	}
}

// victim is one user who reads and writes now and then.
type victim struct {
	url, token string
	memory     string
}

func (v *victim) begin(ctx context.Context) error {
	return eventually(ctx, readyMax, func() error {
		status, body, _ := v.request(ctx, http.MethodPost, "/v1/memories", `{"content": "what the victim reads"}`)
		var made struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(body, &made); err != nil || status != http.StatusCreated {
			return fmt.Errorf("the victim's first memory: %d %s", status, body)
		}
		v.memory = made.ID
		return nil
	})
}

// beside measures the victim while noise is made in another process.
func (v *victim) beside(ctx context.Context, name string, span time.Duration, n noise) (p phase, err error) {
	p.name = name
	stop, err := n.start(ctx)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	select {
	case <-ctx.Done():
		return p, ctx.Err()
	case <-time.After(settleTime):
	}
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	var mu sync.Mutex
	var all sync.WaitGroup
	loop := func(into *[]time.Duration, want int, pause time.Duration, send func() (status int, body []byte, took time.Duration)) {
		all.Go(func() {
			for ctx.Err() == nil {
				status, body, took := send()
				mu.Lock()
				switch {
				case ctx.Err() != nil: // perhaps cut
				case status == want:
					*into = append(*into, took)
				default:
					p.failed = append(p.failed, fmt.Sprintf("%d %.120s", status, body))
				}
				mu.Unlock()
				time.Sleep(pause)
			}
		})
	}
	loop(&p.reads, http.StatusOK, victimPause, func() (int, []byte, time.Duration) {
		return v.request(ctx, http.MethodGet, "/v1/memories/"+v.memory, "")
	})
	loop(&p.commands, http.StatusCreated, victimPause, func() (int, []byte, time.Duration) {
		return v.request(ctx, http.MethodPost, "/v1/memories", `{"content": "note `+uuid.NewString()+`"}`)
	})
	loop(&p.asks, http.StatusOK, readyPause, func() (int, []byte, time.Duration) {
		return v.request(ctx, http.MethodGet, "/readyz", "")
	})
	all.Wait()
	return p, nil
}

// request returns status 0 with the error when there is no answer.
func (v *victim) request(ctx context.Context, method, path, body string) (status int, answer []byte, took time.Duration) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, method, v.url+path, strings.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error()), 0
	}
	request.Header.Set("Authorization", "Bearer "+v.token)
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, []byte(err.Error()), time.Since(began)
	}
	defer func() { _ = response.Body.Close() }()
	answer, _ = io.ReadAll(response.Body)
	return response.StatusCode, answer, time.Since(began)
}

// start makes the noise in a process of its own, so that it takes nothing from those who measure but the machine.
func (n noise) start(ctx context.Context) (stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	wish, err := json.Marshal(n)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), noiseVariable+"="+string(wish))
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil
	}, nil
}

// fill gives the noisy user his memories.
func (n noise) fill(ctx context.Context, count int) error {
	c, err := n.producer(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for done := 0; done < count; done += batchOfNoise {
		if err := n.send(ctx, c, min(batchOfNoise, count-done)); err != nil {
			return err
		}
	}
	return nil
}
