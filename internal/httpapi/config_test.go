package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/config"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/journal"
)

// settings are those of an answer.
func settings(t *testing.T, a answer) (got, secrets any) {
	t.Helper()
	v := a.want(t, http.StatusOK)
	return v["settings"], v["secrets"]
}

func TestConfig(t *testing.T) {
	s := newStack(t)
	alice, bob, other := s.client(t, "a", "alice"), s.client(t, "a", "bob"), s.client(t, "b", "alice")
	none := alice.do("GET", "/v1/config", "")
	if v := none.want(t, http.StatusOK); v["version"] != 0.0 || len(v["settings"].(map[string]any)) != 0 || !strings.HasPrefix(none.header.Get("Etag"), `"0.`) {
		t.Errorf("nothing set: %v, %v", v, none.header)
	}
	const one = `{"settings":{"mem0":{"llm":{"provider":"p","config":{"temperature":0.10,"api_key":"first-canary"}}}}}`
	alice.do("PUT", "/v1/config", one, "If-Match", "").want(t, http.StatusPreconditionRequired)
	alice.do("PUT", "/v1/config", one, "If-Match", `"7"`).want(t, http.StatusPreconditionFailed)
	alice.do("PUT", "/v1/config", one, "If-Match", none.header.Get("Etag"), "Idempotency-Key", "k").want(t, http.StatusOK)
	alice.do("PUT", "/v1/config", one, "If-Match", `"0"`, "Idempotency-Key", "k").want(t, http.StatusOK) // the same again
	alice.do("PUT", "/v1/config", strings.Replace(one, "first", "other", 1), "If-Match", "*", "Idempotency-Key", "k").want(t, http.StatusUnprocessableEntity)
	alice.do("PUT", "/v1/config", one, "If-Match", `"0"`).want(t, http.StatusPreconditionFailed)
	read := alice.do("GET", "/v1/config", "")
	got, secrets := settings(t, read)
	want := map[string]any{"mem0": map[string]any{"llm": map[string]any{"provider": "p", "config": map[string]any{"temperature": 0.1, "api_key": "********"}}}}
	if diff := cmp.Diff(any(want), got); diff != "" {
		t.Error(diff)
	}
	const place = "/mem0/llm/config/api_key"
	sign := secrets.(map[string]any)[place]
	if len(secrets.(map[string]any)) != 1 || len(fmt.Sprint(sign)) != 12 {
		t.Errorf("secrets: %v", secrets)
	}
	if a := alice.do("GET", "/v1/config", "", "If-None-Match", read.header.Get("Etag")); a.status != http.StatusNotModified {
		t.Errorf("as it was: %v", a)
	}
	// Another user of the tenant has the same, and may send back what was read: the secret stays.
	bob.position = alice.position
	bob.do("PATCH", "/v1/config", `{"settings":{"mem0":{"llm":{"config":{"api_key":"********","model":"m"}}}}}`, "If-Match", `"1"`).want(t, http.StatusOK)
	if _, kept := settings(t, bob.do("GET", "/v1/config", "")); kept.(map[string]any)[place] != sign {
		t.Errorf("sent back: %v, want %v", kept, sign)
	}
	bob.do("PATCH", "/v1/config", `{"settings":{"mem0":{"llm":{"config":{"api_key":"second-canary"}}}}}`, "If-Match", "*").want(t, http.StatusOK)
	if _, changed := settings(t, bob.do("GET", "/v1/config", "")); changed.(map[string]any)[place] == sign {
		t.Error("another secret has the same sign")
	}
	if v := other.do("GET", "/v1/config", "").want(t, http.StatusOK); v["version"] != 0.0 {
		t.Errorf("another tenant's: %v", v)
	}
	other.do("PATCH", "/v1/config", `{"settings":{"key":"first-canary"}}`, "If-Match", `"0"`).want(t, http.StatusOK)
	for body, pointer := range map[string]string{
		`{"settings":{"api_key":7}}`:                                          "/settings/api_key",
		`{"settings":{"a":[{"token":{"x":true}}],"b":1}}`:                     "",
		`{"settings":{"note":"sealed:x"}}`:                                    "/settings/note",
		`{"settings":{"x":{"api_key":"********"}}}`:                           "",
		`{"settings":{"big":"` + strings.Repeat("a", config.BytesMax) + `"}}`: "",
		`{"settings":7}`:    "",
		`{"secrets":{}}`:    "/secrets",
		`{"settings":null}`: "/settings",
	} {
		a := alice.do("PATCH", "/v1/config", body, "If-Match", "*")
		if pointer == "" && strings.Contains(body, `"b":1`) { // a value below a secret's name has a name of its own
			a.want(t, http.StatusOK)
			continue
		}
		if p := a.want(t, http.StatusUnprocessableEntity); pointer != "" && p["pointer"] != pointer {
			t.Errorf("%.60s: %v, want %s", body, p, pointer)
		}
	}
	s.client(t, "a", "alice", auth.ConfigRead).do("PATCH", "/v1/config", `{"settings":{}}`, "If-Match", "*").want(t, http.StatusForbidden)
	s.client(t, "a", "alice", auth.ConfigWrite).do("GET", "/v1/config", "").want(t, http.StatusForbidden)
}

