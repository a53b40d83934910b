package verify_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/verify"
)

func n(v int64) *int64 { return &v }

// sample holds one tenant with one table, read and kept.
func sample() *verify.Digests {
	hash := func(digit string) string { return strings.Repeat(digit, 64) }
	return &verify.Digests{
		Edition: 1, Shape: "shape", KeyID: "key", Scanned: true, OnlyTenants: []string{},
		Positions: []verify.Position{{JournalID: "journal", Seq: 9, EventDigest: hash("1"), Chain: hash("2"), KeptSeq: n(9)}},
		Tables:    []verify.TableForm{{Table: "memory", Fingerprint: hash("3")}, {Table: "user", Fingerprint: hash("4")}},
		Tenants: []verify.TenantDigests{{Tenant: "acme", Events: 8, EventDigest: hash("5"), Tables: []verify.TableDigests{
			{Table: "memory", Rows: n(3), LtHash: hash("6"), KeptRows: n(3), Kept: hash("7")},
		}}},
	}
}

func TestCompareDigests(t *testing.T) {
	other := strings.Repeat("f", 64)
	for _, c := range []struct {
		what             string
		change           func(a, b *verify.Digests)
		same, different  int
		tenants, tables  int // not comparable
		whyTenant, equal string
	}{
		{what: "nothing", change: func(_, _ *verify.Digests) {}, same: 1, equal: "yes"},
		{what: "another edition", change: func(_, b *verify.Digests) { b.Edition, b.Shape = 2, "other" }, same: 1, equal: "yes"},
		{what: "other rows", change: func(_, b *verify.Digests) { b.Tenants[0].Tables[0].LtHash = other }, different: 1},
		{what: "a row less", change: func(_, b *verify.Digests) { b.Tenants[0].Tables[0].Rows = n(2) }, different: 1},
		{what: "other rows written", change: func(_, b *verify.Digests) { b.Tenants[0].Tables[0].Kept = other }, different: 1},
		{what: "a table's rows lost", change: func(_, b *verify.Digests) { b.Tenants[0].Tables = nil }, different: 1},
		{what: "another tenant went on", change: func(_, b *verify.Digests) { b.Positions[0].Seq, b.Positions[0].KeptSeq = 10, n(10) }, same: 1, equal: "yes"},
		{what: "this tenant went on", change: func(_, b *verify.Digests) { b.Tenants[0].Events = 9 }, tenants: 1, whyTenant: "8 events on the left side, 9"},
		{what: "other events", change: func(_, b *verify.Digests) { b.Tenants[0].EventDigest = other }, tenants: 1, whyTenant: "not the same ones"},
		{what: "only here", change: func(_, b *verify.Digests) { b.Tenants = nil }, tenants: 1, whyTenant: "8 events on the left side, 0"},
		{what: "another plane", change: func(_, b *verify.Digests) { b.KeyID, b.Positions[0].Chain = "other", other }, tenants: 1, whyTenant: "two planes"},
		{what: "another key, the same events", change: func(_, b *verify.Digests) { b.KeyID, b.Tenants[0].Tables[0].Kept = "other", other }, same: 1, equal: "yes"},
		{what: "another key, the same events, other rows", change: func(_, b *verify.Digests) { b.KeyID, b.Tenants[0].Tables[0].LtHash = "other", other }, different: 1},
		{what: "nothing kept", change: func(a, b *verify.Digests) { forget(a); forget(b) }, same: 1, equal: "yes"},
		{what: "nothing kept, another position", change: func(a, b *verify.Digests) { forget(a); forget(b); b.Positions[0].Seq = 8 }, tenants: 1, whyTenant: "positions differ"},
		{what: "void digests", change: func(_, b *verify.Digests) { b.Positions[0].KeptSeq = n(3); b.Tenants[0].EventDigest = other }, same: 1, equal: "yes"},
		{what: "kept alone", change: func(_, b *verify.Digests) { unread(b) }, same: 1, equal: "yes"},
		{what: "kept alone, of another key", change: func(_, b *verify.Digests) { unread(b); b.KeyID = "other" }, tenants: 1, whyTenant: "were not read"},
		{what: "another form", change: func(_, b *verify.Digests) { b.Tables[0].Fingerprint = other }, tables: 1},
		{what: "a new table", change: func(_, b *verify.Digests) {
			b.Tables = append(b.Tables, verify.TableForm{Table: "new", Fingerprint: other})
		}, same: 1, tables: 1},
		{what: "a table that is gone", change: func(_, b *verify.Digests) { b.Tables = b.Tables[:1] }, same: 1, tables: 1},
		{what: "other tenants", change: func(_, b *verify.Digests) { b.OnlyTenants, b.Tenants = []string{"blue"}, nil }, tenants: 1, whyTenant: "not read on both sides"},
		{what: "only this tenant", change: func(_, b *verify.Digests) { b.OnlyTenants = []string{"acme"} }, same: 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			a, b := sample(), sample()
			c.change(a, b)
			for _, side := range []string{"as given", "turned round"} {
				r := verify.CompareDigests(a, b)
				why := ""
				for _, tenant := range r.Tenants {
					why += tenant.Why
				}
				if r.Same != c.same || r.Different != c.different || r.NotComparable != c.tenants || len(r.TablesNotCompared) != c.tables || r.Equal != (c.equal == "yes") {
					t.Fatalf("%s: %+v", side, r)
				}
				if side == "as given" && !strings.Contains(why, c.whyTenant) {
					t.Errorf("why is %q, want %q", why, c.whyTenant)
				}
				a, b = b, a
			}
		})
	}
}

