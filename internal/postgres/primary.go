package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// ErrStandby is returned by Open when every server of the URL that answers is a standby. Name the primary in the URL,
// alone or together with its standbys.
var ErrStandby = errors.New("refold needs the primary, and this server is a standby")

// attemptMax bounds the attempt to connect to one of several servers, unless the URL sets connect_timeout: a server that
// takes connections and does not answer must not keep us from the next one.
const attemptMax = 10 * time.Second

// followPrimary makes every connection end on the primary, whichever servers the URL names and whatever it says of
// target_session_attrs: rows of a standby are older than the checkpoint that a projector has just moved.
func followPrimary(c *pgx.ConnConfig) {
	if c.ConnectTimeout == 0 && severalServers(&c.Config) {
		c.ConnectTimeout = attemptMax
	}
	ofURL := c.ValidateConnect
	c.ValidateConnect = func(ctx context.Context, conn *pgconn.PgConn) error {
		if err := onPrimary(ctx, conn); err != nil || ofURL == nil {
			return err
		}
		return ofURL(ctx, conn) // as it is: pgconn looks for a NotPreferredError without unwrapping
	}
}

func severalServers(c *pgconn.Config) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// onPrimary is a pgconn.ValidateConnectFunc. The server says of itself whether it is a standby when a session begins; a
// pooler between may leave that out.
func onPrimary(ctx context.Context, conn *pgconn.PgConn) error {
	standby := conn.ParameterStatus("in_hot_standby") == "on"
	if conn.ParameterStatus("in_hot_standby") == "" {
		results, err := conn.Exec(ctx, "SELECT pg_is_in_recovery()").ReadAll()
		if err != nil {
			return fmt.Errorf("is this the primary: %w", err)
		}
		standby = string(results[0].Rows[0][0]) == "t"
	}
	if standby {
		return ErrStandby
	}
	return nil
}
