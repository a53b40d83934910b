package verify

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// DigestsBytesMax bounds a file of digests.
const DigestsBytesMax = 1 << 30

var (
	// ErrDigests: the file holds no digests as `refold digests` writes them.
	ErrDigests = errors.New("not a file of digests")
	// ErrNotComparable: no difference was found, but not everything could be compared: bring both sides to one position.
	ErrNotComparable = errors.New("not everything could be compared")
)

// ParseDigests decodes a file of digests. What it accepts can be compared.
func ParseDigests(body []byte) (*Digests, error) {
	if len(body) > DigestsBytesMax {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrDigests, DigestsBytesMax)
	}
	var d Digests
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDigests, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: something follows the document", ErrDigests)
	}
	if err := d.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDigests, err)
	}
	return &d, nil
}

// validate refuses what would compare wrongly: names that come twice, and digests that are none.
func (d *Digests) validate() error {
	shards, tables, tenants := map[int]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range d.Positions {
		if shards[p.Shard] || !isHex(p.Chain, true) || !isHex(p.EventDigest, true) {
			return fmt.Errorf("position of shard %d", p.Shard)
		}
		shards[p.Shard] = true
	}
	if len(shards) == 0 {
		return errors.New("no positions")
	}
	for _, t := range d.Tables {
		if tables[t.Table] || t.Table == "" || !isHex(t.Fingerprint, false) {
			return fmt.Errorf("table %q", t.Table)
		}
		tables[t.Table] = true
	}
	for _, t := range d.Tenants {
		if tenants[t.Tenant] || !isHex(t.EventDigest, true) {
			return fmt.Errorf("tenant %q", t.Tenant)
		}
		tenants[t.Tenant] = true
		seen := map[string]bool{}
		for _, of := range t.Tables {
			if seen[of.Table] || !tables[of.Table] || !isHex(of.LtHash, true) || !isHex(of.Kept, true) ||
				(of.KeptRows == nil) != (of.Kept == "") || d.Scanned != (of.Rows != nil) {
				return fmt.Errorf("table %q of tenant %q", of.Table, t.Tenant)
			}
			seen[of.Table] = true
		}
	}
	return nil
}

func isHex(s string, orEmpty bool) bool {
	b, err := hex.DecodeString(s)
	return err == nil && (len(b) == 32 || orEmpty && len(b) == 0) && s == strings.ToLower(s)
}

// DigestVerdict is what a comparison says of one table of a tenant.
type DigestVerdict string

// The verdicts.
const (
	DigestsEqual     DigestVerdict = "equal"
	DigestsDifferent DigestVerdict = "different"
)

// DigestComparison says what two editions have in common, by their digests alone.
type DigestComparison struct {
	// Equal: every tenant and table of both was compared, and is equal.
	Equal bool `json:"equal"`
	// Same and Different count tables of tenants; NotComparable counts tenants.
	Same          int                `json:"same"`
	Different     int                `json:"different"`
	NotComparable int                `json:"not_comparable"`
	Tenants       []TenantComparison `json:"tenants"`
	// TablesNotCompared have another form on either side, or are there on one side only.
	TablesNotCompared []TableNotCompared `json:"tables_not_compared"`
}

// TenantComparison compares one tenant.
type TenantComparison struct {
	Tenant string `json:"tenant"`
	// Position says how it is known that both sides have folded the same events of the tenant: "event digest" or "chain of the
	// shard". Why says why they cannot be compared; empty = they can.
	Position string            `json:"position,omitempty"`
	Why      string            `json:"why,omitempty"`
	Tables   []TableComparison `json:"tables"`
}

// TableComparison compares one table of a tenant.
type TableComparison struct {
	Table   string        `json:"table"`
	Verdict DigestVerdict `json:"verdict"`
	Why     string        `json:"why,omitempty"`
}

// TableNotCompared is a table that is not the same on both sides.
type TableNotCompared struct {
	Table string `json:"table"`
	Why   string `json:"why"`
}

// CompareDigests compares what two editions hold. A tenant is compared only where both sides have folded the same of its
// events; anywhere else its rows may well differ, and that says nothing.
func CompareDigests(a, b *Digests) *DigestComparison {
	c := &digestComparer{a: a, b: b, out: &DigestComparison{Tenants: []TenantComparison{}, TablesNotCompared: []TableNotCompared{}}}
	c.run()
	return c.out
}

type digestComparer struct {
	a, b    *Digests
	tables  []string // of the same form on both sides
	sameKey bool
	chained bool // both stand behind the very same events
	out     *DigestComparison
}

