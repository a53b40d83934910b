package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/testenv"
)

// replica is a `refold serve` of its own.
type replica struct {
	url    string
	output *journalOf
}

func startServe(t *testing.T, flags ...string) *replica {
	t.Helper()
	p := &replica{output: &journalOf{}}
	cmd := exec.CommandContext(context.Background(), os.Args[0], append([]string{"serve", "--listen", "127.0.0.1:0", "--drain", "0s"}, flags...)...)
	cmd.Env = append(os.Environ(), childMark+"=1")
	cmd.Stdout, cmd.Stderr = p.output, p.output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("serve does not end: %s", p.output)
		}
	})
	s := &served{t: t, client: http.DefaultClient, output: p.output}
	s.await(func() bool {
		_, after, _ := strings.Cut(p.output.String(), "refold serves ")
		p.url, _, _ = strings.Cut(after, "\n")
		return p.url != ""
	})
	s.url = p.url
	s.await(func() bool { return s.ask("GET", "/readyz", "", "").status == http.StatusOK })
	return p
}

func (p *replica) get(t testing.TB, path, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(body)
}

// refusedWithin waits until a token is refused, and says after how long it was.
func (p *replica) refusedWithin(t *testing.T, token string) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		status, body := p.get(t, "/v1/memories", token)
		took := time.Since(began)
		if status == http.StatusUnauthorized {
			return took
		}
		if took > 5*time.Second {
			t.Fatalf("after %s it answers %d %s", took, status, body)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// minting mints a token and returns it with its id.
func minting(t *testing.T, args ...string) mintedView {
	t.Helper()
	return into[mintedView](t, refold(t, exitOK, append([]string{"token", "mint"}, args...)...))
}

// What is revoked by a command is refused by processes that hear of it from the database alone, and ends what they have
// open.
func TestRevokeOnAllProcesses(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme")
	first, second := startServe(t), startServe(t)
	refold(t, exitOK, "tenant", "create", "blue")

	one, two := minting(t, "--tenant", "acme", "--subject", "ann", "--scope", "memories:read,changes:read"), minting(t, "--tenant", "acme", "--subject", "ann")
	bob, blue := minting(t, "--tenant", "acme", "--subject", "bob"), minting(t, "--tenant", "blue", "--subject", "ann")
	op := minting(t, "--operator", "--subject", "olga")
	good := func(token string) {
		t.Helper()
		for _, p := range []*replica{first, second} {
			if status, body := p.get(t, "/v1/memories", token); status != http.StatusOK {
				t.Fatalf("%d %s", status, body)
			}
		}
	}
	for _, m := range []mintedView{one, two, bob, blue} {
		good(m.Token)
	}
	streams := []*bufio.Reader{}
	for _, p := range []*replica{first, second} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/v1/changes", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+one.Token)
		r.Header.Set("Accept", "text/event-stream")
		answer, err := http.DefaultClient.Do(r)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("stream: %v, %v", answer, err)
		}
		t.Cleanup(func() { _ = answer.Body.Close() })
		streams = append(streams, bufio.NewReader(answer.Body))
	}
	// One token, by its id.
	if v := into[revocationView](t, refold(t, exitOK, "token", "revoke", "--id", one.ID)); *v.Living != 1 || v.ID != one.ID {
		t.Errorf("revoked: %+v", v)
	}
	began := time.Now()
	for _, p := range []*replica{first, second} {
		t.Logf("refused after %s", p.refusedWithin(t, one.Token))
	}
	for _, stream := range streams {
		rest, err := io.ReadAll(stream)
		if took := time.Since(began); err != nil || took > 5*time.Second || !strings.Contains(string(rest), "invalid_token") {
			t.Errorf("a stream ends after %s with %v: %s", took, err, rest)
		}
	}
	for _, m := range []mintedView{two, bob, blue} {
		good(m.Token)
	}
	// A subject, up to now; what it is given later is good.
	refold(t, exitOK, "token", "revoke", "--tenant", "acme", "--subject", "ann")
	for _, p := range []*replica{first, second} {
		p.refusedWithin(t, two.Token)
	}
	three := minting(t, "--tenant", "acme", "--subject", "ann")
	for _, m := range []mintedView{three, bob, blue} {
		good(m.Token)
	}
	// A tenant, and operators.
	refold(t, exitOK, "token", "revoke", "--tenant", "acme")
	refold(t, exitOK, "token", "revoke", "--operator", "--subject", "olga")
	for _, p := range []*replica{first, second} {
		p.refusedWithin(t, three.Token)
		p.refusedWithin(t, bob.Token)
		p.refusedWithin(t, op.Token)
	}
	good(blue.Token)
	good(minting(t, "--tenant", "acme", "--subject", "ann").Token)

	v := into[tokensView](t, refold(t, exitOK, "token", "list"))
	states := map[string]bool{}
	for _, token := range v.Tokens {
		states[token.ID] = token.Revoked
		if token.Subject == "" || len(token.Scopes) == 0 || token.Key == "" || !token.Expires.After(token.Issued) || token.By == "" {
			t.Errorf("recorded: %+v", token)
		}
	}
	for _, m := range []mintedView{one, two, three, bob, op} {
		if revoked, recorded := states[m.ID]; !recorded || !revoked {
			t.Errorf("%s is listed: %v, as revoked: %v", m.ID, recorded, revoked)
		}
	}
	if states[blue.ID] || len(v.Tokens) != 7 || len(v.Revocations) != 4 || len(v.Keys) != 1 || v.Keys[0].Living != 7 {
		t.Errorf("listed: %+v", v)
	}
	if narrow := into[tokensView](t, refold(t, exitOK, "token", "list", "--tenant", "blue")); len(narrow.Tokens) != 1 || narrow.Tokens[0].ID != blue.ID {
		t.Errorf("those of one tenant: %+v", narrow.Tokens)
	}
	table := refold(t, exitOK, "token", "list", "-o", "table")
	if !strings.Contains(table, "revoked") || !strings.Contains(table, v.Keys[0].ID) {
		t.Errorf("the table: %s", table)
	}
	notInTheDatabase(t, one.Token, two.Token, op.Token)
	for _, p := range []*replica{first, second} {
		if log := p.output.String(); strings.Contains(log, strings.Split(one.Token, ".")[2]) {
			t.Errorf("a token is in the log: %s", log)
		}
	}
}

