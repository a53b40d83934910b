package verify

import (
	"cmp"
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/rows"
)

// Scrubber holds the rows of all serving editions of one shape against their kept digests, one tenant after another, round
// after round. Of several processes one at a time does so for each edition. What it finds stands in control.scrub: a
// tenant found damaged stays so until a later round finds it whole. It repairs nothing.
type Scrubber struct {
	DB    *postgres.DB
	Shape string
	// Rate bounds how many rows a second are read of each edition; 0 = 20,000.
	Rate int
	// RoundMin is the least time between the beginnings of two rounds; 0 = 10 s. A round over much takes longer: no more
	// than a tenth of the time is worked.
	RoundMin time.Duration
	// MakeWay lets live traffic pass, as edition.Editions.MakeWay does; nil = it is not looked at.
	MakeWay func(context.Context) (pause func(context.Context) error, end func())
	// Signer signs each proof; nil = proofs are recorded unsigned.
	Signer *report.Signer
	Logger *slog.Logger
}

const (
	scrubRateDefault = 20_000
	scrubRoundMin    = 10 * time.Second
	scrubLook        = time.Second
	scrubDuty        = 0.1
)

// Run goes round until ctx ends. Failures are logged and tried again.
func (s *Scrubber) Run(ctx context.Context) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	running := map[int64]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for {
		wanted, err := s.wanted(ctx)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("scrubber cannot list editions", "error", err)
		}
		for number, stop := range running {
			if err == nil && !slices.Contains(wanted, number) {
				stop()
				delete(running, number)
			}
		}
		for _, number := range wanted {
			if running[number] == nil {
				one, stop := context.WithCancel(ctx)
				running[number] = stop
				all.Go(func() { s.keep(one, number) })
			}
		}
		select {
		case <-ctx.Done():
			for _, stop := range running {
				stop()
			}
			return nil
		case <-time.After(scrubLook):
		}
	}
}

func (s *Scrubber) wanted(ctx context.Context) ([]int64, error) {
	pool, err := s.DB.Operator(ctx)
	if err != nil {
		return nil, err
	}
	editions, err := db.New(pool).EditionList(ctx)
	if err != nil {
		return nil, err
	}
	var out []int64
	for _, e := range editions {
		if e.State == "serving" && e.Shape == s.Shape {
			out = append(out, e.Number)
		}
	}
	return out, nil
}

