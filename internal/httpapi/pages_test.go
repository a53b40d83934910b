package httpapi_test

import (
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

func TestStartPage(t *testing.T) {
	s := newStack(t)
	nobody := s.client(t, "a", "alice")
	nobody.token = ""
	v := nobody.do("GET", "/", "").want(t, http.StatusOK)
	links, _ := v["links"].(map[string]any)
	for name, path := range map[string]string{"contract": "/openapi.yaml", "explorer": "/explorer/", "ready": "/readyz"} {
		if link, _ := links[name].(map[string]any); link["href"] != path {
			t.Errorf("%s leads to %v", name, link)
		}
	}
	page := nobody.do("GET", "/", "", "Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	if page.status != http.StatusOK || page.header.Get("Content-Type") != "text/html; charset=utf-8" || page.header.Get("Content-Security-Policy") == "" || !strings.Contains(page.header.Get("Vary"), "Accept") {
		t.Errorf("for a browser: %v", page)
	}
	for _, link := range links {
		href, _ := link.(map[string]any)["href"].(string)
		if a := nobody.do("GET", href, ""); a.status != http.StatusOK {
			t.Errorf("%s: %d", href, a.status)
		}
		if !strings.Contains(page.body, `href="`+href+`"`) {
			t.Errorf("the page has no link to %s", href)
		}
	}
	nobody.do("POST", "/", "{}").want(t, http.StatusMethodNotAllowed)
	nobody.do("GET", "/nowhere", "").want(t, http.StatusNotFound)
}

// TestExplorerAsksNobodyElse: its files are served, name nothing on other servers, make no markup of texts, and their policy
// lets a browser load nothing but them.
func TestExplorerAsksNobodyElse(t *testing.T) {
	s := newStack(t)
	nobody := s.client(t, "a", "alice")
	nobody.token = ""
	if a := nobody.do("GET", "/explorer", ""); a.status != http.StatusPermanentRedirect || a.header.Get("Location") != "/explorer/" {
		t.Errorf("without the slash: %v", a)
	}
	files, err := os.ReadDir("explorer")
	check(t, err)
	for _, file := range files {
		path := "/explorer/" + strings.TrimSuffix(file.Name(), "index.html")
		a := nobody.do("GET", path, "")
		if a.status != http.StatusOK {
			t.Errorf("%s: %d", path, a.status)
		}
		policy := a.header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self'", "frame-ancestors 'none'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: the policy is %q, want %s", path, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") || strings.Contains(policy, "http") {
			t.Errorf("%s: the policy is %q", path, policy)
		}
		if found := regexp.MustCompile(`(https?:)?//[a-z0-9-]+\.[a-z]+|innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|localStorage|sessionStorage| on[a-z]+="|style="`).FindString(a.body); found != "" {
			t.Errorf("%s has %q", path, found)
		}
	}
	for _, path := range []string{"/explorer/../server.go", "/explorer/index.html", "/explorer/none.js"} {
		if a := nobody.do("GET", path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
}