// notInTheDatabase looks for tokens, and for their signatures, in what is recorded of them.
func notInTheDatabase(t *testing.T, all ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), os.Getenv("DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var rows string
	err = conn.QueryRow(t.Context(), "SELECT (SELECT string_agg(t::text, '') FROM control.token t) || (SELECT string_agg(r::text, '') FROM control.token_revocation r)").Scan(&rows)
	if err != nil || rows == "" {
		t.Fatalf("%q, %v", rows, err)
	}
	for _, token := range all {
		for part := range strings.SplitSeq(token, ".") {
			if strings.Contains(rows, part) {
				t.Errorf("a part of a token is recorded: %s", part)
			}
		}
	}
}

// Keys are rotated under load: no request fails, whichever key has signed its token, until the old one is removed.
func TestRotateUnderLoad(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	t.Setenv("REFOLD_OUTPUT", "json")
	makePlane(t)
	refold(t, exitOK, "tenant", "create", "acme")
	first, second := startServe(t), startServe(t)
	old := minting(t, "--tenant", "acme", "--subject", "ann")
	var current atomic.Value
	current.Store([]string{old.Token})
	var asked, failed atomic.Int64
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{}, 4)
	for _, p := range []*replica{first, second, first, second} {
		go func() {
			defer func() { ended <- struct{}{} }()
			for n := 0; ctx.Err() == nil; n++ {
				tokens := current.Load().([]string)
				if status, body := p.get(t, "/v1/memories", tokens[n%len(tokens)]); ctx.Err() == nil {
					if asked.Add(1); status != http.StatusOK {
						failed.Add(1)
						t.Errorf("%d %s", status, body)
						return
					}
				}
			}
		}()
	}
	refold(t, exitRefused, "token", "rotate", "--finish")
	type keysView struct{ Keys []auth.LocalKeyInfo }
	roles := func(v keysView) (out []auth.Role) {
		for _, key := range v.Keys {
			out = append(out, key.Role)
		}
		return out
	}
	before := into[keysView](t, refold(t, exitOK, "token", "rotate", "--prepare")).Keys
	refold(t, exitRefused, "token", "rotate", "--prepare")
	refold(t, exitUsage, "token", "rotate", "--prepare", "--finish")
	v := into[keysView](t, refold(t, exitOK, "token", "rotate"))
	if !slices.Equal(roles(v), []auth.Role{auth.Signing, auth.Previous}) || v.Keys[0].ID != before[1].ID || v.Keys[1].ID != before[0].ID {
		t.Errorf("rotated from %+v to %+v", before, v)
	}
	fresh := minting(t, "--tenant", "acme", "--subject", "ann") // good at once, everywhere
	current.Store([]string{old.Token, fresh.Token})
	refold(t, exitRefused, "token", "rotate")             // two keys are enough
	refold(t, exitRefused, "token", "rotate", "--finish") // a token of the old one lives
	for reached := asked.Load() + 200; asked.Load() < reached && failed.Load() == 0; time.Sleep(10 * time.Millisecond) {
	}
	current.Store([]string{fresh.Token})
	for reached := asked.Load() + 20; asked.Load() < reached && failed.Load() == 0; time.Sleep(10 * time.Millisecond) {
	} // what is under way with the old token is over
	if v := into[keysView](t, refold(t, exitOK, "token", "rotate", "--finish", "--yes")); !slices.Equal(roles(v), []auth.Role{auth.Signing}) {
		t.Errorf("finished: %+v", v)
	}
	for _, p := range []*replica{first, second} {
		p.refusedWithin(t, old.Token)
	}
	stop()
	for range 4 {
		<-ended
	}
	t.Logf("%d requests, %d failed", asked.Load(), failed.Load())
	if asked.Load() < 220 || failed.Load() > 0 {
		t.Errorf("%d requests, %d failed", asked.Load(), failed.Load())
	}
	// Without --prepare it is one step.
	if v := into[keysView](t, refold(t, exitOK, "token", "rotate")); !slices.Equal(roles(v), []auth.Role{auth.Signing, auth.Previous}) || v.Keys[1].ID != before[1].ID {
		t.Errorf("rotated at once: %+v", v)
	}
}

