package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/testenv"
)

func execute(t *testing.T, at string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	for _, statement := range statements {
		if _, err := conn.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}

func databaseOf(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

// timeouts of a session that an administrator may set for people, and that must not end our work.
var timeouts = []string{"statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout"}

func TestSessionsHaveTheirOwnTimeouts(t *testing.T) {
	t.Parallel()
	at := testenv.Postgres(t)
	for _, name := range timeouts {
		execute(t, at, fmt.Sprintf("ALTER DATABASE %s SET %s = '1s'", databaseOf(t, at), name))
	}
	database := openDB(t, at)
	if err := database.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := database.CreateEdition(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		of   string
		pool func(context.Context) (*pgxpool.Pool, error)
		want []string
	}{
		{"owner", database.Owner, []string{"0", "0", "0", "0"}},
		{"operator", database.Operator, []string{"0", "10s", "1min", "0"}},
		{"projector", ofEdition(database.Projector), []string{"1min", "5s", "20s", "0"}},
		{"reader", ofEdition(database.Reader), []string{"30s", "0", "30s", "0"}},
		{"verifier", ofEdition(database.Verifier), []string{"0", "0", "0", "0"}},
		{"loader", ofEdition(database.OwnerOf), []string{"0", "0", "0", "0"}},
	} {
		pool, err := c.pool(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range timeouts {
			var got string
			if err := pool.QueryRow(t.Context(), "SELECT current_setting($1)", name).Scan(&got); err != nil || got != c.want[i] {
				t.Errorf("%s: %s is %s, want %s: %v", c.of, name, got, c.want[i], err)
			}
		}
	}
	verifier, err := database.Verifier(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifier.Exec(t.Context(), "SELECT pg_sleep(1.2)"); err != nil {
		t.Errorf("a verification that takes longer than sessions of people may: %v", err)
	}
}

func ofEdition(pool func(context.Context, int64) (*pgxpool.Pool, error)) func(context.Context) (*pgxpool.Pool, error) {
	return func(ctx context.Context) (*pgxpool.Pool, error) { return pool(ctx, 1) }
}

func openDB(t *testing.T, at string) *postgres.DB {
	t.Helper()
	database, err := postgres.Open(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	return database
}

func TestWeakSettingsAreFound(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t, localstack.PostgresOptions{})
	database := openDB(t, server.URL())
	if err := database.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	want := func(what string, texts ...string) {
		t.Helper()
		weak, throwAway, err := database.Durability(t.Context())
		if err != nil || throwAway || len(weak) != len(texts) {
			t.Fatalf("%s: %v, thrown away %v, %v", what, weak, throwAway, err)
		}
		for i, w := range weak {
			if !strings.Contains(w.String(), texts[i]) {
				t.Errorf("%s: %q does not say %q", what, w, texts[i])
			}
		}
	}
	want("a durable server")
	for _, value := range []string{"local", "remote_write", "remote_apply"} {
		execute(t, server.URL(), "ALTER DATABASE refold SET synchronous_commit = "+value)
		want(value)
	}
	execute(t, server.URL(), "ALTER DATABASE refold SET synchronous_commit = off")
	want("by database", "ALTER DATABASE ... RESET synchronous_commit")
	execute(t, server.URL(), "ALTER DATABASE refold RESET synchronous_commit", "ALTER ROLE refold SET synchronous_commit = off")
	want("by role", "ALTER ROLE ... RESET synchronous_commit")
	execute(t, server.URL(), "ALTER ROLE refold RESET synchronous_commit")
	want("set right again")

	by, err := postgres.Open(t.Context(), server.URL()+"&options=-c%20synchronous_commit%3Doff")
	if err != nil {
		t.Fatal(err)
	}
	defer by.Close()
	if weak, _, err := by.Durability(t.Context()); err != nil || len(weak) != 1 || !strings.Contains(weak[0].String(), "the database URL") {
		t.Errorf("by the URL: %v, %v", weak, err)
	}

	off := testenv.PostgresServer(t, localstack.PostgresOptions{Settings: map[string]string{"fsync": "off", "full_page_writes": "off"}})
	database = openDB(t, off.URL())
	if err := database.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("by the command line", "fsync is off (from command line)", "full_page_writes is off (from command line)")

	fast := openDB(t, testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true}).URL())
	if err := fast.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if weak, throwAway, err := fast.Durability(t.Context()); err != nil || !throwAway || len(weak) != 3 {
		t.Errorf("a server to be thrown away: %v, %v, %v", weak, throwAway, err)
	}
}

// An administrator makes the roles for a login that may not, by the SQL that its refusal names.
func TestALoginWithoutCreateRole(t *testing.T) {
	t.Parallel()
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true})
	execute(t, server.URL(), "CREATE ROLE plain LOGIN PASSWORD 'plain'", "CREATE DATABASE mine OWNER plain", "CREATE DATABASE other OWNER plain")
	u, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User, u.Path = url.UserPassword("plain", "plain"), "/mine"
	database := openDB(t, u.String())
	err = database.Migrate(t.Context())
	if err == nil {
		t.Fatal("roles were made without the right to")
	}
	_, statements, found := strings.Cut(err.Error(), "an administrator runs: ")
	statements, _, ended := strings.Cut(statements, "): ")
	if !found || !ended {
		t.Fatalf("the refusal does not name the SQL: %v", err)
	}
	execute(t, server.URL(), statements)
	if err := database.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := database.CreateEdition(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := database.FinishEdition(t.Context(), 1, true); err != nil {
		t.Fatal(err)
	}
	if shared, err := database.SharedWith(t.Context()); err != nil || len(shared) != 0 {
		t.Errorf("shared with %v: %v", shared, err)
	}
	u.Path = "/other"
	second := openDB(t, u.String())
	if err := second.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.CreateEdition(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if shared, err := second.SharedWith(t.Context()); err != nil || len(shared) != 1 || shared[0] != "mine" {
		t.Errorf("shared with %v, want mine: %v", shared, err)
	}
}

// pgbouncer runs the real one before a database and returns its URL. Where it is not installed, the test is skipped.
func pgbouncer(t *testing.T, at, mode string) string {
	t.Helper()
	program, err := osexec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Skip("NOT TESTED: PgBouncer is not installed (apt-get install pgbouncer), so nothing shows that it works in session pooling and is refused in others")
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	dir, port := testenv.Dir(t), freePort(t)
	config := fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%s user=%s password=%s
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = any
pool_mode = %s
default_pool_size = 100
logfile = %s
`, u.Port(), u.User.Username(), password, port, mode, filepath.Join(dir, "log"))
	if err := os.WriteFile(filepath.Join(dir, "ini"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(program, filepath.Join(dir, "ini"))
	if os.Geteuid() == 0 { // it refuses to run as root
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		for _, path := range []string{dir, filepath.Join(dir, "ini")} {
			if err := os.Chown(path, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	child, err := localstack.Spawn(cmd, syscall.SIGKILL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Signal(syscall.SIGKILL); <-child.Done() })
	u.Host = fmt.Sprintf("127.0.0.1:%d", port)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(t.Context(), u.String())
		if err == nil {
			_ = conn.Close(t.Context())
			return u.String()
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("pgbouncer: %v\n%s", err, log)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().(*net.TCPAddr).Port
}

func TestPgBouncer(t *testing.T) {
	t.Parallel()
	at := testenv.Postgres(t)
	for _, mode := range []string{"transaction", "statement"} {
		database, err := postgres.Open(t.Context(), pgbouncer(t, at, mode))
		if !errors.Is(err, postgres.ErrTransactionPooling) {
			t.Errorf("%s pooling is not refused by name: %v", mode, err)
		}
		if err == nil {
			database.Close()
		}
	}
	database := openDB(t, pgbouncer(t, at, "session"))
	if err := database.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := database.CreateEdition(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := database.FinishEdition(t.Context(), 1, true); err != nil {
		t.Fatal(err)
	}
	reader, err := database.Reader(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	var role, path, readOnly string
	err = reader.QueryRow(t.Context(), "SELECT current_user, current_setting('search_path'), current_setting('default_transaction_read_only')").Scan(&role, &path, &readOnly)
	if err != nil || role != string(postgres.RoleReader) || path != "edition_1" || readOnly != "on" {
		t.Errorf("a reader's session is of role %s, on %s, read only %s: %v", role, path, readOnly, err)
	}
}
