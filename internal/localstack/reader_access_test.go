package localstack_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func connectAs(t *testing.T, a localstack.ReaderAddress, database, user, password string) error {
	t.Helper()
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Path: "/" + database,
		RawQuery: url.Values{"host": {a.Host}, "port": {fmt.Sprint(a.Port)}, "sslmode": {"disable"}}.Encode()}
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		return err
	}
	return conn.Close(context.WithoutCancel(t.Context()))
}

func superuserOf(t *testing.T, stack *localstack.Stack) (user, password string) {
	t.Helper()
	u, err := url.Parse(stack.PostgresURL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ = u.User.Password()
	return u.User.Username(), password
}

// TestSQLReadersAloneComeByTCP: nobody does unless asked for; then they, and to refold's database alone.
func TestSQLReadersAloneComeByTCP(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	stack := start(t, localstack.Config{DataDir: dir})
	conn, err := pgx.Connect(t.Context(), stack.PostgresURL())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE ROLE refold_sql", "CREATE ROLE ann LOGIN PASSWORD 'ann' IN ROLE refold_sql", "CREATE ROLE other LOGIN PASSWORD 'other'"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	var listens string
	if err := conn.QueryRow(t.Context(), "SHOW listen_addresses").Scan(&listens); err != nil || listens != "" {
		t.Errorf("listens on %q: %v", listens, err)
	}
	_ = conn.Close(t.Context())
	at, err := stack.ReaderAddress()
	if err != nil || !at.Socket || at.Database != localstack.Database || !strings.HasPrefix(at.Host, dir) && !filepath.IsAbs(at.Host) {
		t.Fatalf("address %+v, %v", at, err)
	}
	if err := connectAs(t, at, at.Database, "ann", "ann"); err != nil {
		t.Errorf("by the socket: %v", err)
	}
	if err := connectAs(t, at, "postgres", "ann", "ann"); err == nil {
		t.Error("a SQL reader comes into another database by the socket")
	}
	if err := stack.Close(); err != nil {
		t.Fatal(err)
	}

	port := freeTCPPort(t)
	stack = start(t, localstack.Config{DataDir: dir, PostgresListen: fmt.Sprintf("localhost:%d", port)})
	at, err = stack.ReaderAddress()
	if err != nil || at.Socket || at.Host != "127.0.0.1" || at.Port != port || at.Database != localstack.Database {
		t.Fatalf("address %+v, %v", at, err)
	}
	if err := connectAs(t, at, at.Database, "ann", "ann"); err != nil {
		t.Errorf("by TCP: %v", err)
	}
	user, password := superuserOf(t, stack)
	for _, c := range [][3]string{{"refold", "ann", "wrong"}, {"postgres", "ann", "ann"}, {"refold", "other", "other"}, {"refold", user, password}} {
		if err := connectAs(t, at, c[0], c[1], c[2]); err == nil {
			t.Errorf("%s comes into database %s by TCP", c[1], c[0])
		}
	}
	joined, err := localstack.Join(testContext(t), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer joined.Close()
	if other, err := joined.ReaderAddress(); err != nil || other != at {
		t.Errorf("who joins has %+v, %v", other, err)
	}
}

func TestWhereSQLReadersAreNotListenedFor(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for listen, want := range map[string]string{
		"0.0.0.0:5433": "loopback", "192.0.2.1:5433": "loopback", "db.example:5433": "loopback", "5433": "host:port", "127.0.0.1:x": "host:port",
		taken.Addr().String(): "another address",
	} {
		_, err := localstack.Start(testContext(t), localstack.Config{DataDir: testenv.Dir(t), PostgresListen: listen})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", listen, err, want)
		}
	}
	_, err = localstack.Start(testContext(t), localstack.Config{DataDir: testenv.Dir(t), PostgresURL: "postgres://x@127.0.0.1/x", PostgresListen: "127.0.0.1:5433"})
	if err == nil || !strings.Contains(err.Error(), "listen_addresses") {
		t.Errorf("with a database elsewhere: %v", err)
	}
}

func freeTCPPort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}
