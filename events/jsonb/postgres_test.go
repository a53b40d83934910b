package jsonb_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestPostgresSaysTheSame puts the tables and random texts to a real PostgreSQL: what we normalise it prints alike,
// and what we refuse for other reasons than our bounds it refuses.
func TestPostgresSaysTheSame(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	for src := range accepted {
		ask(t, conn, src)
	}
	for _, src := range refused {
		if text, err := stored(t, conn, src); err == nil {
			t.Errorf("PostgreSQL takes %q as %s", src, text)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := generator{rand.New(rand.NewPCG(seed, 0))}
	for range 5000 {
		ask(t, conn, g.value(4))
	}
}

func ask(t *testing.T, conn *pgx.Conn, src string) {
	t.Helper()
	ours, err := jsonb.Normalize([]byte(src))
	theirs, pgErr := stored(t, conn, src)
	if err != nil || pgErr != nil || string(ours) != theirs {
		t.Errorf("%q:\nours   %s, %v\ntheirs %s, %v", src, ours, err, theirs, pgErr)
	}
}

func stored(t *testing.T, conn *pgx.Conn, src string) (text string, err error) {
	err = conn.QueryRow(t.Context(), `SELECT ($1::text)::jsonb::text`, src).Scan(&text)
	return text, err
}

// generator makes JSON as foreign clients may write it: with blanks, escapes, duplicates and odd numbers.
type generator struct{ *rand.Rand }

func (g generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g generator) blank() string { return g.pick("", "", "", " ", "\n\t", "\r ") }

func (g generator) value(depth int) string {
	switch n := g.IntN(9); {
	case n < 3 && depth > 0:
		return g.list("{", "}", func() string { return g.text() + g.blank() + ":" + g.blank() + g.value(depth-1) })
	case n < 5 && depth > 0:
		return g.list("[", "]", func() string { return g.value(depth - 1) })
	case n < 7:
		return g.number()
	case n < 8:
		return g.pick("true", "false", "null")
	}
	return g.text()
}

func (g generator) list(opening, closing string, member func() string) string {
	members := make([]string, g.IntN(6))
	for i := range members {
		members[i] = g.blank() + member() + g.blank()
	}
	return opening + strings.Join(members, ",") + g.blank() + closing
}

func (g generator) number() string {
	s := g.pick("", "", "-") + g.pick("0", "0", fmt.Sprint(1+g.IntN(9)), fmt.Sprint(1+g.IntN(1_000_000)), "12345678901234567890")
	if g.IntN(2) == 0 {
		s += "." + g.pick("0", "00", "5", "50", fmt.Sprintf("%06d", g.IntN(1_000_000)))
	}
	if g.IntN(2) == 0 {
		s += g.pick("e", "E") + g.pick("", "+", "-") + g.pick("0", "1", "02", fmt.Sprint(g.IntN(200)))
	}
	return s
}

func (g generator) text() string {
	var b strings.Builder
	for range g.IntN(4) { // short, so that names meet
		r := []rune{'a', 'b', 'z', '"', '\\', '/', '\b', '\f', '\n', '\r', '\t', 1, 0x1f, 0x7f, 0x80, 'é', '日', 0x2028, 0xffff, 0x1f9e0}[g.IntN(20)]
		switch {
		case r > 0xffff && g.IntN(2) == 0:
			fmt.Fprintf(&b, `\u%04x\u%04X`, 0xd800+(r-0x10000)>>10, 0xdc00+(r-0x10000)&0x3ff)
		case r <= 0xffff && g.IntN(3) == 0:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			quoted, _ := json.Marshal(string(r))
			b.WriteString(strings.Trim(string(quoted), `"`))
			if r == '"' {
				b.WriteByte('"')
			}
		}
	}
	return `"` + b.String() + `"`
}
