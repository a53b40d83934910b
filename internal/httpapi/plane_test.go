package httpapi_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/readiness"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
)

// The edge over a whole plane: embedded JetStream, directory, projectors and all.
func TestOverAPlane(t *testing.T) {
	p, err := plane.Open(t.Context(), plane.Config{
		DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: "relaxed", BytesMax: 256 << 20,
	})
	check(t, err)
	running, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(running) }()
	t.Cleanup(func() {
		stop()
		check(t, <-done)
		check(t, p.Close())
	})
	check(t, p.EnsureLive(t.Context(), nil))
	_, _, err = p.CreateTenant(t.Context(), "a", "A", "operator")
	check(t, err)

	key, err := auth.LocalKey(t.TempDir())
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	rows := reader.New(p.Live, p.DB)
	s := &stack{key: key, handler: httpapi.Handler(httpapi.Config{
		Verifier: verifier, Writer: writer.New(p.Directory, p.Journal.Shard, rows), Reader: rows, Changes: changes.New(p.Journal.Shard, rows), Versions: versions.New(p.Journal.Shard, rows), Sealer: sealer, Health: p,
	})}
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"likes tea","app":"notes","categories":["taste"]}`)
	if m := alice.do("GET", path, "").want(t, http.StatusOK); m["content"] != "likes tea" {
		t.Errorf("memory %v", m)
	}
	alice.do("POST", path+"/archive", "", "If-Match", `"1"`).want(t, http.StatusOK)
	if page := items(alice.do("GET", "/v1/memories?state=archived", "").want(t, http.StatusOK)); len(page) != 1 {
		t.Errorf("archived: %v, want the one memory", page)
	}
	alice.do("GET", "/readyz", "").want(t, http.StatusOK)
	s.client(t, "nowhere", "alice").do("GET", path, "").want(t, http.StatusNotFound)
}

// TestReadinessIsByShardAndKind asks as a load balancer of one shard's reads, or commands, does.
func TestReadinessIsByShardAndKind(t *testing.T) {
	s := newStack(t)
	nobody := &client{t: t, handler: s.handler}
	s.health.conditions = []readiness.Condition{{Shard: 2, Code: "LOG_TRUNCATED", Detail: "nats.internal:4222", Reads: readiness.Degrade, Commands: readiness.Prevent}}
	for path, want := range map[string]int{
		"/readyz":                      http.StatusOK,
		"/readyz?for=reads":            http.StatusOK,
		"/readyz?for=reads&shard=2":    http.StatusOK,
		"/readyz?for=commands":         http.StatusServiceUnavailable,
		"/readyz?for=commands&shard=2": http.StatusServiceUnavailable,
		"/readyz?for=commands&shard=1": http.StatusOK,
		"/readyz?for=nothing":          http.StatusBadRequest,
		"/readyz?shard=x":              http.StatusBadRequest,
		"/readyz?shard=4":              http.StatusBadRequest,
	} {
		a := nobody.do("GET", path, "")
		a.want(t, want)
		if strings.Contains(a.body, "nats.internal") {
			t.Errorf("%s: operators' details are told to anybody: %s", path, a.body)
		}
	}
	reason := map[string]any{"shard": 2.0, "code": "LOG_TRUNCATED", "effect": "unavailable"}
	stopped := nobody.do("GET", "/readyz?for=commands", "").want(t, http.StatusServiceUnavailable)
	if diff := cmp.Diff(map[string]any{"ready": false, "reasons": []any{reason}}, stopped["commands"]); diff != "" || stopped["code"] != "not_ready" {
		t.Errorf("the problem: %s", diff)
	}
	reason["effect"] = "degraded"
	degraded := nobody.do("GET", "/readyz", "").want(t, http.StatusOK)
	if diff := cmp.Diff(map[string]any{"ready": true, "reasons": []any{reason}}, degraded["reads"]); diff != "" || degraded["status"] != "degraded" {
		t.Errorf("status %v: %s", degraded["status"], diff)
	}
}
