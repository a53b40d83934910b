package postgres

import (
	"context"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// ControlGrants lists who may do what with the control tables, a line a right: "role refold_reader may SELECT control.live".
// What their owner may is left out.
func (d *DB) ControlGrants(ctx context.Context) (lines []string, err error) {
	err = d.inOwner(ctx, func(tx pgx.Tx) error {
		objects, err := readObjects(ctx, tx, "control")
		for _, o := range objects {
			if o.Kind == kindRight && !strings.HasPrefix(o.Name, "the owner ") {
				lines = append(lines, o.Name)
			}
		}
		return err
	})
	slices.Sort(lines)
	return lines, err
}

func roleNames(roles []Role) (out []string) {
	for _, role := range roles {
		out = append(out, string(role))
	}
	return out
}
