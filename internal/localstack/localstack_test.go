package localstack_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

const dirVariable = "REFOLD_TEST_DATA_DIR"

func TestMain(m *testing.M) {
	testenv.Main(m, testenv.Children{"own": ownUntilClosed, "try": tryToOwn})
}

// ownUntilClosed is another refold process that owns the stack until its input ends.
func ownUntilClosed() int {
	stack, err := localstack.Start(context.Background(), localstack.Config{DataDir: os.Getenv(dirVariable)})
	if err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	testenv.Ready(stack.Describe())
	_, _ = os.Stdin.Read(make([]byte, 1))
	if err := stack.Close(); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

// tryToOwn takes the two stores directly, past the lock of the data directory.
func tryToOwn() int {
	dir, ctx := os.Getenv(dirVariable), context.Background()
	_, natsErr := localstack.StartNATS(ctx, localstack.NATSOptions{StoreDir: filepath.Join(dir, "nats")})
	_, postgresErr := localstack.StartPostgres(ctx, filepath.Join(dir, "postgres"), localstack.PostgresOptions{})
	if errors.Is(natsErr, localstack.ErrLocked) && errors.Is(postgresErr, localstack.ErrLocked) {
		return 0
	}
	os.Stderr.WriteString(errors.Join(natsErr, postgresErr).Error() + "\n")
	return 1
}

func spawn(t *testing.T, name, dir string) *testenv.Process {
	t.Helper()
	return testenv.Spawn(t, name, testenv.ProcessOptions{Env: []string{dirVariable + "=" + dir}})
}

func start(t *testing.T, config localstack.Config) *localstack.Stack {
	t.Helper()
	stack, err := localstack.Start(testContext(t), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stack.Close(); err != nil {
			t.Error(err)
		}
	})
	return stack
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// leaveMark writes to both stores; count reads how many marks there are in each.
func leaveMark(t *testing.T, stack *localstack.Stack) {
	t.Helper()
	js, err := jetstream.New(stack.NATS())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "marks", Subjects: []string{"mark"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "mark", nil); err != nil {
		t.Fatal(err)
	}
	conn := open(t, stack.PostgresURL())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS mark (id int)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO mark VALUES (1)"); err != nil {
		t.Fatal(err)
	}
}

func wantMarks(t *testing.T, stack *localstack.Stack, want int) {
	t.Helper()
	js, err := jetstream.New(stack.NATS())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "marks")
	if err != nil {
		t.Fatal(err)
	}
	var rows int
	if err := open(t, stack.PostgresURL()).QueryRow(t.Context(), "SELECT count(*) FROM mark").Scan(&rows); err != nil {
		t.Fatal(err)
	}
	if got := int(stream.CachedInfo().State.Msgs); got != want || rows != want {
		t.Errorf("journal holds %d marks, database %d; want %d", got, rows, want)
	}
}

func open(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func TestStackKeepsDataAndAddressesOverARestart(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t)}
	first := start(t, config)
	leaveMark(t, first)
	if !first.Owner() || first.Durability() != localstack.DurabilityAlways {
		t.Errorf("owner %t, durability %s", first.Owner(), first.Durability())
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	second := start(t, config)
	t.Logf("warm start took %s: %s", time.Since(began), second.Describe())
	wantMarks(t, second, 1)
	// A container's port is Docker's choice.
	samePostgres := first.PostgresURL() == second.PostgresURL() || strings.HasPrefix(second.PostgresSource(), "docker")
	if first.NATSURL() != second.NATSURL() || !samePostgres {
		t.Errorf("addresses changed: %s, %s", first.Describe(), second.Describe())
	}
	for _, secret := range []string{"@", "password"} {
		if strings.Contains(second.Describe(), secret) {
			t.Errorf("the description shows a secret: %s", second.Describe())
		}
	}
}

func TestAnotherProcessJoins(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t)}
	if _, err := localstack.Join(testContext(t), config.DataDir); !errors.Is(err, localstack.ErrNotRunning) {
		t.Fatalf("joined nothing: %v", err)
	}
	owner := spawn(t, "own", config.DataDir)
	joined := start(t, config) // waits for the owner, or is the owner when it came first
	owner.WaitReady()
	leaveMark(t, joined)
	other, err := localstack.Join(testContext(t), config.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	wantMarks(t, other, 1)
	if other.Owner() {
		t.Error("a joined stack calls itself the owner")
	}
}

func TestStoresRefuseASecondProcess(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t)}
	stack := start(t, config)
	if second := spawn(t, "try", config.DataDir); second.Wait() != nil {
		t.Errorf("the second process was not refused: %s", second.Output())
	}
	leaveMark(t, stack) // and did no harm
	_, err := localstack.Start(testContext(t), localstack.Config{DataDir: config.DataDir, Durability: localstack.DurabilityRelaxed})
	if err == nil || !strings.Contains(err.Error(), "durability") {
		t.Errorf("joining with another durability: %v, want a refusal", err)
	}
}

func TestJoiningClosesOnlyTheConnection(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t)}
	owner := start(t, config)
	joined := start(t, config)
	if joined.Owner() {
		t.Fatal("two owners")
	}
	if err := joined.Close(); err != nil {
		t.Fatal(err)
	}
	leaveMark(t, owner)
	info, err := os.Stat(filepath.Join(config.DataDir, "run", "stack.json"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the note with the passwords has mode %s", info.Mode())
	}
	if conn, err := nats.Connect(owner.NATSURL()); err == nil {
		conn.Close()
		t.Error("the journal lets in a client without password")
	}
}

func TestExternalServers(t *testing.T) {
	database, server := testenv.Postgres(t), testenv.NATSServer(t, localstack.NATSOptions{User: "u", Password: "p"})
	config := localstack.Config{DataDir: testenv.Dir(t), NATSURL: server.URL(), PostgresURL: database}
	stack := start(t, config)
	leaveMark(t, stack)
	if !strings.HasPrefix(stack.PostgresSource(), "test_") || stack.Durability() != localstack.DurabilityExternal {
		t.Errorf("source %q, durability %q", stack.PostgresSource(), stack.Durability())
	}
	if strings.Contains(stack.NATSURL(), "p@") {
		t.Errorf("the address shows the password: %s", stack.NATSURL())
	}
	wantMarks(t, start(t, config), 1) // joins
	inspected, faults, err := localstack.Inspect(t.Context(), config)
	if err != nil || len(faults) > 0 || !inspected.NATS().IsConnected() {
		t.Fatalf("inspected beside the owner: %v, %v", faults, err)
	}
	if err := inspected.Close(); err != nil {
		t.Error(err)
	}
}

func TestRelaxedDurabilityIsNamed(t *testing.T) {
	database := testenv.Postgres(t)
	stack := start(t, localstack.Config{DataDir: testenv.Dir(t), PostgresURL: database, Durability: localstack.DurabilityRelaxed})
	if stack.Durability() != localstack.DurabilityRelaxed {
		t.Errorf("durability %q", stack.Durability())
	}
	if _, err := localstack.Start(testContext(t), localstack.Config{DataDir: testenv.Dir(t), PostgresURL: database, Durability: "sometimes"}); err == nil {
		t.Error("an unknown durability was accepted")
	}
}

func TestJournalTakesAnotherPortWhenItsOwnIsTaken(t *testing.T) {
	config := localstack.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t)}
	first := start(t, config)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	squatter, err := net.Listen("tcp4", strings.TrimPrefix(first.NATSURL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = squatter.Close() }()
	if second := start(t, config); second.NATSURL() == first.NATSURL() {
		t.Errorf("runs at %s, which is taken", second.NATSURL())
	}
}
