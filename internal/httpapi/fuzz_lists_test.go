package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// beginning is a plane in the moment before its first edition is live: questions are read, and not answered yet.
type beginning struct{}

func (beginning) Tenant(context.Context, string) (directory.Tenant, error) {
	return directory.Tenant{ID: "acme", Key: bytes.Repeat([]byte{1}, 32), Standing: directory.Active}, nil
}
func (beginning) Edition(int, string) (int64, bool) { return 0, false }
func (beginning) Serves(int, int64) bool            { return false }

// FuzzQuestions: whatever stands behind the question mark of a list, on the new paths and the old ones, it is refused with a
// clear problem or understood; it is never a fault of the server.
func FuzzQuestions(f *testing.F) {
	key, err := auth.LocalKey(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.Issuer()}})
	if err != nil {
		f.Fatal(err)
	}
	token, err := key.Mint(auth.TokenRequest{Tenant: "acme", Subject: "ann", Scopes: auth.AllScopes(), TTL: 24 * time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	sealer, err := reader.NewSealer(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		f.Fatal(err)
	}
	rows := reader.New(beginning{}, nil)
	handler := Handler(Config{
		Verifier: verifier, Sealer: sealer, Reader: rows, Writer: writer.New(beginning{}, func(int) journal.Shard { return nil }, rows),
	})
	paths := []string{
		"/v1/memories", "/v1/memories/search", "/v1/apps", "/v1/categories", "/v1/archive-policies", "/v1/changes", "/v1/export",
		"/v1/memories/" + uuid.NewString() + "/related", "/v1/apps/" + uuid.NewString() + "/memories",
		"/api/v1/memories/", "/api/v1/apps/", "/api/v1/memories/categories", "/api/v1/stats/", "/v1/memories/", "/v1/apps/",
	}
	for i := range paths {
		for _, query := range []string{
			"", "limit=1&count=true", "limit=-1", "state=active&state=paused,archived&category=tea", "sort=app&order=desc&search=%00",
			"from=2026-01-02T03:04:05Z&to=2026-01-02", "app_id=01935cae-bf00-8000-9000-00000000de10&as_app=x", "cursor=AAAA", "q=%22a+b%22+-c&recency=2&half_life_days=NaN",
			"page=0&size=101&search_query=x&sort_column=memory&sort_direction=up", "%zz", "a=1;b=2", "limit=1&limit=2", "user_id=bob", "after=%F0%9F%98%80&from=begin",
			"metadata=%7B%22vault%22%3A%22WLT%22%7D&app=notes&updated_from=2026-01-02T03:04:05Z", "q=x&not_metadata=%7B%22a%22%3A%5B1e299%2Cnull%5D%7D&updated_to=2026-01-02", "metadata=%7B%7D&metadata=%7B%22%5Cu0000%22%3A1%7D",
		} {
			f.Add(i, query)
		}
	}
	f.Fuzz(func(t *testing.T, path int, query string) {
		request := httptest.NewRequest(http.MethodGet, "/", nil)
		request.URL.Path = paths[uint(path)%uint(len(paths))]
		if request.URL.RawQuery = query; path >= len(paths) { // an id, or anything else, in the path
			request.URL.Path += query
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		switch answer.Code {
		case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusServiceUnavailable:
		case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
			return
		case http.StatusOK:
			return // of the old paths: what is somebody else's is an empty list
		default:
			t.Fatalf("%s: %d %s", request.URL, answer.Code, answer.Body)
		}
		if kind := answer.Header().Get("Content-Type"); !strings.HasSuffix(kind, "json") || !json.Valid(answer.Body.Bytes()) {
			t.Errorf("%s: %d with a body of %s that is no problem: %s", request.URL, answer.Code, kind, answer.Body)
		}
	})
}
