package refoldhttp_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/clients/go/refoldhttp"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/testenv"
	"github.com/refold-dev/refold/internal/writer"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve runs a plane with its HTTP edge and returns the address and a token for a user.
func serve(t *testing.T) (url, token string) {
	t.Helper()
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
	_, _, err = p.CreateTenant(t.Context(), "acme", "Acme", "operator")
	check(t, err)

	key, err := auth.LocalKey(t.TempDir())
	check(t, err)
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	check(t, err)
	sealer, err := reader.NewSealer(make([]byte, 32))
	check(t, err)
	rows := reader.New(p.Live, p.DB)
	server := httptest.NewServer(httpapi.Handler(httpapi.Config{
		Verifier: verifier, Writer: writer.New(p.Directory, p.Journal.Shard, rows), Reader: rows,
		Changes: changes.New(p.Journal.Shard, rows), Sealer: sealer, Health: p,
	}))
	t.Cleanup(server.Close)
	token, err = key.Mint(auth.TokenRequest{Tenant: "acme", Subject: "ann", Scopes: auth.AllScopes()})
	check(t, err)
	return server.URL, token
}

func to[T any](v T) *T { return &v }

// settled makes commands wait until questions see them.
var settled = to("wait=20")

// user is the client of one user.
type user struct {
	t *testing.T
	*refoldhttp.ClientWithResponses
}

// add adds a memory of one category.
func (u user) add(content, category string) refoldhttp.Memory {
	u.t.Helper()
	r, err := u.CreateMemoryWithResponse(u.t.Context(), &refoldhttp.CreateMemoryParams{Prefer: settled},
		refoldhttp.CreateMemory{Content: content, App: to("go"), Categories: &[]string{category}})
	check(u.t, err)
	if r.JSON201 == nil {
		u.t.Fatalf("add: status %d: %s", r.StatusCode(), r.Body)
	}
	return *r.JSON201
}

// refused fails unless err is the problem with this code and status.
func refused(t *testing.T, err error, code string, status int) *refoldhttp.ProblemError {
	t.Helper()
	var problem *refoldhttp.ProblemError
	if !errors.As(err, &problem) || problem.Code != code || problem.Status != status {
		t.Fatalf("got the error %v, want the problem %d %s", err, status, code)
	}
	return problem
}

