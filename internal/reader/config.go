package reader

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/config"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Config is that of a tenant, without its secrets.
type Config struct {
	Version   int64             // 0 = nothing was ever set
	Settings  json.RawMessage   // an object; config.Concealed stands in the place of each secret
	Secrets   map[string]string // a sign of each secret by its JSON Pointer, which tells that it has changed
	ChangedBy uuid.UUID
	UpdatedAt time.Time
}

// signBytes are enough to tell one secret from another of the same tenant.
const signBytes = 6

// Config returns the config of the caller's tenant.
func (r *Reader) Config(ctx context.Context, c Caller, f Freshness) (found Config, stamp Stamp, err error) {
	var row db.Config
	stamp, err = r.ask(ctx, c, f, func(q *db.Queries) error {
		row, err = q.ConfigOfTenant(ctx, c.Tenant)
		if errors.Is(err, pgx.ErrNoRows) {
			row = db.Config{}
			return nil
		}
		return err
	})
	if err != nil {
		return found, stamp, err
	}
	found = Config{Version: row.Version, ChangedBy: row.ChangedBy, UpdatedAt: row.UpdatedAt}
	found.Settings, found.Secrets, err = config.Visible(row.Settings, signOf)
	if err != nil {
		return found, stamp, fmt.Errorf("config of %s: %w", c.Tenant, err)
	}
	return found, stamp, nil
}

// signOf is of the sealed secret, so that nobody without the key can try secrets against it.
func signOf(sealed string) string {
	sum := sha256.Sum256([]byte(sealed))
	return hex.EncodeToString(sum[:signBytes])
}
