package httpapi_test

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/quota"
)

// listening runs the edge as a process does, and returns its address.
func (s *stack) listening(t *testing.T) string {
	t.Helper()
	server := httpapi.Server(s.config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { _ = server.Close() })
	return "http://" + listener.Addr().String()
}

// raw asks without what Go's client does by itself about encodings.
func (c *client) raw(method, url string, headers ...string) *http.Response {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, url, nil)
	check(c.t, err)
	r.Header.Set("Authorization", "Bearer "+c.token)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	answer, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
	check(c.t, err)
	c.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer
}

func unzipped(t *testing.T, a *http.Response) string {
	t.Helper()
	in := io.Reader(a.Body)
	if a.Header.Get("Content-Encoding") == "gzip" {
		var err error
		in, err = gzip.NewReader(a.Body)
		check(t, err)
	}
	text, err := io.ReadAll(in)
	check(t, err)
	return string(text)
}

func TestAnswersAreCompressed(t *testing.T) {
	s := newStack(t)
	url := s.listening(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"` + strings.Repeat("tea and biscuits ", 500) + `"}`)
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK) // can be read
	one := url + "/v1/memories/" + id
	for accept, want := range map[string]string{
		"gzip": "gzip", "br, GZIP;q=0.5": "gzip", "*": "gzip", "deflate, *;q=0.1": "gzip",
		"": "", "br": "", "gzip;q=0": "", "*;q=0": "", "gzip;q=0, *": "", "identity": "",
	} {
		for _, path := range []string{one, url + "/v1/memories", url + "/openapi.yaml"} {
			a := alice.raw("GET", path, "Accept-Encoding", accept)
			if got := a.Header.Get("Content-Encoding"); got != want || a.Header.Get("Vary") != "Accept-Encoding" {
				t.Errorf("%q: %s is encoded as %q, varies by %q", accept, path, got, a.Header.Get("Vary"))
			}
			plain := alice.raw("GET", path)
			if got, want := unzipped(t, a), unzipped(t, plain); got != want {
				t.Errorf("%q: another answer: %.200s, want %.200s", accept, got, want)
			}
			if head := alice.raw("HEAD", path, "Accept-Encoding", accept); head.Header.Get("Content-Encoding") != want || head.Header.Get("Etag") != a.Header.Get("Etag") {
				t.Errorf("%q: HEAD answers %v, GET %v", accept, head.Header, a.Header)
			}
		}
	}

	// The compressed answer is another representation, with a validator of its own, of the same version.
	plain, zipped := alice.raw("GET", one).Header.Get("Etag"), alice.raw("GET", one, "Accept-Encoding", "gzip").Header.Get("Etag")
	if !regexp.MustCompile(`^"1\.[A-Za-z0-9_-]{12}"$`).MatchString(plain) || zipped != strings.TrimSuffix(plain, `"`)+`-gzip"` {
		t.Errorf("validators: %s and %s", plain, zipped)
	}
	for _, c := range []struct{ known, accept, tag string }{{plain, "", plain}, {zipped, "gzip", zipped}, {plain, "gzip", plain}, {"W/" + zipped, "gzip", zipped}} {
		a := alice.raw("GET", one, "If-None-Match", c.known, "Accept-Encoding", c.accept)
		if a.StatusCode != http.StatusNotModified || a.Header.Get("Etag") != c.tag || a.Header.Get("Content-Encoding") != "" || a.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%+v: %d %v", c, a.StatusCode, a.Header)
		}
	}
	alice.do("PATCH", "/v1/memories/"+id, `{"content":"short"}`, "If-Match", zipped).want(t, http.StatusOK)
	alice.do("PATCH", "/v1/memories/"+id, `{"content":"long"}`, "If-Match", zipped).want(t, http.StatusPreconditionFailed)
	alice.do("GET", "/v1/memories/"+id, "").want(t, http.StatusOK)
	if a := alice.raw("GET", one, "Accept-Encoding", "gzip"); a.Header.Get("Content-Encoding") != "" || strings.Contains(a.Header.Get("Etag"), "gzip") || a.ContentLength <= 0 {
		t.Errorf("a short answer: %v, %d bytes", a.Header, a.ContentLength)
	}
	if a := alice.raw("GET", url+"/v1/export", "Accept-Encoding", "gzip"); a.Header.Get("Content-Encoding") != "" || !strings.HasPrefix(unzipped(t, a), "PK") {
		t.Errorf("an archive: %v", a.Header)
	}
}

// TestStreamsAreNotHeldBack: a listener that takes gzip hears of a change as soon as one that does not.
func TestStreamsAreNotHeldBack(t *testing.T) {
	s := newStack(t)
	s.config.Heartbeat = time.Minute
	url := s.listening(t)
	alice := s.client(t, "a", "alice")
	alice.add(`{"content":"x"}`)
	a := alice.raw("GET", url+"/v1/changes?from=begin", "Accept", "text/event-stream", "Accept-Encoding", "gzip")
	if a.Header.Get("Content-Encoding") != "" {
		t.Fatalf("the stream is compressed: %v", a.Header)
	}
	lines := bufio.NewScanner(a.Body)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			return
		}
	}
	t.Errorf("the stream ended: %v", lines.Err())
}

func TestHeadersThatAreTooLarge(t *testing.T) {
	s := newStack(t)
	url := s.listening(t)
	alice := s.client(t, "a", "alice")
	long := strings.Repeat("x", 33<<10)
	for path, header := range map[string]string{"/v1/memories": long, "/v1/memories?q=" + long: "", "/healthz": long} {
		a := alice.raw("GET", url+path, "X-Long", header)
		var p struct{ Type, Detail string }
		if err := json.Unmarshal([]byte(unzipped(t, a)), &p); err != nil || a.StatusCode != 431 || a.Header.Get("Content-Type") != "application/problem+json" || p.Type != "/problems/headers_too_large" {
			t.Errorf("%.20s: %d %v %+v, %v", path, a.StatusCode, a.Header, p, err)
		}
	}
	old := alice.raw("GET", url+"/api/v1/stats/", "X-Long", long)
	if body := unzipped(t, old); old.StatusCode != 431 || !strings.Contains(body, `"detail"`) {
		t.Errorf("an old path: %d %s", old.StatusCode, body)
	}
	if a := alice.raw("GET", url+"/healthz", "X-Long", strings.Repeat("x", 16<<10)); a.StatusCode != http.StatusOK {
		t.Errorf("16 KiB: %d", a.StatusCode)
	}
	// What the standard library does not read at all it answers by itself.
	if a := alice.raw("GET", url+"/healthz", "X-Long", strings.Repeat("x", 256<<10)); a.StatusCode != 431 {
		t.Errorf("256 KiB: %d", a.StatusCode)
	}
}

// TestLimitsAreSaidAlways: a client need not run into its limit to know it.
func TestLimitsAreSaidAlways(t *testing.T) {
	s := newStack(t)
	s.config.Limits = quota.New(quota.Limits{PerSecond: 0.5, Burst: 4, InFlight: 9})
	s = s.rebuilt(t)
	alice := s.client(t, "a", "alice")
	said := func(a answer) [2]string {
		return [2]string{a.header.Get("Ratelimit-Policy"), a.header.Get("Ratelimit")}
	}
	for i, path := range []string{"/v1/memories", "/v1/memories/no-such", "/v1/memories?nonsense=1", "/api/v1/memories/"} {
		got := said(alice.do("GET", path, ""))
		want := regexp.MustCompile(`^"requests";r=` + string(rune('3'-i)) + `;t=[1-8]$`)
		if got[0] != `"requests";q=4;w=8` || !want.MatchString(got[1]) {
			t.Errorf("%s: %v", path, got)
		}
	}
	last := alice.do("GET", "/v1/memories", "")
	last.want(t, http.StatusTooManyRequests)
	if got := said(last); got[0] != `"requests";q=4;w=8` || !strings.HasPrefix(got[1], `"requests";r=0;t=`) || last.header.Get("Retry-After") == "" {
		t.Errorf("at the limit: %v", last.header)
	}
	if got := said(s.client(t, "b", "alice").do("GET", "/v1/memories", "")); !strings.HasPrefix(got[1], `"requests";r=3;`) {
		t.Errorf("another tenant: %v", got)
	}
	if got := said(alice.do("GET", "/healthz", "")); got != [2]string{} {
		t.Errorf("without a tenant: %v", got)
	}
	s.config.Limits = quota.New(quota.Limits{InFlight: 9})
	s = s.rebuilt(t)
	if got := said(s.client(t, "a", "alice").do("GET", "/v1/memories", "")); got != [2]string{`"in-flight";q=9`, `"in-flight";r=8`} {
		t.Errorf("without a rate: %v", got)
	}
}

// TestTooLargeBodiesEndTheConnection: nobody reads to its end what is refused for its size.
func TestTooLargeBodiesEndTheConnection(t *testing.T) {
	s := newStack(t)
	url := s.listening(t)
	alice := s.client(t, "a", "alice")
	for _, accept := range []string{"", "gzip"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/memories", strings.NewReader(`{"content":"`+strings.Repeat("x", httpapi.BodyBytesMax)+`"}`))
		check(t, err)
		r.Header.Set("Authorization", "Bearer "+alice.token)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Accept-Encoding", accept)
		a, err := (&http.Transport{DisableCompression: true}).RoundTrip(r)
		check(t, err)
		defer a.Body.Close()
		if a.StatusCode != http.StatusRequestEntityTooLarge || !a.Close {
			t.Errorf("%q: %d, closes %v", accept, a.StatusCode, a.Close)
		}
	}
}