// A token for something that is not there is not made, and what may be meant is named.
func TestMintRefusesWhatIsNot(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	t.Setenv("DATABASE_URL", testenv.Postgres(t))
	makePlane(t)
	if stderr := refoldFails(t, exitRefused, "token", "mint", "--tenant", "acme", "--subject", "ann"); !strings.Contains(stderr, "refold tenant create") {
		t.Errorf("no tenant at all: %s", stderr)
	}
	refold(t, exitOK, "tenant", "create", "acme")
	refold(t, exitOK, "tenant", "create", "gone")
	refold(t, exitOK, "tenant", "remove", "gone", "--yes")
	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{exitRefused, []string{"--tenant", "acmee", "--subject", "ann"}, []string{"acmee", "nearest is acme", "refold tenant list"}},
		{exitRefused, []string{"--tenant", "gone", "--subject", "ann"}, []string{"no such tenant"}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--scope", "memory:read"}, []string{`"memory:read"`, "nearest is memories:read", "token mint --help"}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--scope", "memories:read,x"}, []string{`"x"`}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--ttl", "2161h"}, []string{"--ttl", "2160h"}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--ttl", "-1s"}, []string{"--ttl"}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--app", "claude", "--scope", "apps:write"}, []string{"--app", "apps:write", "memories:read"}},
		{exitUsage, []string{"--operator", "--subject", "ann", "--app", "claude"}, []string{"--app"}},
		{exitUsage, []string{"--tenant", "acme", "--subject", "ann", "--app", " "}, []string{"--app"}},
		{exitUsage, []string{"--subject", "ann"}, []string{"--tenant"}},
	} {
		stderr := refoldFails(t, c.code, append([]string{"token", "mint"}, c.args...)...)
		for _, want := range c.says {
			if !strings.Contains(stderr, want) {
				t.Errorf("token mint %v does not say %q: %s", c.args, want, stderr)
			}
		}
	}
	for _, args := range [][]string{{}, {"--subject", "ann"}, {"--id", "x", "--subject", "ann"}, {"--id", "x", "--before", "2026-01-31T12:00:00Z"}, {"--tenant", "acme", "--before", "yesterday"}, {"--tenant", "acme", "--before", "2126-01-31T12:00:00Z"}, {"--tenant", "acme", "--operator"}} {
		refold(t, exitUsage, append([]string{"token", "revoke"}, args...)...)
	}
	if stderr := refoldFails(t, exitRefused, "token", "revoke", "--tenant", "acne"); !strings.Contains(stderr, "nearest is acme") {
		t.Errorf("a misspelt tenant is revoked: %s", stderr)
	}
	refold(t, exitOK, "token", "revoke", "--tenant", "gone")
	// A database that does not answer records nothing, so nothing is minted.
	t.Setenv("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
	if out := refold(t, exitError, "token", "mint", "--tenant", "acme", "--subject", "ann"); strings.TrimSpace(out) != "" {
		t.Errorf("a token that is not recorded: %q", out)
	}
}

