package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/testenv"
)

// journalOf is what a process writes while it runs.
type journalOf struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *journalOf) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(b)
}

func (l *journalOf) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

// served is a `refold serve` of this very process.
type served struct {
	t      *testing.T
	url    string
	client *http.Client
	output *journalOf
	heard  []string // every answer that was no success, head and body
}

func serving(t *testing.T, flags ...string) *served {
	t.Helper()
	return servingTo(t, http.DefaultClient, flags...)
}

// servingTo is serving for a client of its own.
func servingTo(t *testing.T, client *http.Client, flags ...string) *served {
	t.Helper()
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	s := &served{t: t, client: client, output: &journalOf{}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	args := append([]string{"serve", "--listen", "127.0.0.1:0", "--drain", "0s"}, flags...)
	go func() { done <- run(ctx, args, s.output, s.output) }()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != exitOK {
			t.Errorf("serve ended with %d: %s", code, s.output)
		}
	})
	s.await(func() bool {
		_, after, _ := strings.Cut(s.output.String(), "refold serves ")
		s.url, _, _ = strings.Cut(after, "\n")
		return s.url != ""
	})
	s.await(func() bool { return s.ask("GET", "/readyz", "", "").status == http.StatusOK })
	s.heard = nil
	return s
}

func (s *served) await(so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("it does not come to be: %s", s.output)
		}
	}
}

type heard struct {
	status int
	header http.Header
	body   string
}

func (s *served) ask(method, path, token, body string, headers ...string) heard {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if answer.StatusCode >= 400 {
		s.heard = append(s.heard, fmt.Sprintf("%v %s", answer.Header, content))
	}
	return heard{answer.StatusCode, answer.Header, string(content)}
}

func (h heard) want(t *testing.T, status int) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(h.body), &v); h.status != status || err != nil {
		t.Fatalf("status %d, want %d: %s (%v)", h.status, status, h.body, err)
	}
	return v
}

func minted(t *testing.T, args ...string) string {
	t.Helper()
	return into[map[string]string](t, refold(t, exitOK, append([]string{"token", "mint"}, args...)...))["token"]
}

