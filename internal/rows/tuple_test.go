package rows

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/testenv"
)

// typed is a value: as SQL, as a tuple has it, and as people read it.
type typed struct {
	sql    string
	typ    string
	encode func(*Tuple)
	shown  string
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return t
}

var values = []typed{
	{`''::text`, "text", func(t *Tuple) { t.Text("") }, ""},
	{`'日本語 ''quoted'' \'::text`, "text", func(t *Tuple) { t.Text(`日本語 'quoted' \`) }, `日本語 'quoted' \`},
	{`repeat('x', 100000)`, "text", func(t *Tuple) { t.Text(strings.Repeat("x", 100000)) }, strings.Repeat("x", 100000)},
	{`'6ba7b810-9dad-11d1-80b4-00c04fd430c8'::uuid`, "uuid",
		func(t *Tuple) { t.UUID(uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8")) }, "6ba7b810-9dad-11d1-80b4-00c04fd430c8"},
	{`0::int8`, "int8", func(t *Tuple) { t.Int8(0) }, "0"},
	{`(-9223372036854775808)::int8`, "int8", func(t *Tuple) { t.Int8(-9223372036854775808) }, "-9223372036854775808"},
	{`9223372036854775807::int8`, "int8", func(t *Tuple) { t.Int8(9223372036854775807) }, "9223372036854775807"},
	{`(-1)::int4`, "int4", func(t *Tuple) { t.Int4(-1) }, "-1"},
	{`true`, "bool", func(t *Tuple) { t.Bool(true) }, "true"},
	{`false`, "bool", func(t *Tuple) { t.Bool(false) }, "false"},
	{`'2026-11-22 23:30:00.000001+05:45'::timestamptz`, "timestamptz",
		func(t *Tuple) { t.Time(at("2026-11-22T17:45:00.000001Z")) }, "2026-11-22T17:45:00.000001Z"},
	{`'1969-12-31 23:59:59.999999Z'::timestamptz`, "timestamptz",
		func(t *Tuple) { t.Time(at("1969-12-31T23:59:59.999999Z")) }, "1969-12-31T23:59:59.999999Z"},
	{`'0001-01-01 00:00:00Z'::timestamptz`, "timestamptz", func(t *Tuple) { t.Time(at("0001-01-01T00:00:00Z")) }, "0001-01-01T00:00:00Z"},
	{`'9999-12-31 23:59:59.999999Z'::timestamptz`, "timestamptz",
		func(t *Tuple) { t.Time(at("9999-12-31T23:59:59.999999Z")) }, "9999-12-31T23:59:59.999999Z"},
	{`'\x00ff'::bytea`, "bytea", func(t *Tuple) { t.Bytes([]byte{0, 255}) }, `\x00ff`},
	{`'{"b": 1.50, "a": [1e2]}'::jsonb`, "jsonb", func(t *Tuple) { t.JSONB([]byte(`{"a": [100], "b": 1.50}`)) }, `{"a": [100], "b": 1.50}`},
	{`NULL::text`, "text", func(t *Tuple) { t.TextOrNull(nil) }, "NULL"},
	{`NULL::uuid`, "uuid", func(t *Tuple) { t.UUIDOrNull(nil) }, "NULL"},
	{`NULL::timestamptz`, "timestamptz", func(t *Tuple) { t.TimeOrNull(nil) }, "NULL"},
}

// TestTuplesAreThoseOfPostgres holds every type against what COPY sends, which must not depend on the session.
func TestTuplesAreThoseOfPostgres(t *testing.T) {
	conn, err := pgx.Connect(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(t.Context()) })
	var want Tuple
	var sql []string
	want.begin()
	for _, v := range values {
		v.encode(&want)
		sql = append(sql, v.sql)
	}
	want.end()
	if want.err != nil {
		t.Fatal(want.err)
	}
	for _, setting := range []string{
		"timezone = 'UTC'", "timezone = 'Asia/Kathmandu'", "datestyle = 'German, DMY'", "extra_float_digits = -5", "bytea_output = 'escape'", "intervalstyle = 'iso_8601'",
	} {
		if _, err := conn.Exec(t.Context(), "SET "+setting); err != nil {
			t.Fatal(err)
		}
		found := 0
		scan := &tableScan{row: func(f Fields, tuple []byte) {
			found++
			if !bytes.Equal(tuple, want.b) {
				t.Errorf("%s: COPY sends another tuple", setting)
			}
			for i, v := range values {
				shown := "NULL"
				if s := format(v.typ, f[i]); s != nil {
					shown = *s
				}
				if shown != v.shown {
					t.Errorf("%s: %s is shown as %q, want %q", setting, v.sql, shown, v.shown)
				}
			}
		}}
		copied := oneByte{scan}
		if _, err := conn.PgConn().CopyTo(t.Context(), copied, "COPY (SELECT "+strings.Join(sql, ", ")+" FROM generate_series(1, 3)) TO STDOUT (FORMAT binary)"); err != nil {
			t.Fatal(err)
		}
		if err := scan.finish(); err != nil || found != 3 {
			t.Fatalf("%s: %d rows: %v", setting, found, err)
		}
	}
}

// oneByte hands over what it is given in small pieces: a tuple may be cut anywhere.
type oneByte struct{ to *tableScan }

func (o oneByte) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i += 4001 {
		if _, err := o.to.Write(p[i:min(i+4001, len(p))]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func TestScanRefusesAStreamThatEndsEarly(t *testing.T) {
	scan := &tableScan{row: func(Fields, []byte) {}}
	if _, err := scan.Write(copyHeader); err != nil {
		t.Fatal(err)
	}
	if err := scan.finish(); !errors.Is(err, errTuple) {
		t.Fatalf("got %v, want %v", err, errTuple)
	}
}

func TestTuplesRefuseWhatPostgresWouldNotStore(t *testing.T) {
	for what, c := range map[string]struct {
		encode func(*Tuple)
		want   error
	}{
		"NUL":            {func(t *Tuple) { t.Text("a\x00b") }, errNUL},
		"invalid UTF-8":  {func(t *Tuple) { t.Text("\xff") }, errUTF8},
		"lone surrogate": {func(t *Tuple) { t.Text("\xed\xa0\x80") }, errUTF8},
		"far future":     {func(t *Tuple) { t.Time(time.Date(294276, 1, 1, 0, 0, 0, 0, time.UTC)) }, errTime},
		"far past":       {func(t *Tuple) { t.Time(time.Date(-4713, 1, 1, 0, 0, 0, 0, time.UTC)) }, errTime},
	} {
		var tuple Tuple
		tuple.begin()
		c.encode(&tuple)
		if !errors.Is(tuple.err, c.want) {
			t.Errorf("%s: got %v, want %v", what, tuple.err, c.want)
		}
	}
}
