package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/quota"
)

// TestParametersArePassedOverByNobody: what is misspelt or misshapen is answered with what is wanted instead.
func TestParametersArePassedOverByNobody(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	id := alice.add(`{"content":"m"}`)
	for path, want := range map[string]string{
		"/v1/memories?serach=m":             `unknown parameter: \"serach\": want one of as_app, app_id,`,
		"/v1/memories?limit=1&z=1&a=1":      `unknown parameter: \"a\"`,
		"/v1/memories?Limit=1":              `unknown parameter: \"Limit\"`,
		"/v1/memories?limit=1;x":            "malformed query",
		"/v1/memories?limit=%zz":            "malformed query",
		"/v1/archive-policies/" + id + "?a": `unknown parameter: \"a\": `,
		"/v1/memories?limit=0":              "limit: want 1 to 100",
		"/v1/memories?limit=x":              "limit: want a whole number",
		"/v1/memories?search=a&search=b":    "repeated parameter: search",
		"/v1/memories?state=gone":           "state: want active, paused or archived",
		"/v1/memories?order=up":             "order: want asc or desc",
		"/v1/memories?count=perhaps":        "count: want true or false",
		"/v1/memories?from=yesterday":       "from: want a time such as 2026-01-31T12:00:00Z",
		"/v1/memories?app_id=x":             "app_id: want a UUID",
		"/v1/memories/search":               "missing parameter: q",
		"/v1/memories/search?q=":            "q: want a text that is not empty",
		"/v1/memories/search?q=m&recency=2": "recency: want 0 to 1",
		"/v1/memories/search?q=m&recency=x": "recency: want a number",
		"/v1/changes?from=then":             "from: want now or begin",
		"/readyz?for=all":                   "for: want reads or commands",
		"/healthz?x=1":                      `unknown parameter: \"x\": this operation takes none`,
	} {
		if a := alice.do("GET", path, ""); a.status != http.StatusBadRequest || !strings.Contains(a.body, `"code":"invalid_parameter"`) || !strings.Contains(a.body, want) {
			t.Errorf("GET %s: %d %s, want %q", path, a.status, a.body, want)
		}
	}
	before := s.lastSeq(t)
	alice.do("POST", "/v1/memories?dry_run=true", `{"content":"not meant"}`).want(t, http.StatusBadRequest)
	alice.do("DELETE", "/v1/memories/"+id+"?soft=1", "").want(t, http.StatusBadRequest)
	if after := s.lastSeq(t); after != before {
		t.Errorf("commands with unknown parameters made %d events", after-before)
	}
}

// TestWhatIsEmptyIsAList: the contract has no null there.
func TestWhatIsEmptyIsAList(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	a := alice.do("POST", "/v1/memories", `{"content":"m","categories":[]}`)
	id, _ := a.want(t, http.StatusCreated)["id"].(string)
	for _, a := range []answer{
		a, alice.do("GET", "/v1/memories/"+id, ""), alice.do("GET", "/v1/memories", ""),
		alice.do("PATCH", "/v1/memories/"+id, `{"categories":[]}`), alice.do("GET", "/v1/memories/search?q=m", ""),
	} {
		if strings.Contains(a.body, "null") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
}

// TestHeadIsGetWithoutABody, its validators included.
func TestHeadIsGetWithoutABody(t *testing.T) {
	s := newStack(t)
	alice := s.client(t, "a", "alice")
	path := "/v1/memories/" + alice.add(`{"content":"m"}`)
	get := alice.do("GET", path, "")
	tag := get.header.Get("Etag")
	if head := alice.do("HEAD", path, ""); tag == "" || head.status != http.StatusOK || head.header.Get("Etag") != tag {
		t.Errorf("HEAD: %d with ETag %q, want %q", head.status, head.header.Get("Etag"), tag)
	}
	if again := alice.do("HEAD", path, "", "If-None-Match", tag); again.status != http.StatusNotModified {
		t.Errorf("HEAD with the ETag that it gave: %d", again.status)
	}
}

// TestTheEndOfAServerAnswersIdlePolls: nobody has to wait for their time to be over.
func TestTheEndOfAServerAnswersIdlePolls(t *testing.T) {
	s := newServed(t)
	s.config.Limits = quota.New(quota.Limits{Listeners: 1})
	edge, url := s.replica(t)
	token := s.token(t, "a", "alice", 0)
	poll := func(seconds string) (status int, body string) {
		response, err := request(context.WithoutCancel(t.Context()), t, "GET", url+"/v1/changes?from=now", token, "", "Prefer", "wait="+seconds)
		if err != nil {
			return 0, err.Error()
		}
		text, err := io.ReadAll(response.Body)
		return response.StatusCode, fmt.Sprint(string(text), err)
	}
	polled := make(chan string, 1)
	go func() {
		for {
			if status, body := poll("30"); status != http.StatusTooManyRequests {
				polled <- body
				return
			}
		}
	}()
	for status := 0; status != http.StatusTooManyRequests; { // then the other one has the only place
		status, _ = poll("0")
	}
	ending, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	check(t, edge.Shutdown(ending))
	if got := <-polled; !strings.Contains(got, `"items":[]`) {
		t.Errorf("an idle poll at the end of the server: %s", got)
	}
}
