package postgres_test

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

// urlOf names several servers, with parameters in pairs.
func urlOf(t testing.TB, one string, hosts []string, parameters ...string) string {
	t.Helper()
	address, err := url.Parse(one)
	must(t, err)
	query := address.Query()
	for i := 0; i < len(parameters); i += 2 {
		query.Set(parameters[i], parameters[i+1])
	}
	address.Host, address.RawQuery = strings.Join(hosts, ","), query.Encode()
	return address.String()
}

func hostOf(t testing.TB, one string) string {
	t.Helper()
	address, err := url.Parse(one)
	must(t, err)
	return address.Host
}

// poolsOf are one of each role that a process uses.
func poolsOf(t testing.TB, d *postgres.DB) map[string]*pgxpool.Pool {
	t.Helper()
	owner, err := d.Owner(t.Context())
	must(t, err)
	operator, err := d.Operator(t.Context())
	must(t, err)
	projector, err := d.Projector(t.Context(), 1)
	must(t, err)
	reader, err := d.Reader(t.Context(), 1)
	must(t, err)
	verifier, err := d.Verifier(t.Context(), 1)
	must(t, err)
	return map[string]*pgxpool.Pool{"owner": owner, "operator": operator, "projector": projector, "reader": reader, "verifier": verifier}
}

// TestEveryPoolIsOnThePrimary has each role connect by a URL that names the standby first, in each way that it may be
// told which of them to take; and again after a failover.
func TestEveryPoolIsOnThePrimary(t *testing.T) {
	t.Parallel()
	primary, standby := testenv.PostgresPair(t, localstack.PostgresOptions{})
	both := []string{hostOf(t, standby.URL()), hostOf(t, primary.URL())}
	opened := map[string]*postgres.DB{}
	for _, attribute := range []string{"", "any", "primary", "read-write", "prefer-standby"} {
		address := urlOf(t, primary.URL(), both)
		if attribute != "" {
			address = urlOf(t, primary.URL(), both, "target_session_attrs", attribute)
		}
		d := openURL(t, address)
		opened["attribute "+attribute] = d
		must(t, d.MigrateWith(t.Context(), postgres.MigrateOptions{Unverified: true}))
		onPort(t, "attribute "+attribute, d, hostOf(t, primary.URL()))
	}
	must(t, primary.Kill())
	promote(t, standby)
	for what, d := range opened {
		onPort(t, "after the failover, "+what, d, hostOf(t, standby.URL()))
	}
}

// onPort checks that a new connection of each pool ends on a server; those of a server that was killed are found dead.
func onPort(t testing.TB, what string, d *postgres.DB, host string) {
	t.Helper()
	_, want, err := net.SplitHostPort(host)
	must(t, err)
	for role, pool := range poolsOf(t, d) {
		pool.Reset()
		var port, readOnly string
		if err := pool.QueryRow(t.Context(), "SELECT current_setting('port'), current_setting('transaction_read_only')").Scan(&port, &readOnly); err != nil {
			t.Fatalf("%s: %s: %v", what, role, err)
		}
		if port != want {
			t.Errorf("%s: %s is on port %s, want the primary's %s", what, role, port, want)
		}
		if reads := role == "reader" || role == "verifier"; reads != (readOnly == "on") {
			t.Errorf("%s: %s: transaction_read_only is %s", what, role, readOnly)
		}
	}
}

func promote(t testing.TB, standby *localstack.Postgres) {
	t.Helper()
	conn, err := pgxpool.New(t.Context(), standby.URL())
	must(t, err)
	defer conn.Close()
	var promoted bool
	must(t, conn.QueryRow(t.Context(), "SELECT pg_promote()").Scan(&promoted))
	if !promoted {
		t.Fatal("the standby was not promoted")
	}
}

func TestAStandbyAloneIsRefused(t *testing.T) {
	t.Parallel()
	_, standby := testenv.PostgresPair(t, localstack.PostgresOptions{})
	if d, err := postgres.Open(t.Context(), standby.URL()); !errors.Is(err, postgres.ErrStandby) {
		t.Fatalf("got %v, %v; want %v", d, err, postgres.ErrStandby)
	}
}

// TestAServerThatDoesNotAnswer comes first in the URL and takes connections only.
func TestAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = silent.Close() })
	one := testenv.Postgres(t)
	address := urlOf(t, one, []string{silent.Addr().String(), hostOf(t, one)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	d, err := postgres.Open(ctx, address)
	must(t, err)
	d.Close()
}
