package testenv

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/internal/localstack"
)

func TestMain(m *testing.M) {
	Main(m, Children{
		"echo": func() int {
			Ready(strings.Join(os.Args[1:], " ") + " " + os.Getenv("COLOUR"))
			_, _ = os.Stdin.Read(make([]byte, 1))
			return 0
		},
		"fail":    func() int { os.Stdout.WriteString("what went wrong\n"); return 3 },
		"nothing": func() int { return 0 },
	})
}

func TestPostgresGivesEachTestItsOwnEmptyDatabase(t *testing.T) {
	first, second := Postgres(t), Postgres(t)
	if first == second {
		t.Fatalf("two calls gave the same database %s", first)
	}
	for _, address := range []string{first, second} {
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		// The table's name is free in both only if nothing is shared.
		if _, err := conn.Exec(t.Context(), "CREATE TABLE memory (id int)"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestNATSStoresOnDiskAndSyncs(t *testing.T) {
	conn := NATS(t)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Storage: jetstream.FileStorage})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 1 {
		t.Errorf("stream holds %+v, %v; want one message", info, err)
	}
}

func TestKilledNATSProcessKeepsWhatItAcknowledged(t *testing.T) {
	server := StartNATSProcess(t, localstack.NATSOptions{User: "u", Password: "p"})
	conn := server.Connect(t)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := js.Publish(t.Context(), "s.a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	before := server.URL()
	server.Kill()
	server.Restart()
	if server.URL() != before {
		t.Errorf("after the restart the server is at %s, was at %s", server.URL(), before)
	}
	js, err = jetstream.New(server.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 20 {
		t.Errorf("after kill -9 the stream holds %d messages, want 20", got)
	}
	server.Stop()
}

func TestNATSClusterGoesOnWithoutOneServer(t *testing.T) {
	cluster := StartNATSCluster(t, 3, localstack.NATSOptions{})
	js, err := jetstream.New(cluster.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "s", Subjects: []string{"s.>"}, Replicas: 3}); err != nil {
		t.Fatal(err)
	}
	cluster.Server("n3").Kill()
	// The killed one may have been the leader: publishing is repeated until another is elected.
	for {
		_, err := js.Publish(t.Context(), "s.a", []byte("x"))
		if err == nil {
			break
		}
		t.Logf("publish: %v", err)
		if t.Context().Err() != nil {
			t.Fatal("the cluster of two does not take a message")
		}
	}
	cluster.Server("n3").Restart()
}

func TestPostgresServerSurvivesKill(t *testing.T) {
	server := PostgresServer(t, localstack.PostgresOptions{})
	address := server.URL()
	for _, statement := range []string{"CREATE TABLE kept (id int)", "INSERT INTO kept VALUES (1)"} {
		if err := execute(address, statement); err != nil {
			t.Fatal(err)
		}
	}
	pid := server.PID()
	for range 3 {
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := server.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if server.PID() == pid || server.URL() != address {
		t.Errorf("after the restart: process %d at %s; before: %d at %s", server.PID(), server.URL(), pid, address)
	}
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	var rows int
	var fsync string
	if err := conn.QueryRow(t.Context(), "SELECT count(*), current_setting('fsync') FROM kept").Scan(&rows, &fsync); err != nil {
		t.Fatal(err)
	}
	if rows != 1 || fsync != "on" {
		t.Errorf("rows %d, fsync %s; want 1, on", rows, fsync)
	}
}

func TestProcess(t *testing.T) {
	p := Spawn(t, "echo", ProcessOptions{Args: []string{"a", "b"}, Env: []string{"COLOUR=red"}})
	if got := p.WaitReady(); got != "a b red" {
		t.Errorf("ready line %q, want %q", got, "a b red")
	}
	if err := p.Stdin().Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(); err != nil {
		t.Errorf("ended with %v, want success", err)
	}
	p.Kill() // harmless afterwards

	var exit *exec.ExitError
	failed := Spawn(t, "fail", ProcessOptions{})
	if err := failed.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3", err)
	}
	killed := Spawn(t, "echo", ProcessOptions{})
	killed.WaitReady()
	killed.Kill()
	if err := killed.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Errorf("ended with %v, want killed", err)
	}
	if err := Spawn(t, "nobody registered this", ProcessOptions{}).Wait(); err == nil {
		t.Error("an unknown child ended with success")
	}
}

func TestSweepRemovesOnlyTheDead(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	living, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	dead, err := newScratch()
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.lock.Close(); err != nil { // as the kernel does when a process ends
		t.Fatal(err)
	}
	sweep()
	if _, err := os.Stat(living.path); err != nil {
		t.Errorf("the folder of a living process is gone: %v", err)
	}
	if _, err := os.Stat(dead.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder of a dead process: %v, want gone", err)
	}
	if err := living.remove(); err != nil {
		t.Error(err)
	}
}

func BenchmarkFreshDatabase(b *testing.B) {
	Postgres(b) // starts the server
	for b.Loop() {
		Postgres(b)
	}
}
