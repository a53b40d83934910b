package verify

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// Digests are what an edition holds, by tenant and table, at the position of one snapshot: enough to tell whether two
// editions, two deployments, or an edition and its restored copy hold the same rows.
type Digests struct {
	Edition int64  `json:"edition"`
	Shape   string `json:"shape"`
	// KeyID tells whose kept digests these are: two of different keys cannot be compared. Empty: none are kept.
	KeyID string `json:"key_id,omitempty"`
	// Scanned says that the tables were read: rows and lthash are there.
	Scanned   bool        `json:"scanned"`
	Positions []Position  `json:"positions"` // by shard
	Tables    []TableForm `json:"tables"`    // those that were looked at
	// OnlyTenants are those that were looked at; empty = all.
	OnlyTenants []string        `json:"only_tenants"`
	Tenants     []TenantDigests `json:"tenants"` // in order; a tenant without events and rows is left out
}

// Position is how far an edition has folded a shard.
type Position struct {
	Shard       int    `json:"shard"`
	JournalID   string `json:"journal_id"`
	Seq         int64  `json:"seq"`
	EventDigest string `json:"event_digest"` // of the event at Seq
	Chain       string `json:"chain"`        // of all events up to it
	// KeptSeq is the sequence the kept digests are of; nil = none are kept. They hold only where it is Seq.
	KeptSeq *int64 `json:"kept_seq,omitempty"`
}

func (p Position) kept() bool { return p.KeptSeq != nil && *p.KeptSeq == p.Seq }

// TableForm is a table and what its digests are bound to: its name, columns and types.
type TableForm struct {
	Table       string `json:"table"`
	Fingerprint string `json:"fingerprint"`
}

// TenantDigests are the digests of one tenant.
type TenantDigests struct {
	Tenant string `json:"tenant"`
	// Events counts the events that were applied, EventDigest is the kept digest of them. Empty: none is kept.
	Events      int64          `json:"events"`
	EventDigest string         `json:"event_digest,omitempty"`
	Tables      []TableDigests `json:"tables"` // in order; a table without rows is left out
}

// TableDigests are the digests of the rows of one tenant in one table.
type TableDigests struct {
	Table string `json:"table"`
	// Rows and LtHash are what was found in the table; nil and empty: it was not read.
	Rows   *int64 `json:"rows,omitempty"`
	LtHash string `json:"lthash,omitempty"`
	// KeptRows and Kept are what the projector has written; nil and empty: none are kept.
	KeptRows *int64 `json:"kept_rows,omitempty"`
	Kept     string `json:"kept,omitempty"`
}

// Kept reports whether digests of all shards are kept, and hold.
func (d *Digests) Kept() bool {
	return len(d.Positions) > 0 && !slices.ContainsFunc(d.Positions, func(p Position) bool { return !p.kept() })
}

// ErrNoDigests: the edition has no kept digests, or they are void. Such an edition was built, or projected since, by a
// binary that knows none: run `refold verify`, or build a new edition.
var ErrNoDigests = errors.New("the edition keeps no digests: run `refold verify` without --quick, or build a new edition")

// ErrNotBuilt: the edition has no checkpoint.
var ErrNotBuilt = errors.New("the edition is not built, or was retired")

// ReadKept reads all kept digests of an edition in tx, which must be one snapshot (REPEATABLE READ) of a role that sees the
// control tables, such as the verifier or the owner. It reads no rows of tenants. Where none are kept, or they are void,
// the positions say so and there are no tenants.
func ReadKept(ctx context.Context, d *postgres.DB, tx db.DBTX, edition int64) (*Digests, error) {
	tables, err := tablesOf(ctx, d, edition)
	if err != nil {
		return nil, err
	}
	k, err := readKept(ctx, tx, edition)
	if err != nil {
		return nil, err
	}
	out := k.digests(tables)
	for tenant, sums := range k.tenants {
		if len(sums.malformed) > 0 {
			return nil, fmt.Errorf("kept digests of tenant %s in edition %d: %w", tenant, edition, rows.ErrPacked)
		}
		out.Tenants = append(out.Tenants, tenantDigests(tenant, sums, tables, nil))
	}
	sortByTenant(out.Tenants)
	return out, nil
}

// kept is what is kept of an edition, in one snapshot.
type kept struct {
	edition   db.ControlEdition
	positions []Position
	key       *rows.KeptKey // nil = none are kept
	tenants   map[string]*keptTenant
	events    map[int]int64 // by shard
}

// keptTenant is what is kept of one tenant, over all shards.
type keptTenant struct {
	rows.TenantSums
	malformed string // why it does not decode; empty = it does
}