// lockedBuffer keeps what is logged by several goroutines.
type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// realCanary is in every form.
const realCanary = "CANARY"

// realForms are secrets as they come in the settings of real programs, with CANARY in each.
func realForms(t *testing.T) (all map[string]json.RawMessage) {
	t.Helper()
	text, err := os.ReadFile("../config/testdata/secrets.json")
	check(t, err)
	check(t, json.Unmarshal(text, &all))
	return all
}

// TestSecretsStayIn looks for secrets in every place that a config reaches: answers of both interfaces, to those who set
// them, log, events, rows, the feed of changes and exports. They are in the events, sealed, and only there can they be
// opened with the key.
func TestSecretsStayIn(t *testing.T) {
	s := newStack(t)
	log := &lockedBuffer{}
	s.config.Logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.handler = httpapi.Handler(s.config)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"x"}`)
	const canary = "canary-of-a-secret"
	var seen []string
	ask := func(method, path, body string, headers ...string) answer {
		a := alice.do(method, path, body, headers...)
		seen = append(seen, method+" "+path+": "+a.body+fmt.Sprint(a.header))
		return a
	}
	ask("PUT", "/v1/config", `{"settings":{"api_key":"`+canary+`","url":"pg://u:`+canary+`@h/d","l":[{"password":"`+canary+`"}]}}`, "If-Match", "*").want(t, http.StatusOK)
	ask("PATCH", "/v1/config", `{"settings":{"token":"`+canary+`","api_key":{"x":"`+canary+`"},"secret":7}}`, "If-Match", "*").want(t, http.StatusUnprocessableEntity)
	ask("PATCH", "/v1/config", `{"settings":{"token":"`+canary+`"}}`, "If-Match", `"9"`).want(t, http.StatusPreconditionFailed)
	ask("PUT", "/api/v1/config/mem0/llm", `{"provider":"p","config":{"api_key":"`+canary+`"}}`).want(t, http.StatusOK)
	ask("PATCH", "/api/v1/config", `{"mem0":{"embedder":{"config":{"api_key":"`+canary+`"}}}}`).want(t, http.StatusOK)
	ask("GET", "/v1/config", "").want(t, http.StatusOK)
	ask("GET", "/api/v1/config/", "").want(t, http.StatusOK)
	ask("GET", "/api/v1/config/mem0/llm", "").want(t, http.StatusOK)
	owner, err := s.db.OwnerOf(t.Context(), s.edition)
	check(t, err)
	stored := func() []string {
		rows, err := owner.Query(t.Context(), "SELECT c::text FROM config c")
		check(t, err)
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		check(t, err)
		return texts
	}
	for name, settings := range realForms(t) {
		ask("PUT", "/v1/config", `{"settings":`+string(settings)+`}`, "If-Match", `"1"`).want(t, http.StatusPreconditionFailed)
		ask("PUT", "/v1/config", `{"settings":`+string(settings)+`}`, "If-Match", "*").want(t, http.StatusOK)
		if a := ask("GET", "/v1/config", ""); !strings.Contains(a.body, config.Concealed) {
			t.Errorf("%s: %s", name, a.body)
		}
		seen = append(seen, stored()...)
	}
	ask("GET", "/v1/changes?from=begin", "").want(t, http.StatusOK)
	ask("GET", "/v1/tenant/changes?from=begin", "").want(t, http.StatusOK)
	ask("GET", "/v1/export", "")

	opened := 0
	check(t, journal.Read(t.Context(), s.journal, 0, s.lastSeq(t), func(e *envelope.Event) error {
		seen = append(seen, "event: "+string(e.Data)+fmt.Sprint(e))
		payload, err := events.Decode(e.Kind, e.Data)
		set, ok := payload.(*events.ConfigSet)
		if !ok {
			return err
		}
		_, _, err = config.Visible(set.Private.Settings, func(sealed string) string {
			text, err := s.config.Sealer.Open("config", strings.TrimPrefix(sealed, "sealed:"), "a")
			if err != nil || !strings.Contains(string(text), canary) && !strings.Contains(string(text), realCanary) {
				t.Errorf("%s holds %q, %v", sealed, text, err)
			}
			if _, err := s.config.Sealer.Open("config", strings.TrimPrefix(sealed, "sealed:"), "b"); err == nil {
				t.Error("another tenant's name opens the seal")
			}
			opened++
			return ""
		})
		return err
	}))
	if opened < 18 {
		t.Errorf("only %d secrets are kept", opened)
	}
	texts := stored()
	if len(texts) != 1 || !strings.Contains(texts[0], "sealed:") {
		t.Errorf("rows: %v", texts)
	}
	s.client(t, "a", "alice", auth.ConfigRead).do("PATCH", "/v1/config", `{"settings":{"api_key":"`+canary+`"}}`, "If-Match", "*").want(t, http.StatusForbidden) // is logged
	seen = append(append(seen, texts...), log.String())
	for _, text := range seen {
		if strings.Contains(text, canary) || strings.Contains(text, realCanary) {
			t.Errorf("a secret is in %.300s", text)
		}
	}
	if log.Len() == 0 {
		t.Error("nothing was logged at all")
	}
}

// The old paths of the config, in the old shapes, for the tenant alone.
func TestOldConfig(t *testing.T) {
	s := newStack(t)
	alice, bob := s.client(t, "a", "alice"), s.client(t, "a", "bob")
	do := func(method, path, body string) answer {
		alice.position = ""
		return alice.do(method, "/api/v1/config"+path, body, "If-Match", "")
	}
	do("GET", "/", "").like(t, 200, "config_none")
	do("GET", "/mem0/llm", "").like(t, 200, "config_part_none")
	do("PUT", "/", `{"openmemory":{"custom_instructions":"be brief"},"mem0":{"llm":{"provider":"openai","config":{"model":"m","temperature":0.1,"max_tokens":2000,"api_key":"canary"}}}}`).like(t, 200, "config")
	do("GET", "", "").like(t, 200, "config")
	do("GET", "/mem0/llm", "").like(t, 200, "config_llm")
	do("PUT", "/mem0/llm", `{"provider":"openai","config":{"model":"m","temperature":0.1,"max_tokens":2000,"api_key":"********"}}`).like(t, 200, "config_llm")
	do("PUT", "/openmemory", `{"custom_instructions":"be brief"}`).like(t, 200, "config_openmemory")
	do("GET", "/openmemory", "").like(t, 200, "config_openmemory")
	do("PUT", "/mem0/llm", `{"provider":"p","config":{"token":"********"}}`).want(t, 422)
	do("PUT", "/mem0/llm", `[]`).want(t, 422)
	do("PUT", "/mem0/graph_store", `{"provider":"neo4j","config":{"url":"bolt://u:canary@h"}}`).want(t, 200)
	do("DELETE", "/mem0/graph_store", "").want(t, 200)
	do("PATCH", "/", `{"openmemory":{"custom_instructions":null}}`).want(t, 200)
	alice.do("PATCH", "/v1/config", `{"settings":{"ours":1}}`, "If-Match", "*").want(t, 200)
	do("POST", "/reset", "").like(t, 200, "config_none")
	bob.position = ""
	if got, secrets := settings(t, bob.do("GET", "/v1/config", "")); !cmp.Equal(got, any(map[string]any{"ours": 1.0})) || len(secrets.(map[string]any)) != 0 {
		t.Errorf("after the reset: %v, %v", got, secrets)
	}
	s.client(t, "b", "alice").do("GET", "/api/v1/config", "").like(t, 200, "config_none")
	for _, c := range []*client{s.client(t, "a", "alice", auth.MemoriesRead), s.client(t, "a", "alice", auth.ConfigRead)} {
		c.do("POST", "/api/v1/config/reset", "").want(t, http.StatusForbidden)
	}
	s.client(t, "a", "alice", auth.MemoriesRead).do("GET", "/api/v1/config", "").want(t, http.StatusForbidden)
}
