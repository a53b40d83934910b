package rows

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Describe describes a table by its columns in the catalogue, also one of another shape than the code's. Its digests are
// those of the code's table of the same form. Its first column must be the tenant.
func Describe(table string, columns []Column) (*Description, error) {
	if len(columns) == 0 || columns[0] != (Column{Name: "tenant_id", Type: "text", NotNull: true}) {
		return nil, fmt.Errorf("table %s does not begin with the tenant", table)
	}
	d := &Description{Name: table, Columns: columns}
	d.bind()
	return d, nil
}

// ScanOptions say what is summed in a scan of one table.
type ScanOptions struct {
	Key    *KeptKey // for the kept form of the sums; nil = none
	LtHash bool
	// Select chooses the tenants whose rows are summed; nil = all. It saves memory and no reading.
	Select func(tenant string) bool
	// TenantsMax bounds for how many tenants sums are held; rows of more set Full and are not summed. 0 = no bound.
	TenantsMax int
	// Pause is called after every PauseRows rows and may wait; nil = never.
	Pause func(context.Context) error
}

// PauseRows is how many rows are read between two calls of Pause.
const PauseRows = 64

// TableSums sums the rows of one table by tenant. It belongs to one goroutine.
type TableSums struct {
	ScanOptions
	Table   *Description
	Tenants map[string]*RowSums
	// Full says that there were more tenants than TenantsMax, so that the sums are not all. Reading goes on to the end of a
	// piece all the same: a connection does not survive a read that is broken off.
	Full bool

	last     *RowSums
	lastName string
	element  []byte
}

// RowSums sums rows of one tenant in one table.
type RowSums struct {
	Sum    // of the kept form
	LtHash LtHash
	key    tallyKey
}

// NewTableSums returns the sums of no rows.
func NewTableSums(d *Description, o ScanOptions) *TableSums {
	return &TableSums{ScanOptions: o, Table: d, Tenants: map[string]*RowSums{}}
}

// of returns the sums of a tenant; nil for one that is left out.
func (s *TableSums) of(tenant []byte) *RowSums {
	if s.last != nil && s.lastName == string(tenant) {
		return s.last
	}
	sums := s.Tenants[string(tenant)]
	if sums == nil {
		if s.Select != nil && !s.Select(string(tenant)) {
			return nil
		}
		if s.Full = s.Full || s.TenantsMax > 0 && len(s.Tenants) >= s.TenantsMax; s.Full {
			return nil
		}
		sums = &RowSums{}
		if s.Key != nil {
			sums.key = s.Key.of(string(tenant))
		}
		s.Tenants[string(tenant)] = sums
	}
	s.last, s.lastName = sums, string(tenant)
	return sums
}

func (s *TableSums) add(f Fields, tuple []byte) {
	sums := s.of(f[0])
	if sums == nil {
		return
	}
	s.element = s.Table.element(s.element, tuple)
	if s.LtHash {
		sums.LtHash.addRow(s.Table, s.element)
	}
	if s.Key != nil {
		sums.add(&sums.key, s.element)
	} else {
		sums.count++
	}
}

// Merge adds the sums of other rows of the same table.
func (s *TableSums) Merge(other *TableSums) {
	for tenant, sums := range other.Tenants {
		if have := s.Tenants[tenant]; have != nil {
			have.Merge(&sums.Sum)
			have.LtHash.Merge(&sums.LtHash)
			continue
		}
		s.Tenants[tenant] = sums
	}
	s.Full = s.Full || other.Full || s.TenantsMax > 0 && len(s.Tenants) > s.TenantsMax
}

// Piece selects rows of a table.
type Piece struct {
	// Tenant selects the rows of one tenant; nil = of all.
	Tenant *string
	// From and To are blocks of the table's file, To is the first one left out; 0 = to the end.
	From, To int64
}

func (p Piece) where() string {
	var terms []string
	if p.Tenant != nil {
		terms = append(terms, "tenant_id = "+literal(*p.Tenant))
	}
	if p.From > 0 {
		terms = append(terms, fmt.Sprintf("ctid >= '(%d,0)'", p.From))
	}
	if p.To > 0 {
		terms = append(terms, fmt.Sprintf("ctid < '(%d,0)'", p.To))
	}
	if len(terms) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(terms, " AND ")
}

// literal quotes a text for a statement that takes no parameters.
func literal(s string) string {
	return " E'" + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), "'", "''") + "'"
}

// Add reads a piece of the table in tx and adds its rows.
func (s *TableSums) Add(ctx context.Context, tx pgx.Tx, piece Piece) error {
	scan := &tableScan{row: s.add}
	if s.Pause != nil {
		read := 0
		scan.pause = func() error { // the server sends each row by itself
			if read++; read%PauseRows != 0 {
				return nil
			}
			return s.Pause(ctx)
		}
	}
	return scanTable(ctx, tx, s.Table, piece.where(), scan)
}

// ReadError: a table could not be read to its end. Err is the database's; where its class is XX the database has found the
// table itself damaged.
type ReadError struct {
	Table string
	Err   error
}

func (e *ReadError) Error() string { return fmt.Sprintf("read table %s: %v", e.Table, e.Err) }

// Unwrap returns Err.
func (e *ReadError) Unwrap() error { return e.Err }

// scanTable reads the rows of a table by a binary COPY.
func scanTable(ctx context.Context, tx pgx.Tx, d *Description, where string, scan *tableScan) error {
	sql := "COPY (SELECT " + d.columnNames(d.Columns) + " FROM " + d.Name + where + ") TO STDOUT (FORMAT binary)"
	_, err := tx.Conn().PgConn().CopyTo(ctx, scan, sql)
	if err == nil {
		err = scan.finish()
	}
	if err != nil {
		return &ReadError{d.Name, err}
	}
	return nil
}

// ScanTenant sums all rows of one tenant in tx, in the kept form, by table. Tables without rows are left out.
func ScanTenant(ctx context.Context, tx pgx.Tx, tables []*Description, key *KeptKey, tenant string, pause func(context.Context) error) (map[TableID]Sum, error) {
	out := map[TableID]Sum{}
	for _, d := range tables {
		sums := NewTableSums(d, ScanOptions{Key: key, Pause: pause})
		if err := sums.Add(ctx, tx, Piece{Tenant: &tenant}); err != nil {
			return nil, err
		}
		for _, found := range sums.Tenants {
			out[d.ID()] = found.Sum
		}
	}
	return out, nil
}
