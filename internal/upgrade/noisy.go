package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/internal/auth"
)

const (
	victimPause = 10 * time.Millisecond  // between two requests of one of the victim's loops
	readyPause  = 100 * time.Millisecond // between two questions for readiness
	settleTime  = 3 * time.Second        // after which a phase is measured
	noisyBatch  = 500                    // memories of a command batch that fills the noisy tenant
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
	refold := c.binary
	if refold == "" {
		refold = filepath.Join(dir, "refold")
		if err := goCommand(ctx, root, "build", "-o", refold, "./cmd/refold"); err != nil {
			return err
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil { // Postgres runs as another user when this is root
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	nats := fmt.Sprintf("127.0.0.1:%d", port)
	s := &story{config: c, old: program{"refold", refold, machine{dir: filepath.Join(dir, "data")}, c.shards}}
	process, err := s.old.serve(ctx, "--nats-listen", nats)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, process.stop(context.WithoutCancel(ctx))) }()
	err = eventually(ctx, readyMax, func() error {
		if status, body := ask(ctx, process.url+"/readyz"); status != http.StatusOK {
			return fmt.Errorf("not ready: %d %s", status, body)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, tenant := range []string{victimTenant, noisyTenant} {
		if _, err := s.old.must(ctx, "tenant", "create", tenant); err != nil {
			return err
		}
	}
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
	c.say("\n%-10s %22s %22s", "", "p50: idle, noisy, ratio", "p99: idle, noisy, ratio")
	for _, row := range []struct {
		what string
		a, b []time.Duration
	}{{"reads", idle.reads, loud.reads}, {"commands", idle.commands, loud.commands}, {"readyz", idle.asks, loud.asks}} {
		line := fmt.Sprintf("%-10s", row.what)
		for _, q := range []float64{0.50, 0.99} {
			a, b := quantileOf(row.a, q), quantileOf(row.b, q)
			line += fmt.Sprintf("   %9s %9s %5.1f", a.Round(100*time.Microsecond), b.Round(100*time.Microsecond), float64(b)/float64(max(a, 1)))
		}
		c.say("%s", line)
	}
	output, err := s.old.must(ctx, "verify")
	if err == nil {
		s.quote("refold verify", output)
	}
	return err
}

func (c config) tellPhase(p phase) {
	c.say("\n%s", p.name)
	for _, row := range []struct {
		what  string
		times []time.Duration
	}{{"reads", p.reads}, {"commands", p.commands}, {"readyz", p.asks}} {
		c.say("  %-10s %6d answered, p50 %s, p99 %s, slowest %s", row.what, len(row.times), quantileOf(row.times, 0.50).Round(100*time.Microsecond),
			quantileOf(row.times, 0.99).Round(100*time.Microsecond), quantileOf(row.times, 1).Round(100*time.Microsecond))
	}
	c.say("  %d failed", len(p.failed))
	for _, fault := range slices.Compact(slices.Sorted(slices.Values(p.failed)))[:min(5, len(p.failed))] {
		c.say("    %s", fault)
	}
}

// quantileOf is 0 of nothing.
func quantileOf(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(math.Ceil(q*float64(len(sorted)))), len(sorted))-1]
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
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

func (v *victim) request(ctx context.Context, method, path, body string) (status int, answer []byte, took time.Duration) {
	return send(ctx, v.url+path, method, v.token, "application/json", []byte(body))
}

// send returns status 0 with the error when there is no answer.
func send(ctx context.Context, url, method, token, media string, body []byte) (status int, answer []byte, took time.Duration) {
	began := time.Now()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, []byte(err.Error()), 0
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if len(body) > 0 {
		request.Header.Set("Content-Type", media)
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
	for done := 0; done < count; done += noisyBatch {
		if err := n.send(ctx, c, min(noisyBatch, count-done)); err != nil {
			return err
		}
	}
	return nil
}
