package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/verify"
)

// TestAListEndsOnTheEditionItBeganOn pages over a cutover: the pages stay on the old edition as long as it is there,
// then the answer is 410.
func TestAListEndsOnTheEditionItBeganOn(t *testing.T) {
	s := newStack(t)
	ctx := t.Context()
	alice := s.client(t, "a", "alice")
	for i := range 4 {
		alice.add(fmt.Sprintf(`{"content":"memory %d"}`, i))
	}
	page := func(cursor any, status int, edition int64) map[string]any {
		t.Helper()
		query := ""
		if cursor != nil {
			query = fmt.Sprintf("&cursor=%s", cursor)
		}
		a := alice.do("GET", "/v1/memories?limit=1"+query, "")
		body := a.want(t, status)
		if got := a.header.Get("Refold-Edition"); status == 200 && got != fmt.Sprint(edition) {
			t.Fatalf("the answer is of edition %s, want %d", got, edition)
		}
		return body
	}
	cursor := page(nil, 200, s.edition)["next_cursor"]

	next, err := s.editions.Build(ctx, nil)
	check(t, err)
	check(t, s.editions.CatchUp(ctx, next, nil))
	_, err = verify.Run(ctx, verify.Config{DB: s.db, Shard: s.journal, Edition: next, Schema: fold.Tables, Fold: fold.Apply, Shape: s.editions.Shape})
	check(t, err)
	_, err = s.editions.Cutover(ctx, next)
	check(t, err)
	check(t, s.live.Refresh(ctx, s.db))
	page(nil, 200, next)
	cursor = page(cursor, 200, s.edition)["next_cursor"]

	check(t, s.editions.Retire(ctx, s.edition, 0))
	// Whether or not this process has heard of it yet.
	if code := page(cursor, 410, 0)["code"]; code != "edition_gone" {
		t.Errorf("code %v, want edition_gone", code)
	}
	check(t, s.live.Refresh(ctx, s.db))
	if code := page(cursor, 410, 0)["code"]; code != "edition_gone" {
		t.Errorf("code %v, want edition_gone", code)
	}
	page(nil, 200, next)
}