func forget(d *verify.Digests) {
	d.KeyID, d.Positions[0].KeptSeq = "", nil
	d.Tenants[0].Tables[0].Kept, d.Tenants[0].Tables[0].KeptRows, d.Tenants[0].EventDigest, d.Tenants[0].Events = "", nil, "", 0
}

func unread(d *verify.Digests) {
	d.Scanned = false
	d.Tenants[0].Tables[0].Rows, d.Tenants[0].Tables[0].LtHash = nil, ""
}

func TestParseDigestsRefuses(t *testing.T) {
	for what, change := range map[string]func(d *verify.Digests){
		"no positions":               func(d *verify.Digests) { d.Positions = nil },
		"a shard twice":              func(d *verify.Digests) { d.Positions = append(d.Positions, d.Positions[0]) },
		"a tenant twice":             func(d *verify.Digests) { d.Tenants = append(d.Tenants, d.Tenants[0]) },
		"a table twice":              func(d *verify.Digests) { d.Tables[1].Table = "memory" },
		"a table of a tenant twice":  func(d *verify.Digests) { d.Tenants[0].Tables = append(d.Tenants[0].Tables, d.Tenants[0].Tables[0]) },
		"a table nobody looked at":   func(d *verify.Digests) { d.Tenants[0].Tables[0].Table = "other" },
		"a digest that is none":      func(d *verify.Digests) { d.Tenants[0].Tables[0].LtHash = "xyz" },
		"a digest in capitals":       func(d *verify.Digests) { d.Tenants[0].Tables[0].Kept = strings.Repeat("F", 64) },
		"a short digest":             func(d *verify.Digests) { d.Tenants[0].EventDigest = "00" },
		"rows that were not counted": func(d *verify.Digests) { d.Tenants[0].Tables[0].Rows = nil },
		"a count without a digest":   func(d *verify.Digests) { d.Tenants[0].Tables[0].Kept = "" },
	} {
		d := sample()
		change(d)
		body, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := verify.ParseDigests(body); !errors.Is(err, verify.ErrDigests) {
			t.Errorf("%s: got %v, want %v", what, err, verify.ErrDigests)
		}
	}
	body, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []string{"", "{}", "[]", string(body) + "{}", `{"unknown":1,` + string(body[1:])} {
		if _, err := verify.ParseDigests([]byte(b)); !errors.Is(err, verify.ErrDigests) {
			t.Errorf("%.40q: got %v, want %v", b, err, verify.ErrDigests)
		}
	}
}

// FuzzParseDigests: what is accepted can be written again, is read as the same, and is equal to itself or not comparable.
func FuzzParseDigests(f *testing.F) {
	body, err := json.Marshal(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte(`{"positions":[{"shard":0}]}`))
	f.Add([]byte(`{"positions":[{"shard":0}],"tenants":[{"tenant":"a"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := verify.ParseDigests(b)
		if err != nil {
			if !errors.Is(err, verify.ErrDigests) {
				t.Fatalf("got %v, want %v", err, verify.ErrDigests)
			}
			return
		}
		again, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		second, err := verify.ParseDigests(again)
		if err != nil || !reflect.DeepEqual(d, second) {
			t.Fatalf("%s is read as something else: %v", again, err)
		}
		if r := verify.CompareDigests(d, second); r.Different > 0 {
			t.Fatalf("%s differs from itself: %+v", again, r)
		}
	})
}