// keep goes round one edition whenever no other process does.
func (s *Scrubber) keep(ctx context.Context, number int64) {
	for ctx.Err() == nil {
		begun := time.Now()
		if err := s.alone(ctx, number); err != nil && ctx.Err() == nil && !errors.Is(err, ErrNoDigests) {
			s.Logger.Warn("a round of the scrubber failed", "edition", number, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(max(cmp.Or(s.RoundMin, scrubRoundMin)-time.Since(begun), 0)):
		}
	}
}

// alone goes round while it holds the advisory lock, which ends with this process however that ends.
func (s *Scrubber) alone(ctx context.Context, number int64) error {
	release, mine, err := s.DB.TryLock(ctx, fmt.Sprintf("refold scrubber %d", number))
	if err != nil || !mine {
		return err
	}
	defer release()
	return s.Round(ctx, number)
}

// Round checks every tenant of an edition once, beginning with the one whose last check is the oldest. It fails with
// ErrNoDigests where none are kept. Damage is no error.
func (s *Scrubber) Round(ctx context.Context, number int64) error {
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	tables, err := tablesOf(ctx, s.DB, number)
	if err != nil {
		return err
	}
	tenants, err := s.tenants(ctx, number, tables)
	if err != nil {
		return err
	}
	b := &budget{rate: cmp.Or(s.Rate, scrubRateDefault), begun: time.Now()}
	if s.MakeWay != nil {
		pause, end := s.MakeWay(ctx)
		defer end()
		b.makeWay = pause
	}
	for _, tenant := range tenants {
		err := s.check(ctx, number, tables, tenant, b)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && ctx.Err() == nil {
			s.Logger.Warn("a tenant could not be checked", "edition", number, "tenant", tenant, "error", pg)
			err = nil // the others can
		}
		if err != nil {
			return fmt.Errorf("tenant %s: %w", tenant, err)
		}
		if err := b.rest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tenants are all that have digests or rows, or were found damaged, in the order of their last check.
func (s *Scrubber) tenants(ctx context.Context, number int64, tables []*rows.Description) ([]string, error) {
	pool, err := s.DB.Verifier(ctx, number)
	if err != nil {
		return nil, err
	}
	if _, err := keptKey(ctx, pool, number); err != nil {
		return nil, err
	}
	q := db.New(pool)
	out, err := q.KeptTenants(ctx, number)
	if err != nil {
		return nil, err
	}
	checked := map[string]time.Time{}
	list, err := q.ScrubList(ctx, number)
	if err != nil {
		return nil, err
	}
	for _, row := range list {
		checked[row.TenantID] = row.CheckedAt
		out = append(out, row.TenantID)
	}
	for _, d := range tables {
		some, err := tenantsOf(ctx, pool, d.Name)
		if pg, ok := errors.AsType[*pgconn.PgError](err); ok && ctx.Err() == nil {
			// Whose rows cannot be read is found when they are checked; only tenants that nobody knows may be missed.
			s.Logger.Error("a table cannot be read", "edition", number, "table", d.Name, "error", pg)
			err = nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, some...)
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(checked[a].Compare(checked[b]), cmp.Compare(a, b)) })
	return slices.Compact(out), nil
}

// tenantsOf names the tenants that have rows in a table, by leaping from one to the next along the primary key.
func tenantsOf(ctx context.Context, tx db.DBTX, table string) ([]string, error) {
	found, err := tx.Query(ctx, `WITH RECURSIVE leap (tenant_id) AS (
		(SELECT tenant_id FROM `+table+` ORDER BY tenant_id LIMIT 1)
		UNION ALL
		SELECT (SELECT t.tenant_id FROM `+table+` AS t WHERE t.tenant_id > leap.tenant_id ORDER BY t.tenant_id LIMIT 1) FROM leap WHERE leap.tenant_id IS NOT NULL
	) SELECT tenant_id FROM leap WHERE tenant_id IS NOT NULL`)
	if err != nil {
		return nil, fmt.Errorf("tenants in table %s: %w", table, err)
	}
	return pgx.CollectRows(found, pgx.RowTo[string])
}

// keptKey returns the key of an edition's kept digests, or ErrNoDigests where they are not kept or void.
func keptKey(ctx context.Context, tx db.DBTX, number int64) (*rows.KeptKey, error) {
	positions, err := readPositions(ctx, db.New(tx), number)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(positions, func(p Position) bool { return !p.kept() }) {
		return nil, ErrNoDigests
	}
	return rows.ReadKeptKey(ctx, tx)
}

// check holds all rows of one tenant against its digests, in one snapshot, and records what came of it.
func (s *Scrubber) check(ctx context.Context, number int64, tables []*rows.Description, tenant string, b *budget) error {
	events, known, damage, err := checkTenant(ctx, s.DB, number, tables, tenant, b.pause)
	if read, ok := errors.AsType[*rows.ReadError](err); ok && corrupted(read) {
		s.Logger.Error("a table cannot be read", "edition", number, "tenant", tenant, "error", err)
		damage, err = []string{read.Table}, nil
	}
	if err != nil {
		return err
	}
	pool, err := s.DB.Operator(ctx)
	if err != nil {
		return err
	}
	q := db.New(pool)
	was, err := q.ScrubDamage(ctx, number)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(was, func(d db.ScrubDamageRow) bool { return d.TenantID == tenant })
	switch {
	case len(damage) > 0:
		if i < 0 || !slices.Equal(was[i].Damaged, damage) {
			s.Logger.Error("rows are not those that were written: run `refold verify`", "edition", number, "tenant", tenant, "tables", damage)
		}
		return q.ScrubDamaged(ctx, db.ScrubDamagedParams{Edition: number, TenantID: tenant, Damaged: damage})
	case i >= 0:
		s.Logger.Warn("damaged rows are whole again", "edition", number, "tenant", tenant, "tables", was[i].Damaged)
	}
	if !known {
		return q.ScrubForget(ctx, db.ScrubForgetParams{Edition: number, TenantID: tenant})
	}
	proof := db.ScrubProvenParams{Edition: number, TenantID: tenant, Events: events, ProvenAt: time.Now().UTC().Truncate(time.Microsecond)}
	if s.Signer != nil {
		proof.Mac = proofMAC(s.Signer, number, tenant, proof.ProvenAt, events)
	}
	return q.ScrubProven(ctx, proof)
}

// proofMAC is the signature of a proof, as control.scrub keeps it.
func proofMAC(s *report.Signer, number int64, tenant string, at time.Time, events int64) []byte {
	return s.MAC("control.scrub", number, tenant, at.UnixMicro(), events)
}

// corrupted: the database says that its own files are not what they must be.
func corrupted(err *rows.ReadError) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && strings.HasPrefix(pg.Code, "XX")
}

// checkTenant returns how many events the digests of a tenant are of, whether there are any, and the tables that differ.
func checkTenant(ctx context.Context, d *postgres.DB, number int64, tables []*rows.Description, tenant string, pause func(context.Context) error) (events int64, known bool, damage []string, err error) {
	tx, err := snapshot(ctx, d, number)
	if err != nil {
		return 0, false, nil, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	key, err := keptKey(ctx, tx, number)
	if err != nil {
		return 0, false, nil, err
	}
	list, err := db.New(tx).KeptDigestOf(ctx, db.KeptDigestOfParams{Edition: number, TenantID: tenant})
	if err != nil {
		return 0, false, nil, fmt.Errorf("kept digests: %w", err)
	}
	of := kept{tenants: map[string]*keptTenant{}}
	for _, row := range list {
		events += row.Events
		of.add(tenant, row.Events, row.EventDigest, row.Tables)
	}
	found, err := rows.ScanTenant(ctx, tx, tables, key, tenant, pause)
	if err != nil {
		return 0, false, nil, err
	}
	compareTenant(tenant, of.tenants[tenant], tables, func(d *rows.Description) rows.Sum { return found[d.ID()] }, func(d QuickDifference) {
		damage = append(damage, cmp.Or(d.Table, string(d.Fault)))
	})
	return events, len(list) > 0, damage, nil
}

// budget holds the scrubber back: by a rate of rows, by a share of the time, and for live traffic.
type budget struct {
	rate    int
	makeWay func(context.Context) error // nil = nobody is made way for
	begun   time.Time                   // of the current slice of work
	rows    int                         // in it
}

// pause is called after every rows.PauseRows rows.
func (b *budget) pause(ctx context.Context) error {
	b.rows += rows.PauseRows
	return b.rest(ctx)
}

// rest waits for as long as what was done asks for.
func (b *budget) rest(ctx context.Context) error {
	worked := time.Since(b.begun)
	wait := time.Duration(float64(worked) * (1 - scrubDuty) / scrubDuty)
	if b.rate > 0 {
		wait = max(wait, time.Duration(float64(b.rows)/float64(b.rate)*float64(time.Second))-worked)
	}
	if wait < time.Millisecond {
		return nil // it adds up: the slice goes on
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	var err error
	if b.makeWay != nil {
		err = b.makeWay(ctx)
	}
	b.begun, b.rows = time.Now(), 0
	return err
}

// ScrubState is what the scrubber knows of an edition.
type ScrubState struct {
	Edition int64 `json:"edition"`
	// Digests is "kept", "none", or "void" where something has projected that knows none.
	Digests string `json:"digests"`
	Tenants int64  `json:"tenants"`
	Never   int64  `json:"never_proven"`
	// Oldest are the tenants that were proven the longest ago, those that never were first.
	Oldest  []ScrubProof  `json:"oldest_proofs"`
	Damaged []ScrubDamage `json:"damaged"`
}

// ScrubProof says when the rows of a tenant were last proven to be those that were written, and how many of its events
// they were the fold of.
type ScrubProof struct {
	Tenant string     `json:"tenant"`
	At     *time.Time `json:"at,omitempty"` // nil = never
	Events *int64     `json:"events,omitempty"`
}

// ScrubDamage is a tenant some of whose rows are not those that were written.
type ScrubDamage struct {
	Tenant  string    `json:"tenant"`
	Tables  []string  `json:"tables"`
	Since   time.Time `json:"since"` // when it was found
	Checked time.Time `json:"checked"`
}

const scrubOldestMost = 5

// ReadScrub reads what the scrubber knows of an edition. A proof that the signer has not signed is none; without a signer
// all count.
func ReadScrub(ctx context.Context, d *postgres.DB, number int64, signer *report.Signer) (*ScrubState, error) {
	pool, err := d.Operator(ctx)
	if err != nil {
		return nil, err
	}
	q := db.New(pool)
	positions, err := readPositions(ctx, q, number)
	if err != nil {
		return nil, err
	}
	s := &ScrubState{Edition: number, Digests: digestsState(positions), Oldest: []ScrubProof{}, Damaged: []ScrubDamage{}}
	proofs, err := q.ScrubProofs(ctx, number)
	if err != nil {
		return nil, fmt.Errorf("scrubbed tenants of edition %d: %w", number, err)
	}
	var never, proven []ScrubProof
	for _, p := range proofs {
		said := p.ProvenAt != nil && p.ProvenEvents != nil
		if said && (signer == nil || hmac.Equal(p.Mac, proofMAC(signer, number, p.TenantID, *p.ProvenAt, *p.ProvenEvents))) {
			proven = append(proven, ScrubProof{p.TenantID, p.ProvenAt, p.ProvenEvents})
		} else {
			never = append(never, ScrubProof{Tenant: p.TenantID})
		}
	}
	s.Tenants, s.Never = int64(len(proofs)), int64(len(never))
	oldest := append(never, proven...)
	s.Oldest = append(s.Oldest, oldest[:min(len(oldest), scrubOldestMost)]...)
	damaged, err := q.ScrubDamage(ctx, number)
	if err != nil {
		return nil, fmt.Errorf("damaged tenants of edition %d: %w", number, err)
	}
	for _, row := range damaged {
		s.Damaged = append(s.Damaged, ScrubDamage{row.TenantID, row.Damaged, row.DamagedSince.UTC(), row.CheckedAt.UTC()})
	}
	return s, nil
}

// digestsState reads positions outside a snapshot of a checkpoint that moves: each row of the one query is of one instant.
func digestsState(positions []Position) string {
	state := "kept"
	for _, p := range positions {
		switch {
		case p.KeptSeq == nil:
			return "none"
		case !p.kept():
			state = "void"
		}
	}
	return state
}
