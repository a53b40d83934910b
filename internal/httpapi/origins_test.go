package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/httpapi"
)

// A page of a trusted origin may ask before it calls, without a token, and read what it is answered; a page of any other
// origin learns that it may not, and a token is wanted of both.
func TestPagesOfTrustedOriginsMayCall(t *testing.T) {
	s := newStack(t)
	s.config.Origins = []string{"https://ui.example", "http://localhost:3000"}
	handler := httpapi.Handler(s.config)
	call := func(method, path, origin string, headers ...string) *http.Response {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(""))
		r.Header.Set("Origin", origin)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Result()
	}
	for _, path := range []string{"/v1/memories", "/api/v1/memories/filter", "/v1/nowhere"} {
		asked := call(http.MethodOptions, path, "http://localhost:3000", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,idempotency-key")
		for header, want := range map[string]string{
			"Access-Control-Allow-Origin": "http://localhost:3000", "Access-Control-Allow-Methods": "PATCH", "Access-Control-Allow-Headers": "Authorization", "Vary": "Origin",
		} {
			if got := asked.Header.Get(header); asked.StatusCode != http.StatusNoContent || !strings.Contains(got, want) {
				t.Errorf("%s: a page that asks: %d, %s: %q, want %q", path, asked.StatusCode, header, got, want)
			}
		}
		if asked.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: cookies are not wanted", path)
		}
		for _, other := range []string{"https://evil.example", "https://ui.example.evil.example", "http://ui.example", "null"} {
			for _, method := range []string{http.MethodOptions, http.MethodGet} {
				if a := call(method, path, other, "Access-Control-Request-Method", "POST"); a.Header.Get("Access-Control-Allow-Origin") != "" || a.Header.Get("Vary") != "Origin" {
					t.Errorf("%s %s for a page of %s: %v", method, path, other, a.Header)
				}
			}
		}
	}
	refused := call(http.MethodGet, "/v1/memories", "https://ui.example")
	if refused.StatusCode != http.StatusUnauthorized || refused.Header.Get("Access-Control-Allow-Origin") != "https://ui.example" {
		t.Errorf("without a token: %d %v, want 401 that the page may read", refused.StatusCode, refused.Header)
	}
	answer := call(http.MethodGet, "/v1/memories", "https://ui.example", "Authorization", "Bearer "+s.client(t, "a", "alice").token)
	if answer.StatusCode != http.StatusOK || !strings.Contains(answer.Header.Get("Access-Control-Expose-Headers"), "Refold-Position") {
		t.Errorf("with a token: %d %v, want 200 whose position the page may read", answer.StatusCode, answer.Header)
	}
}

func TestOrigins(t *testing.T) {
	for origin, ok := range map[string]bool{
		"https://ui.example": true, "http://localhost:3000": true, "http://127.0.0.1:3000": true,
		"": false, "*": false, "null": false, "ui.example": false, "https://ui.example/": false, "https://UI.example": false, "ftp://ui.example": false, "https://ui.example/x": false, "https://u@ui.example": false,
	} {
		if err := httpapi.CheckOrigin(origin); (err == nil) != ok {
			t.Errorf("%q: %v, want ok = %v", origin, err, ok)
		}
	}
}
