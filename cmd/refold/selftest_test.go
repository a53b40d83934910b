package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/isolation"
)

// broken stands before an edge and spoils its answers.
type broken struct {
	mu    sync.Mutex
	made  map[string]string // id of a memory -> who made it
	first string            // an answer to somebody
	of    string            // to whom
	spoil func(b *broken, who string, a *http.Response, body []byte) []byte
}

func (b *broken) serve(t *testing.T, before string) string {
	t.Helper()
	target, err := url.Parse(before)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = b.modify
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

func (b *broken) modify(a *http.Response) error {
	if strings.HasPrefix(a.Header.Get("Content-Type"), "text/event-stream") {
		return nil // it does not end
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	who := a.Request.Header.Get("Authorization")
	if location := a.Header.Get("Location"); location != "" {
		b.made[location] = who
		if b.first == "" {
			b.first, b.of = string(body), who
		}
	}
	body = b.spoil(b, who, a, body)
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	a.Header.Del("Content-Length")
	return nil
}

// The attack finds nothing on a plane that holds, and on one that does not it finds what is wrong: a byte of somebody
// else's in whatever form, or an answer that tells foreign from absent.
func TestSelftestIsolation(t *testing.T) {
	s := serving(t)
	r := into[isolation.Report](t, refold(t, exitOK, "selftest", "isolation", "--probes", "2000", "--url", s.url))
	if r.Probes < 2000 || r.LeakCount != 0 || r.DifferCount != 0 || len(r.Operations) < 20 || r.BytesSearched < 100_000 {
		t.Errorf("an attack on a plane that holds: %+v", r)
	}
	mustHaveAttacked(t, r, "HTTP", "MCP")
	old, addresses := 0, 0
	for operation := range r.Operations {
		if _, path, _ := strings.Cut(operation, " /"); strings.HasPrefix(path, "api/v1/") {
			old++
		}
		if strings.HasPrefix(operation, "MCP ") && strings.Contains(operation, "/mcp/") || operation == "MCP Mcp-Session-Id" {
			addresses++
		}
	}
	if all := len(httpapi.OldRoutes()); old < all*2/3 || addresses < 4 { // which of them is left to chance
		t.Errorf("%d of %d old paths were attacked, and %d of 6 kinds of addresses of agents: %v", old, all, addresses, r.Operations)
	}
	for name, c := range map[string]struct {
		spoil func(b *broken, who string, a *http.Response, body []byte) []byte
		found func(r isolation.Report) bool
	}{
		"somebody else's answer in base64, in a header, on one route": {
			func(b *broken, who string, a *http.Response, body []byte) []byte {
				if a.Request.URL.Path == "/v1/apps" && b.first != "" && who != b.of {
					a.Header.Set("X-Trace", base64.StdEncoding.EncodeToString([]byte("trace "+b.first)))
				}
				return body
			},
			func(r isolation.Report) bool {
				return r.LeakCount > 0 && strings.HasSuffix(r.Leaks[0].What, "in base64")
			},
		},
		"somebody else's answer in that of an agent": {
			func(b *broken, who string, a *http.Response, body []byte) []byte {
				if bytes.Contains(body, []byte(`"isError":true`)) { // so that owners are answered as they should be
					return append(body, b.first...)
				}
				return body
			},
			func(r isolation.Report) bool { return r.LeakCount > 0 && r.Leaks[0].Protocol == "MCP" },
		},
		"403 for what is somebody else's": {
			func(b *broken, who string, a *http.Response, body []byte) []byte {
				for location, maker := range b.made {
					if maker != who && strings.HasPrefix(a.Request.URL.Path, location) && a.StatusCode == http.StatusNotFound {
						a.StatusCode = http.StatusForbidden
					}
				}
				return body
			},
			func(r isolation.Report) bool { return r.DifferCount > 0 && r.LeakCount == 0 },
		},
		"403 for what is somebody else's, on the old paths alone": {
			func(b *broken, who string, a *http.Response, body []byte) []byte {
				for location, maker := range b.made {
					if maker != who && strings.HasPrefix(a.Request.URL.Path, "/api"+location) && a.StatusCode == http.StatusNotFound {
						a.StatusCode = http.StatusForbidden
					}
				}
				return body
			},
			func(r isolation.Report) bool { return r.DifferCount > 0 && r.LeakCount == 0 },
		},
		"a session of somebody else is taken": {
			func(b *broken, who string, a *http.Response, body []byte) []byte {
				if a.Request.Header.Get("Mcp-Session-Id") != "" && a.StatusCode == http.StatusNotFound {
					a.StatusCode = http.StatusOK
				}
				return body
			},
			func(r isolation.Report) bool { return r.LeakCount > 0 && r.Leaks[0].Operation == "Mcp-Session-Id" },
		},
	} {
		b := &broken{made: map[string]string{}, spoil: c.spoil}
		if r := into[isolation.Report](t, refold(t, exitMismatch, "selftest", "isolation", "--probes", "2000", "--url", b.serve(t, s.url))); !c.found(r) {
			t.Errorf("%s was not found: %+v", name, r)
		}
	}
	refold(t, exitUsage, "selftest", "isolation", "--tenants", "1")
	for _, v := range into[[]tenantView](t, refold(t, exitOK, "tenant", "list")) {
		if v.Standing != "removed" {
			t.Errorf("a throw-away tenant is left: %+v", v)
		}
	}
	reports := s.ask("GET", "/v1/admin/reports?kind="+reportIsolation, minted(t, "--operator", "--subject", "olga"), "").want(t, http.StatusOK)
	if n := len(reports["items"].([]any)); n != 6 {
		t.Errorf("%d reports, want 6", n)
	}
}

func mustHaveAttacked(t *testing.T, r isolation.Report, protocols ...string) {
	t.Helper()
	for _, protocol := range protocols {
		probes := int64(0)
		for operation, n := range r.Operations {
			if strings.HasPrefix(operation, protocol+" ") {
				probes += n
			}
		}
		if probes < r.Probes/int64(2*len(protocols)) {
			t.Errorf("%d of %d probes were over %s: %v", probes, r.Probes, protocol, r.Operations)
		}
	}
}

// On a plane of its own the attack goes over every edge, NATS among them.
func TestSelftestOfAScratchPlane(t *testing.T) {
	t.Setenv("REFOLD_DATA", t.TempDir())
	t.Setenv("REFOLD_OUTPUT", "json")
	r := into[isolation.Report](t, refold(t, exitOK, "selftest", "isolation", "--scratch", "--probes", "3000"))
	if r.Probes < 3000 || !r.Clean() {
		t.Errorf("an attack on a plane that holds: %+v", r)
	}
	mustHaveAttacked(t, r, "HTTP", "MCP", "NATS")
}
