package postgres_test

import (
	"testing"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestUUIDsComeBack sends ids in every form that queries have them in.
func TestUUIDsComeBack(t *testing.T) {
	d, err := postgres.Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	pool, err := d.Owner(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	id, other := uuid.New(), uuid.New()
	var plain uuid.UUID
	var pointer, null *uuid.UUID
	var list []uuid.UUID
	var text string
	row := pool.QueryRow(t.Context(), "SELECT $1::uuid, $2::uuid, $3::uuid, $4::uuid[], $1::uuid::text", id, &other, (*uuid.UUID)(nil), []uuid.UUID{id, other})
	if err := row.Scan(&plain, &pointer, &null, &list, &text); err != nil {
		t.Fatal(err)
	}
	if plain != id || pointer == nil || *pointer != other || null != nil || len(list) != 2 || list[0] != id || list[1] != other || text != id.String() {
		t.Errorf("sent %s and %s, got %s %v %v %v %q", id, other, plain, pointer, null, list, text)
	}
	if err := pool.QueryRow(t.Context(), "SELECT NULL::uuid").Scan(&plain); err == nil {
		t.Error("NULL became an id")
	}
}