func (c *digestComparer) run() {
	c.sameKey = c.a.KeyID == c.b.KeyID && c.a.KeyID != "" && c.a.Kept() && c.b.Kept()
	c.chained = slices.EqualFunc(c.a.Positions, c.b.Positions, func(p, q Position) bool {
		return p.Shard == q.Shard && p.Seq == q.Seq && p.Chain == q.Chain && p.Chain != ""
	})
	c.forms()
	left, right := byTenant(c.a), byTenant(c.b)
	var names []string
	for name := range left {
		names = append(names, name)
	}
	for name := range right {
		if _, ok := left[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		c.tenant(name, left[name], right[name])
	}
	c.out.Equal = c.comparable() == "" && c.out.Different == 0 && c.out.NotComparable == 0 && len(c.out.TablesNotCompared) == 0 &&
		len(c.a.OnlyTenants) == 0 && len(c.b.OnlyTenants) == 0
}

func byTenant(d *Digests) map[string]TenantDigests {
	out := map[string]TenantDigests{}
	for _, t := range d.Tenants {
		out[t.Tenant] = t
	}
	return out
}

// forms finds the tables that are the same on both sides.
func (c *digestComparer) forms() {
	other := map[string]string{}
	for _, t := range c.b.Tables {
		other[t.Table] = t.Fingerprint
	}
	for _, t := range c.a.Tables {
		form, ok := other[t.Table]
		switch delete(other, t.Table); {
		case !ok:
			c.out.TablesNotCompared = append(c.out.TablesNotCompared, TableNotCompared{t.Table, "only on the left side"})
		case form != t.Fingerprint:
			c.out.TablesNotCompared = append(c.out.TablesNotCompared, TableNotCompared{t.Table, "its columns differ"})
		default:
			c.tables = append(c.tables, t.Table)
		}
	}
	for _, t := range c.b.Tables {
		if _, left := other[t.Table]; left {
			c.out.TablesNotCompared = append(c.out.TablesNotCompared, TableNotCompared{t.Table, "only on the right side"})
		}
	}
}

// comparable says why nothing can be compared; empty = something can.
func (c *digestComparer) comparable() string {
	switch {
	case !c.sameKey && !(c.a.Scanned && c.b.Scanned):
		return "rows of one side were not read, and there are no kept digests of one plane on both sides"
	case !c.sameKey && !c.chained && c.a.KeyID != c.b.KeyID:
		return "digests of two planes, which do not stand behind the same events"
	case !c.sameKey && !c.chained:
		return "no digests are kept on both sides, and the positions differ"
	}
	return ""
}

func (d *Digests) looksAt(tenant string) bool {
	return len(d.OnlyTenants) == 0 || slices.Contains(d.OnlyTenants, tenant)
}

// position says how it is known that both sides have folded the same events of a tenant, or why they have not.
func (c *digestComparer) position(a, b TenantDigests) (by, why string) {
	switch why := c.comparable(); {
	case why != "":
		return "", why
	case !c.a.looksAt(cmp.Or(a.Tenant, b.Tenant)) || !c.b.looksAt(cmp.Or(a.Tenant, b.Tenant)):
		return "", "not read on both sides"
	case c.sameKey && a.Events != b.Events:
		return "", fmt.Sprintf("%d events on the left side, %d on the right", a.Events, b.Events)
	case c.sameKey && a.EventDigest != b.EventDigest && a.Events > 0:
		return "", "as many events on both sides, but not the same ones"
	case c.sameKey:
		return "event digest", ""
	}
	return "chain of the shard", ""
}

func (c *digestComparer) tenant(name string, a, b TenantDigests) {
	out := TenantComparison{Tenant: name, Tables: []TableComparison{}}
	if out.Position, out.Why = c.position(a, b); out.Why != "" {
		c.out.NotComparable++
		c.out.Tenants = append(c.out.Tenants, out)
		return
	}
	left, right := byTable(a), byTable(b)
	for _, table := range c.tables {
		l, inLeft := left[table]
		r, inRight := right[table]
		if !inLeft && !inRight {
			continue
		}
		one := TableComparison{Table: table, Verdict: DigestsEqual}
		if why := c.table(l, r); len(why) > 0 {
			one.Verdict, one.Why = DigestsDifferent, strings.Join(why, "; ")
			c.out.Different++
		} else {
			c.out.Same++
		}
		out.Tables = append(out.Tables, one)
	}
	c.out.Tenants = append(c.out.Tenants, out)
}

func byTable(t TenantDigests) map[string]TableDigests {
	out := map[string]TableDigests{}
	for _, of := range t.Tables {
		out[of.Table] = of
	}
	return out
}

// table says what differs between the digests of one table of a tenant.
func (c *digestComparer) table(a, b TableDigests) (why []string) {
	if c.a.Scanned && c.b.Scanned {
		if countOf(a.Rows) != countOf(b.Rows) {
			why = append(why, fmt.Sprintf("%d rows on the left side, %d on the right", countOf(a.Rows), countOf(b.Rows)))
		} else if a.LtHash != b.LtHash && countOf(a.Rows) > 0 {
			why = append(why, fmt.Sprintf("%d rows on both sides, but not the same ones", countOf(a.Rows)))
		}
	}
	if c.sameKey && (a.Kept != b.Kept || countOf(a.KeptRows) != countOf(b.KeptRows)) {
		why = append(why, "other rows were written")
	}
	return why
}

func countOf(n *int64) int64 {
	if n == nil {
		return 0
	}
	return *n
}