// TestClient uses every kind of operation over TCP against a whole plane.
func TestClient(t *testing.T) {
	t.Parallel()
	url, token := serve(t)
	for name, uses := range map[string]func(*testing.T, user){
		"add and get": func(t *testing.T, u user) {
			m := u.add("likes tea", "reads")
			if m.Content != "likes tea" || m.App == nil || m.App.Name != "go" || m.State != refoldhttp.MemoryStateActive || !slices.Equal(m.Categories, []string{"reads"}) {
				t.Errorf("added %+v", m)
			}
			first, err := u.GetMemoryWithResponse(t.Context(), m.Id, nil)
			check(t, err)
			if first.JSON200 == nil || first.JSON200.Id != m.Id || first.JSON200.Version != 1 {
				t.Fatalf("status %d: %s", first.StatusCode(), first.Body)
			}
			etag := first.HTTPResponse.Header.Get("ETag")
			again, err := u.GetMemoryWithResponse(t.Context(), m.Id, &refoldhttp.GetMemoryParams{IfNoneMatch: &etag})
			check(t, err)
			if again.StatusCode() != http.StatusNotModified || again.JSON200 != nil {
				t.Errorf("status %d, want 304 for %s", again.StatusCode(), etag)
			}
		},
		"idempotency key": func(t *testing.T, u user) {
			params := &refoldhttp.CreateMemoryParams{IdempotencyKey: to("go/1")}
			one, err := u.CreateMemoryWithResponse(t.Context(), params, refoldhttp.CreateMemory{Content: "once"})
			check(t, err)
			two, err := u.CreateMemoryWithResponse(t.Context(), params, refoldhttp.CreateMemory{Content: "once"})
			check(t, err)
			if one.JSON201 == nil || two.JSON201 == nil || one.JSON201.Id != two.JSON201.Id {
				t.Errorf("%s\n%s", one.Body, two.Body)
			}
			_, err = u.CreateMemoryWithResponse(t.Context(), params, refoldhttp.CreateMemory{Content: "another"})
			if err == nil {
				t.Error("another command with the same key was taken")
			}
		},
		"pages": func(t *testing.T, u user) {
			var want, got []uuid.UUID
			for n := range 5 {
				want = append(want, u.add("page "+strconv.Itoa(n), "pages").Id)
			}
			slices.Reverse(want)
			params := &refoldhttp.ListMemoriesParams{Category: &[]string{"pages"}, Limit: to(2), Count: to(true)}
			for {
				page, err := u.ListMemoriesWithResponse(t.Context(), params)
				check(t, err)
				if page.JSON200 == nil || page.JSON200.Total == nil || *page.JSON200.Total != 5 || len(page.JSON200.Items) > 2 {
					t.Fatalf("page: %s", page.Body)
				}
				for _, m := range page.JSON200.Items {
					got = append(got, m.Id)
				}
				if params.Cursor = page.JSON200.NextCursor; params.Cursor == nil {
					break
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		},
		"change": func(t *testing.T, u user) {
			m := u.add("green", "changes")
			change := func(match, content string) (*refoldhttp.ChangeMemoryResponse, error) {
				return u.ChangeMemoryWithResponse(t.Context(), m.Id, &refoldhttp.ChangeMemoryParams{IfMatch: match, Prefer: settled}, refoldhttp.ChangeMemory{Content: &content})
			}
			changed, err := change(`"1"`, "black")
			check(t, err)
			if changed.JSON200 == nil || changed.JSON200.Version != 2 || !changed.JSON200.Changed {
				t.Fatalf("changed: %s", changed.Body)
			}
			_, err = change(`"1"`, "white")
			refused(t, err, "precondition_failed", http.StatusPreconditionFailed)
		},
		"bulk": func(t *testing.T, u user) {
			ids := []uuid.UUID{u.add("one", "bulk").Id, u.add("two", "bulk").Id, uuid.New()}
			moved, err := u.ArchiveMemoriesWithResponse(t.Context(), &refoldhttp.ArchiveMemoriesParams{Prefer: settled}, refoldhttp.WhichMemories{Ids: &ids})
			check(t, err)
			if moved.JSON200 == nil || len(moved.JSON200.Results) != len(ids) {
				t.Fatalf("moved: %s", moved.Body)
			}
			for n, want := range []refoldhttp.MovedMemoryOutcome{refoldhttp.MovedMemoryOutcomeChanged, refoldhttp.MovedMemoryOutcomeChanged, refoldhttp.MovedMemoryOutcomeRefused} {
				if got := moved.JSON200.Results[n]; got.Id != ids[n] || got.Outcome != want {
					t.Errorf("result %d: %+v, want %s", n, got, want)
				}
			}
		},
		"search": func(t *testing.T, u user) {
			m := u.add("hippopotamus sleeps", "search")
			found, err := u.SearchMemoriesWithResponse(t.Context(), &refoldhttp.SearchMemoriesParams{Q: "hippopotamus", Highlight: to(true)})
			check(t, err)
			if found.JSON200 == nil || len(found.JSON200.Items) != 1 || found.JSON200.Items[0].Memory.Id != m.Id || found.JSON200.Match != refoldhttp.FoundMemoriesMatchWords {
				t.Errorf("found: %s", found.Body)
			}
		},
		"problems": func(t *testing.T, u user) {
			_, err := u.GetMemoryWithResponse(t.Context(), uuid.New(), nil)
			problem := refused(t, err, "not_found", http.StatusNotFound)
			if problem.Unknown() || problem.Retryable || problem.Type != "/problems/not_found" {
				t.Errorf("problem %+v", problem)
			}
			meaning, err := u.GetProblemWithResponse(t.Context(), problem.Code)
			check(t, err)
			if meaning.JSON200 == nil || meaning.JSON200.Remedy == "" {
				t.Errorf("meaning: %s", meaning.Body)
			}
			stranger, err := refoldhttp.New(url, "no.such.token")
			check(t, err)
			if _, err = stranger.GetMeWithResponse(t.Context(), nil); !strings.Contains(err.Error(), "401") {
				t.Errorf("got the error %v, want a 401", err)
			}
		},
		"long poll": func(t *testing.T, u user) {
			begun, err := u.ListChangesWithResponse(t.Context(), nil)
			check(t, err)
			if begun.JSON200 == nil {
				t.Fatalf("changes: %s", begun.Body)
			}
			heard := make(chan error, 1)
			added := make(chan uuid.UUID, 1)
			go func() { heard <- hear(t.Context(), u, begun.JSON200.Next, added) }()
			added <- u.add("heard of", "feed").Id
			check(t, <-heard)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := refoldhttp.New(url, token)
			check(t, err)
			uses(t, user{t, c})
		})
	}
}

// hear polls until the memory that comes from added is in the feed.
func hear(ctx context.Context, u user, after string, added <-chan uuid.UUID) error {
	seen := map[string]string{}
	var want uuid.UUID
	for {
		page, err := u.ListChangesWithResponse(ctx, &refoldhttp.ListChangesParams{After: &after, Prefer: to("wait=20")})
		if err != nil {
			return err
		}
		if page.JSON200 == nil || len(page.JSON200.Items) == 0 {
			return errors.New("a poll ended without a change: " + string(page.Body))
		}
		for _, c := range page.JSON200.Items {
			seen[c.Id] = c.Kind
		}
		if want == uuid.Nil {
			want = <-added
		}
		if kind, ok := seen[want.String()]; ok {
			if kind != "memory.added.v1" {
				return errors.New("the change is a " + kind)
			}
			return nil
		}
		after = page.JSON200.Next
	}
}

// TestAnswersOfOthers: what stands between client and server answers in forms of its own.
func TestAnswersOfOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, outcome, body string
		unknown             bool
		want                string
	}{
		"a page of a proxy":            {"text/html", "", "<h1>Bad Gateway</h1>", true, "refold: status 502 without a problem document: <h1>Bad Gateway</h1>"},
		"no document at all":           {"application/problem+json", "", "null and void", true, "refold: status 502 without a problem document: null and void"},
		"a problem":                    {"application/problem+json; charset=utf-8", "", `{"code":"x","status":502,"detail":"y"}`, false, "refold: 502 x: y"},
		"a problem of unknown outcome": {"application/problem+json", "unknown", `{"code":"x","status":502,"detail":"y"}`, true, "refold: 502 x: y"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != "Bearer secret" {
					t.Errorf("Authorization %q", got)
				}
				w.Header().Set("Content-Type", c.kind)
				if c.outcome != "" {
					w.Header().Set("Outcome", c.outcome)
				}
				w.WriteHeader(http.StatusBadGateway)
				_, _ = w.Write([]byte(c.body))
			}))
			defer server.Close()
			client, err := refoldhttp.New(server.URL, "secret")
			check(t, err)
			_, err = client.GetStatsWithResponse(t.Context(), nil)
			var problem *refoldhttp.ProblemError
			if !errors.As(err, &problem) || problem.Unknown() != c.unknown || problem.Error() != c.want || problem.Status != http.StatusBadGateway {
				t.Errorf("got %v, want %q, unknown %v", err, c.want, c.unknown)
			}
		})
	}
}
