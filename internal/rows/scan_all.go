package rows

import (
	"cmp"
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// DigestMethod names how ScanDigests and verifications make digests; only those of one method can be compared.
const DigestMethod = "lthash16-blake3"

// ScanDigests reads every table in tx, which must be one snapshot, and returns the digests of what it finds, by tenant and
// table. It compares nothing: see Comparison for that.
func ScanDigests(ctx context.Context, s *Schema, tx pgx.Tx) ([]TableDigest, error) {
	out := []TableDigest{}
	for _, d := range s.Tables() {
		sums := NewTableSums(d, ScanOptions{LtHash: true})
		if err := sums.Add(ctx, tx, Piece{}); err != nil {
			return nil, err
		}
		for tenant, found := range sums.Tenants {
			out = append(out, TableDigest{tenant, d.Name, found.LtHash.Count, found.LtHash.Sum()})
		}
	}
	slices.SortFunc(out, func(a, b TableDigest) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Table, b.Table))
	})
	return out, nil
}