// readKept reads positions and kept digests. Digests that are void are not read.
func readKept(ctx context.Context, tx db.DBTX, edition int64) (*kept, error) {
	q := db.New(tx)
	k := &kept{tenants: map[string]*keptTenant{}, events: map[int]int64{}}
	var err error
	if k.edition, err = q.EditionByNumber(ctx, edition); err != nil {
		return nil, fmt.Errorf("edition %d: %w", edition, err)
	}
	if k.positions, err = readPositions(ctx, q, edition); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(k.positions, func(p Position) bool { return !p.kept() }) {
		return k, nil
	}
	if k.key, err = rows.ReadKeptKey(ctx, tx); err != nil {
		return nil, err
	}
	list, err := q.KeptDigestList(ctx, edition)
	if err != nil {
		return nil, fmt.Errorf("kept digests of edition %d: %w", edition, err)
	}
	for _, row := range list {
		k.events[int(row.Shard)] += row.Events
		k.add(row.TenantID, row.Events, row.EventDigest, row.Tables)
	}
	return k, nil
}

func (k *kept) add(tenant string, events int64, digest, tables []byte) {
	t := k.tenants[tenant]
	if t == nil {
		t = &keptTenant{TenantSums: rows.TenantSums{Tables: map[rows.TableID]rows.Sum{}}}
		k.tenants[tenant] = t
	}
	sums, err := rows.UnpackTenant(events, digest, tables)
	if err != nil {
		t.malformed = err.Error()
		return
	}
	t.Events.Merge(&sums.Events)
	for id, sum := range sums.Tables {
		all := t.Tables[id]
		all.Merge(&sum)
		t.Tables[id] = all
	}
}

func readPositions(ctx context.Context, q *db.Queries, edition int64) ([]Position, error) {
	list, err := q.KeptPositions(ctx, edition)
	if err != nil {
		return nil, fmt.Errorf("positions of edition %d: %w", edition, err)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("edition %d: %w", edition, ErrNotBuilt)
	}
	var out []Position
	for _, p := range list {
		out = append(out, Position{
			Shard: int(p.Shard), JournalID: p.JournalID, Seq: p.Seq, KeptSeq: p.KeptSeq,
			EventDigest: hex.EncodeToString(p.EventDigest), Chain: hex.EncodeToString(p.Chain),
		})
	}
	return out, nil
}

func (k *kept) digests(tables []*rows.Description) *Digests {
	out := &Digests{Edition: k.edition.Number, Shape: k.edition.Shape, Positions: k.positions, Tables: []TableForm{}, OnlyTenants: []string{}, Tenants: []TenantDigests{}}
	if k.key != nil {
		out.KeyID = k.key.ID()
	}
	for _, d := range tables {
		out.Tables = append(out.Tables, TableForm{d.Name, d.Fingerprint()})
	}
	return out
}

// tenantDigests puts together what is kept of a tenant (nil = nothing) and what was found (nil = nothing was read).
func tenantDigests(tenant string, k *keptTenant, tables []*rows.Description, found map[string]tableFound) TenantDigests {
	out := TenantDigests{Tenant: tenant, Tables: []TableDigests{}}
	if k != nil {
		out.Events, out.EventDigest = k.Events.Count(), k.Events.Digest()
	}
	for _, d := range tables {
		one := TableDigests{Table: d.Name}
		if k != nil {
			if sum, ok := k.Tables[d.ID()]; ok {
				n := sum.Count()
				one.KeptRows, one.Kept = &n, sum.Digest()
			}
		}
		f, ok := found[d.Name]
		if ok || found != nil && one.KeptRows != nil {
			n := f.sum.Count()
			one.Rows, one.LtHash = &n, f.lthash
		}
		if one.Rows != nil || one.KeptRows != nil {
			out.Tables = append(out.Tables, one)
		}
	}
	return out
}

// tableFound is what a scan has found of one tenant in one table.
type tableFound struct {
	sum    rows.Sum
	lthash string
}

func sortByTenant(all []TenantDigests) {
	slices.SortFunc(all, func(a, b TenantDigests) int { return cmp.Compare(a.Tenant, b.Tenant) })
}

// tablesOf describes the tables of an edition, of whatever shape it is.
func tablesOf(ctx context.Context, d *postgres.DB, edition int64) ([]*rows.Description, error) {
	columns, err := d.Columns(ctx, edition)
	if err != nil {
		return nil, err
	}
	var out []*rows.Description
	for i := 0; i < len(columns); {
		name, of := columns[i].Table, []rows.Column{}
		for ; i < len(columns) && columns[i].Table == name; i++ {
			of = append(of, rows.Column{Name: columns[i].Name, Type: columns[i].Type, NotNull: columns[i].NotNull})
		}
		table, err := rows.Describe(name, of)
		if err != nil {
			return nil, fmt.Errorf("edition %d: %w", edition, err)
		}
		out = append(out, table)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("edition %d: %w", edition, ErrNotBuilt)
	}
	return out, nil
}

// snapshot begins a transaction that sees one instant.
func snapshot(ctx context.Context, d *postgres.DB, edition int64) (pgx.Tx, error) {
	pool, err := d.Verifier(ctx, edition)
	if err != nil {
		return nil, err
	}
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("open the snapshot: %w", err)
	}
	return tx, nil
}
