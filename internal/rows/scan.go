package rows

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// DigestMethod names how ScanDigests and verifications make digests; only those of one method can be compared.
const DigestMethod = "lthash16-blake3"

// ScanDigests reads every table in tx, which must be one snapshot, and returns the digests of what it finds. It compares
// nothing: see Comparison for that.
func ScanDigests(ctx context.Context, s *Schema, tx pgx.Tx) ([]TableDigest, error) {
	c := NewComparison(s, nil, NewDigests(s))
	hashers := newHashers(c)
	defer hashers.stop()
	for _, t := range s.all {
		d := t.describe()
		scan := &tableScan{row: func(f Fields, tuple []byte) { hashers.add(sumID{t.ownerOf(f).Tenant, d.index}, d, tuple) }}
		sql := "COPY (SELECT " + d.columnNames(d.Columns) + " FROM " + d.Name + ") TO STDOUT (FORMAT binary)"
		_, err := tx.Conn().PgConn().CopyTo(ctx, scan, sql)
		if err == nil {
			err = scan.finish()
		}
		if err != nil {
			return nil, fmt.Errorf("read table %s: %w", d.Name, err)
		}
	}
	hashers.collect()
	return c.digests.List(), nil
}