// An operator leads a tenant through its life, over HTTP and by the CLI beside the running process.
func TestOperatorsOverHTTP(t *testing.T) {
	s := serving(t)
	op := minted(t, "--operator", "--subject", "olga")
	reads := minted(t, "--operator", "--subject", "olga", "--scope", "admin:read")
	refold(t, exitUsage, "token", "mint", "--subject", "olga")
	// A tenant's own token opens nothing here, whatever scopes it has.
	key, err := auth.LocalKey(os.Getenv("REFOLD_DATA"))
	if err != nil {
		t.Fatal(err)
	}
	ann, err := key.Mint(auth.TokenRequest{ // before there is such a tenant, as an issuer elsewhere may
		Tenant: "acme", Subject: "ann", Scopes: []string{auth.MemoriesRead, auth.MemoriesWrite, auth.AdminRead, auth.AdminWrite, auth.BackupRead, auth.BackupWrite},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.ask("GET", "/v1/admin/tenants", ann, "").want(t, http.StatusForbidden)
	s.ask("POST", "/v1/admin/tenants", reads, `{"tenant":"acme"}`).want(t, http.StatusForbidden)
	s.ask("GET", "/v1/memories", op, "").want(t, http.StatusForbidden)
	s.ask("POST", "/v1/memories", ann, `{"content":"x"}`).want(t, http.StatusNotFound)

	s.ask("POST", "/v1/admin/tenants", op, `{"tenant":"a.b"}`).want(t, http.StatusUnprocessableEntity)
	s.ask("POST", "/v1/admin/tenants", op, `{"tenant":"acme","name":"Acme"}`).want(t, http.StatusCreated)
	if v := s.ask("POST", "/v1/admin/tenants", op, `{"tenant":"acme","name":"Other"}`).want(t, http.StatusOK); v["name"] != "Acme" {
		t.Errorf("created twice: %v", v)
	}
	s.ask("POST", "/v1/admin/tenants", op, `{"tenant":"blue"}`).want(t, http.StatusCreated)
	s.ask("POST", "/v1/memories", ann, `{"content":"x"}`).want(t, http.StatusCreated)

	if v := s.ask("POST", "/v1/admin/tenants/acme/suspend", op, "").want(t, http.StatusOK); v["standing"] != "suspended" {
		t.Errorf("suspended: %v", v)
	}
	if v := s.ask("POST", "/v1/memories", ann, `{"content":"y"}`).want(t, http.StatusForbidden); v["code"] != "tenant_suspended" {
		t.Errorf("a command of a suspended tenant: %v", v)
	}
	s.await(func() bool { return strings.Contains(s.ask("GET", "/v1/memories", ann, "").body, `"content":"x"`) })
	refold(t, exitOK, "tenant", "resume", "acme")
	s.await(func() bool { return s.ask("POST", "/v1/memories", ann, `{"content":"z"}`).status == http.StatusCreated })

	s.ask("PUT", "/v1/admin/tenants/acme/limits", op, `{"per_second":1,"burst":-1}`).want(t, http.StatusUnprocessableEntity)
	s.ask("PUT", "/v1/admin/tenants/acme/limits", op, `{"per_second":1,"burst":1}`).want(t, http.StatusOK)
	s.await(func() bool { return s.ask("GET", "/v1/memories", ann, "").status == http.StatusTooManyRequests })
	s.ask("PUT", "/v1/admin/tenants/acme/limits", op, `{}`).want(t, http.StatusOK)
	s.ask("GET", "/v1/memories", ann, "").want(t, http.StatusOK)

	page := s.ask("GET", "/v1/admin/tenants?limit=1", reads, "").want(t, http.StatusOK)
	if next := page["next_after"]; next != "acme" {
		t.Errorf("next_after %v", next)
	}
	s.await(func() bool {
		v := s.ask("GET", "/v1/admin/tenants/acme", reads, "").want(t, http.StatusOK)
		size, _ := v["size"].(map[string]any)
		rows, _ := size["rows"].(map[string]any)
		return rows["memory"] == 2.0
	})
	if v := s.ask("GET", "/v1/admin/tenants?after=acme", reads, "").want(t, http.StatusOK); len(v["items"].([]any)) != 1 || v["next_after"] != nil {
		t.Errorf("the second page: %v", v)
	}
	s.ask("GET", "/v1/admin/tenants/nobody", reads, "").want(t, http.StatusNotFound)
	s.ask("POST", "/v1/admin/tenants/nobody/suspend", op, "").want(t, http.StatusNotFound)
	if v := s.ask("GET", "/v1/admin/status", reads, "").want(t, http.StatusOK); v["ready"] != true {
		t.Errorf("status %v", v)
	}
	refold(t, exitOK, "verify", "--quick")
	if v := s.ask("GET", "/v1/admin/reports", reads, "").want(t, http.StatusOK); len(v["items"].([]any)) == 0 {
		t.Errorf("reports %v", v)
	}

	refold(t, exitUsage, "tenant", "remove", "acme")
	refold(t, exitOK, "tenant", "remove", "acme", "--yes")
	s.await(func() bool {
		return s.ask("POST", "/v1/memories", ann, `{"content":"y"}`).status == http.StatusNotFound
	})
	if v := s.ask("GET", "/v1/memories", ann, "").want(t, http.StatusOK); len(v["items"].([]any)) != 0 {
		t.Errorf("a removed tenant sees %v", v)
	}
	if v := s.ask("POST", "/v1/admin/tenants", op, `{"tenant":"acme"}`).want(t, http.StatusConflict); v["code"] != "state_forbids" {
		t.Errorf("a removed tenant was created again: %v", v)
	}
	refold(t, exitRefused, "tenant", "suspend", "acme")
	refold(t, exitRefused, "tenant", "suspend", "nobody")
	if v := into[tenantView](t, refold(t, exitOK, "tenant", "show", "acme")); v.Standing != "removed" {
		t.Errorf("shown: %+v", v)
	}
	if v := into[[]tenantView](t, refold(t, exitOK, "tenant", "list")); len(v) != 2 {
		t.Errorf("listed: %+v", v)
	}
}

// Nothing that must stay secret is in the log at its most talkative, in an answer that is no success, or in what
// operators see: no token, no key, no content, no name, no question.
func TestSecretsStayOutOfLogsAndErrors(t *testing.T) {
	s := serving(t, "--verbose")
	secrets := map[string]string{
		"content": "canary-content-5f1c", "metadata": "canary-metadata-77ab", "name of an app": "canary-app-91d2", "category": "canary-category-3e",
		"question": "canary-question-08", "refused content": "canary-refused-4b", "login": "canary-login-c0ffee",
	}
	refold(t, exitOK, "tenant", "create", "acme")
	op := minted(t, "--operator", "--subject", "olga")
	ann := minted(t, "--tenant", "acme", "--subject", secrets["login"])
	reads := minted(t, "--tenant", "acme", "--subject", "bob", "--scope", "apps:read")
	secrets["token"], secrets["token that lacks a scope"], secrets["operator's token"] = ann, reads, op
	secrets["signature of a damaged token"] = strings.Repeat("Zm9yZ2Vk", 11)
	damaged := ann[:strings.LastIndex(ann, ".")+1] + secrets["signature of a damaged token"]

	memory := fmt.Sprintf(`{"content":%q,"app":%q,"categories":[%q],"metadata":{"k":%q}}`, secrets["content"], secrets["name of an app"], secrets["category"], secrets["metadata"])
	for range 20 {
		id := s.ask("POST", "/v1/memories", ann, memory).want(t, http.StatusCreated)["id"]
		s.ask("PATCH", fmt.Sprint("/v1/memories/", id), ann, memory, "If-Match", "*")
		s.ask("GET", fmt.Sprint("/v1/memories/", id), ann, "")
		s.ask("POST", fmt.Sprintf("/v1/memories/%s/pause", id), ann, "", "Traceparent", secrets["question"])
		s.ask("POST", "/v1/memories", reads, memory).want(t, http.StatusForbidden)
		s.ask("POST", "/v1/memories", damaged, memory).want(t, http.StatusUnauthorized)
	}
	question := url.QueryEscape(secrets["question"])
	for _, path := range []string{
		"/v1/memories?search=" + question, "/v1/memories?cursor=" + question, "/v1/memories?limit=" + question, "/v1/memories/" + question,
		"/v1/apps?search=" + question, "/" + question, "/v1/memories?access_token=" + url.QueryEscape(ann), "/problems/" + question,
	} {
		s.ask("GET", path, ann, "", "Refold-Position", secrets["question"])
		s.ask("GET", path, ann, "")
		s.ask("GET", path, "", "")
		s.ask("DELETE", path, ann, "")
	}
	for _, body := range []string{`{"content":"%s","unknown":1}`, `{"content":["%s"]}`, `{"content":"%s"`, `{"content":"%s\u0000"}`, `"%s"`, `{"content":"x","metadata":"%s"}`} {
		s.ask("POST", "/v1/memories", ann, strings.ReplaceAll(body, "%s", secrets["refused content"]))
	}
	for _, authorization := range []string{"Basic " + secrets["token"], "Bearer " + secrets["token"] + " x", secrets["token"], "Bearer  " + secrets["token"]} {
		s.ask("GET", "/v1/memories", "", "", "Authorization", authorization)
	}
	s.ask("POST", "/v1/memories", ann, memory, "Idempotency-Key", secrets["refused content"]+" ")

	// A defect: what readers ask is gone under them, and the database says so in its own words.
	p, err := plane.Open(t.Context(), plane.Config{DataDir: os.Getenv("REFOLD_DATA"), Join: true})
	if err != nil {
		t.Fatal(err)
	}
	owner, err := p.DB.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	row, err := db.New(owner).TenantGet(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Exec(t.Context(), "ALTER FUNCTION edition_1.memory_matching RENAME TO gone"); err != nil {
		t.Fatal(err)
	}
	if h := s.ask("GET", "/v1/memories?search="+question, ann, ""); h.status != http.StatusServiceUnavailable || strings.Contains(h.body, "memory_matching") || strings.Contains(h.body, "function") {
		t.Errorf("a question that the database cannot answer: %+v", h)
	}
	if _, err := owner.Exec(t.Context(), "ALTER FUNCTION edition_1.gone RENAME TO memory_matching"); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}

	seen := map[string]string{"log": s.output.String(), "answers": strings.Join(s.heard, "\n")}
	for _, path := range []string{"/v1/admin/status", "/v1/admin/tenants", "/v1/admin/tenants/acme", "/v1/admin/reports"} {
		seen[path] = s.ask("GET", path, op, "").body
	}
	seen["refold status"], seen["refold tenant show"] = refold(t, exitOK, "status"), refold(t, exitOK, "tenant", "show", "acme")
	if !strings.Contains(seen["log"], "caller refused") || !strings.Contains(seen["log"], "request failed") || len(s.heard) < 60 {
		t.Fatalf("the plane was not busy, or says nothing: %d answers, log:\n%s", len(s.heard), seen["log"])
	}
	keys := map[string][]byte{"the tenant's key": row.IDKey}
	for _, name := range []string{"seal.key", "token.key", "report.key"} {
		text, err := os.ReadFile(filepath.Join(os.Getenv("REFOLD_DATA"), name))
		if err != nil {
			t.Fatal(err)
		}
		if keys[name], err = base64.StdEncoding.DecodeString(strings.TrimSpace(string(text))); err != nil {
			t.Fatal(err)
		}
	}
	for name, key := range keys {
		for form, text := range map[string]string{
			"raw": string(key), "hex": hex.EncodeToString(key), "base64": base64.RawStdEncoding.EncodeToString(key), "base64url": base64.RawURLEncoding.EncodeToString(key),
		} {
			secrets[name+", "+form] = text
		}
	}
	if u, err := url.Parse(os.Getenv("DATABASE_URL")); err == nil {
		if password, ok := u.User.Password(); ok && password != "" {
			secrets["the database's password"] = password
		}
	}
	for where, text := range seen {
		for what, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s holds a secret, %s: %s", where, what, lineOf(text, at))
			}
		}
	}
}

func lineOf(text string, at int) string {
	begin := strings.LastIndexByte(text[:at], '\n') + 1
	line, _, _ := strings.Cut(text[begin:], "\n")
	return line
}
