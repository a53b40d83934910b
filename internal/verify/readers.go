package verify

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/rows"
	"golang.org/x/sync/errgroup"
)

// readers read one snapshot over several connections. They share out a table by blocks of its file, so that all are busy
// to its end, whatever tenants there are.
type readers struct {
	*QuickConfig
	all    []pgx.Tx // the first one has exported the snapshot
	blocks map[string]int64
	total  int64

	pausing sync.Mutex

	telling sync.Mutex // guards done, and calls of Progress
	done    int64
}

// A piece is small enough to keep all readers busy, and large enough not to be noticed.
const (
	pieceBlocksMin = 128
	pieceBlocksMax = 2048
	piecesEach     = 8
)

func openReaders(ctx context.Context, c *QuickConfig) (*readers, error) {
	r := &readers{QuickConfig: c, blocks: map[string]int64{}}
	if err := r.open(ctx); err != nil {
		r.close(ctx)
		return nil, err
	}
	return r, nil
}

func (r *readers) open(ctx context.Context) error {
	var exported string
	for i := range r.Readers {
		tx, err := snapshot(ctx, r.DB, r.Edition)
		if err != nil {
			return err
		}
		r.all = append(r.all, tx)
		if i == 0 {
			err = tx.QueryRow(ctx, "SELECT pg_catalog.pg_export_snapshot()").Scan(&exported)
		} else {
			_, err = tx.Exec(ctx, "SET TRANSACTION SNAPSHOT '"+exported+"'")
		}
		if err != nil {
			return fmt.Errorf("share the snapshot: %w", err)
		}
	}
	return nil
}

func (r *readers) close(ctx context.Context) {
	for _, tx := range r.all {
		_ = tx.Rollback(context.WithoutCancel(ctx))
	}
}

// plan measures the tables. Rows of the snapshot are in the blocks that there are now; the last piece is open all the same.
func (r *readers) plan(ctx context.Context, tables []*rows.Description) error {
	for _, d := range tables {
		var n int64
		err := r.all[0].QueryRow(ctx, "SELECT pg_catalog.pg_relation_size($1::text::regclass) / current_setting('block_size')::bigint", d.Name).Scan(&n)
		if err != nil {
			return fmt.Errorf("size of table %s: %w", d.Name, err)
		}
		r.blocks[d.Name] = n
		r.total += n
	}
	return nil
}

// pieces divides a table: by tenant where only some are asked for, by blocks otherwise.
func (r *readers) pieces(table string) []rows.Piece {
	var out []rows.Piece
	for _, tenant := range r.Tenants {
		out = append(out, rows.Piece{Tenant: &tenant})
	}
	if len(out) > 0 {
		return out
	}
	blocks := r.blocks[table]
	size := min(max(blocks/int64(piecesEach*len(r.all)), pieceBlocksMin), pieceBlocksMax)
	for from := int64(0); from == 0 || from < blocks; from += size {
		p := rows.Piece{From: from, To: from + size}
		if p.To >= blocks {
			p.To = 0
		}
		out = append(out, p)
	}
	return out
}

// read sums a table, all readers at once.
func (r *readers) read(ctx context.Context, d *rows.Description, o rows.ScanOptions) (*rows.TableSums, error) {
	pieces := r.pieces(d.Name)
	queue := make(chan rows.Piece, len(pieces))
	for _, p := range pieces {
		queue <- p
	}
	close(queue)
	if r.Pause != nil {
		o.Pause = r.pause
	}
	parts := make([]*rows.TableSums, len(r.all))
	group, ctx := errgroup.WithContext(ctx)
	for i, tx := range r.all {
		parts[i] = rows.NewTableSums(d, o)
		group.Go(func() error {
			for p := range queue {
				if parts[i].Full {
					return nil
				}
				if err := parts[i].Add(ctx, tx, p); err != nil {
					return err
				}
				r.progress(d.Name, p)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	all := parts[0]
	for _, part := range parts[1:] {
		all.Merge(part)
	}
	return all, nil
}

// pause lets one reader wait for all.
func (r *readers) pause(ctx context.Context) error {
	r.pausing.Lock()
	defer r.pausing.Unlock()
	return r.Pause(ctx)
}

func (r *readers) progress(table string, p rows.Piece) {
	n := p.To - p.From
	if p.To == 0 {
		n = r.blocks[table] - p.From
	}
	r.telling.Lock()
	defer r.telling.Unlock()
	r.done = min(r.done+max(n, 0), r.total)
	r.Progress(QuickProgress{Table: table, Done: r.done, Total: r.total})
}

// partOfTenant places a tenant in one of n parts.
func partOfTenant(tenant string, n int) int { return edition.Part(envelope.Key{Tenant: tenant}, n) }