// Scopes are shown where somebody looks for them, as the table has them.
func TestScopesAreShown(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "tokens.md"))
	if err != nil {
		t.Fatal(err)
	}
	help := refold(t, exitOK, "token", "mint", "--help")
	for _, s := range auth.Scopes() {
		if !strings.Contains(string(page), fmt.Sprintf("| `%s` | %s |", s.Name, s.Doc)) {
			t.Errorf("docs/tokens.md lacks %s, or says something else of it than %q", s.Name, s.Doc)
		}
		if !strings.Contains(help, s.Name) || !strings.Contains(help, s.Doc) {
			t.Errorf("the help lacks %s", s.Name)
		}
	}
	if n := strings.Count(string(page), ":read` |") + strings.Count(string(page), ":write` |") + strings.Count(string(page), ":delete` |"); n != len(auth.Scopes()) {
		t.Errorf("docs/tokens.md lists %d scopes, want %d", n, len(auth.Scopes()))
	}
	for _, name := range auth.AppScopes() {
		if !strings.Contains(help, name) {
			t.Errorf("the help does not say that %s is for tokens of apps", name)
		}
	}
	for _, operation := range auth.Operations() {
		if scope, _ := auth.ScopeOf(operation); scope != auth.Open && !slices.Contains(auth.AllScopes(), scope) {
			t.Errorf("%s asks for %q, which is in no table", operation, scope)
		}
	}
}

// A shell is offered what may stand there.
func TestCompletionOfTokens(t *testing.T) {
	s := serving(t)
	refold(t, exitOK, "tenant", "create", "acme", "--name", "Acme")
	minting(t, "--tenant", "acme", "--subject", "ann", "--app", "claude")
	for line, want := range map[string]string{
		"token mint --scope ": "memories:read\t", "token mint --tenant ": "acme\tAcme", "token revoke --tenant ": "acme\t", "token mint --tenant acme --app ": "claude", "token list --tenant ": "acme",
	} {
		out := refold(t, exitOK, append([]string{"__complete"}, strings.Split(line, " ")...)...)
		if !strings.Contains(out, want) {
			t.Errorf("%s: %q is not offered in %q", line, want, out)
		}
	}
	_ = s
}
