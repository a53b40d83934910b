package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// proxied is `refold ui-proxy` before a plane.
func proxied(t *testing.T, s *served, tokenFile string) (url string) {
	t.Helper()
	output := &journalOf{}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"ui-proxy", "--listen", "127.0.0.1:0", "--upstream", s.url, "--token-file", tokenFile}, output, output)
	}()
	t.Cleanup(func() {
		stop()
		if code := <-done; code != exitOK {
			t.Errorf("the proxy ended with %d: %s", code, output)
		}
	})
	s.await(func() bool {
		_, after, _ := strings.Cut(output.String(), "ui-proxy serves ")
		url, _, _ = strings.Cut(after, " ")
		return url != ""
	})
	return url
}

// TestUserInterfaceBehindTheProxy sends the requests of OpenMemory's user interface, which has no login, as a browser does:
// from its page, with a preflight before what is not simple.
func TestUserInterfaceBehindTheProxy(t *testing.T) {
	s := serving(t)
	refold(t, exitOK, "tenant", "create", "acme")
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(minted(t, "--tenant", "acme", "--subject", "ann", "--scope", uiScopes))
	url := proxied(t, s, file)
	ask := func(method, path, body string, headers ...string) (*http.Response, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(headers); i += 2 {
			if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
				r.Host = headers[i+1]
			}
		}
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = a.Body.Close() }()
		content, err := io.ReadAll(a.Body)
		if err != nil {
			t.Fatal(err)
		}
		return a, string(content)
	}
	const page = "http://localhost:3000"
	text, err := os.ReadFile("../../internal/httpapi/testdata/openmemory_ui.json")
	if err != nil {
		t.Fatal(err)
	}
	var requests []struct {
		Name, Method, Path string
		Body               json.RawMessage
	}
	if err := json.Unmarshal(text, &requests); err != nil {
		t.Fatal(err)
	}
	sent, ids := 0, strings.NewReplacer()
	for _, r := range requests {
		path, body := "/api/v1/"+ids.Replace(strings.ReplaceAll(r.Path, "$user", "ann")), ids.Replace(strings.ReplaceAll(string(r.Body), "$user", "ann"))
		if strings.Contains(path+body, "$") {
			continue
		}
		headers := []string{"Origin", page, "Sec-Fetch-Site", "same-site"}
		if body != "" {
			headers = append(headers, "Content-Type", "application/json")
			before, _ := ask("OPTIONS", path, "", "Origin", page, "Access-Control-Request-Method", r.Method, "Access-Control-Request-Headers", "content-type")
			if before.StatusCode != http.StatusNoContent || !strings.Contains(before.Header.Get("Access-Control-Allow-Methods"), r.Method) || before.Header.Get("Access-Control-Allow-Headers") != "Content-Type" {
				t.Errorf("%s: preflight %v", r.Name, before)
			}
		}
		a, content := ask(r.Method, path, body, headers...)
		if a.StatusCode != http.StatusOK || len(a.Header.Values("Access-Control-Allow-Origin")) != 1 || a.Header.Get("Access-Control-Allow-Origin") != page {
			t.Errorf("%s: %d %v %s", r.Name, a.StatusCode, a.Header, content)
		}
		sent++
		if r.Name == "create" {
			var made struct {
				ID    string `json:"id"`
				AppID string `json:"app_id"`
			}
			if err := json.Unmarshal([]byte(content), &made); err != nil {
				t.Fatal(err)
			}
			ids = strings.NewReplacer("$memory", made.ID, "$app", made.AppID)
		}
	}
	if sent != len(requests) {
		t.Errorf("%d of %d requests were sent", sent, len(requests))
	}

	for what, headers := range map[string][]string{
		"a page of another origin":  {"Origin", "https://evil.example"},
		"a page without an origin":  {"Sec-Fetch-Site", "cross-site"},
		"another name (rebinding)":  {"Host", "evil.example"},
		"a name that begins so":     {"Host", "localhost.evil.example:8765"},
		"an origin that begins so":  {"Origin", page + ".evil.example"},
		"the origin that is hidden": {"Origin", "null"},
	} {
		if a, content := ask("GET", "/api/v1/memories/", "", headers...); a.StatusCode != http.StatusForbidden || strings.Contains(content, "items") || a.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v %s", what, a.StatusCode, a.Header, content)
		}
	}
	for _, path := range []string{"/v1/memories", "/", "/api/v1", "/api/v1/../../v1/memories", "/v1/admin/status"} {
		if a, content := ask("GET", path, ""); a.StatusCode == http.StatusOK {
			t.Errorf("%s: %d %s", path, a.StatusCode, content)
		}
	}
	if a, _ := ask("GET", "/api/v1/memories/", "", "Authorization", "Bearer mine"); a.StatusCode != http.StatusOK {
		t.Errorf("a token of the page: %d", a.StatusCode)
	}
	write("none at all")
	if a, content := ask("GET", "/api/v1/memories/", ""); a.StatusCode != http.StatusBadGateway || strings.Contains(content, "none at all") {
		t.Errorf("without a token: %d %s", a.StatusCode, content)
	}
	write("broken")
	if a, _ := ask("GET", "/api/v1/memories/", "", "Origin", page); a.StatusCode != http.StatusUnauthorized || a.Header.Get("Access-Control-Allow-Origin") != page {
		t.Errorf("with a broken token: %d", a.StatusCode)
	}

	for want, args := range map[string][]string{
		"--token-file is missing": nil,
		"use a loopback address":  {"--token-file", file, "--listen", "0.0.0.0:0"},
		"--upstream":              {"--token-file", file, "--upstream", "memories.example"},
		"origin":                  {"--token-file", file, "--origin", "*"},
	} {
		var out bytes.Buffer
		if got := run(t.Context(), append([]string{"ui-proxy"}, args...), &out, &out); got != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%v: %d %s", args, got, &out)
		}
	}
}
