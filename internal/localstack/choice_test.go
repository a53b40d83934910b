package localstack_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

// fakeDocker puts a docker into a PATH that holds nothing else, and returns the file with what it was asked. "run"
// stays in the foreground until it gets the SIGINT that a container's end begins with.
func fakeDocker(t *testing.T, engine string, address string) string {
	t.Helper()
	dir := t.TempDir()
	calls := filepath.Join(dir, "calls")
	script := fmt.Sprintf(`#!/bin/sh
echo "$*" >> %[1]s
case "$1" in
version) %[2]s ;;
port) echo %[3]s ;;
run) echo "password=$POSTGRES_PASSWORD" >> %[1]s
     trap 'echo ended >> %[1]s; exit 0' INT
     while :; do read -r line < %[4]s; done ;;
esac
`, calls, engine, address, filepath.Join(dir, "never"))
	// A pipe that nobody writes to: the script waits in read without any other program.
	if err := syscall.Mkfifo(filepath.Join(dir, "never"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "docker"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	return calls
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// backing is a real server whose password fits the notes of a cluster in Docker, for the fake to lead to.
func backing(t *testing.T, dataDir string) string {
	t.Helper()
	server := testenv.PostgresServer(t, localstack.PostgresOptions{Fast: true})
	address, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := address.User.Password()
	notes := filepath.Join(dataDir, "postgres")
	if err := os.MkdirAll(notes, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(notes, "password"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	return address.Host
}

func TestDockerIsTakenWhenThereAreNoPrograms(t *testing.T) {
	dir := testenv.Dir(t)
	calls := fakeDocker(t, "echo 28.0", backing(t, dir))
	config := localstack.Config{DataDir: dir, PostgresSearchDirs: []string{}}
	stack := start(t, config)
	leaveMark(t, stack)
	if !strings.HasPrefix(stack.PostgresSource(), "docker: image "+localstack.DockerImage+", volume refold-pg-") {
		t.Errorf("source %q", stack.PostgresSource())
	}
	name := stack.PostgresSource()[strings.LastIndex(stack.PostgresSource(), " ")+1:]
	got := read(t, calls)
	for _, want := range []string{
		"run --rm --name " + name + " ", "--publish 127.0.0.1:0:5432 ", "--volume " + name + ":/var/lib/postgresql ",
		" " + localstack.DockerImage + " ", "password=" + read(t, filepath.Join(dir, "postgres", "password")),
	} {
		if !strings.Contains(got, want) {
			t.Errorf("docker was not called with %q:\n%s", want, got)
		}
	}
	if err := stack.Close(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(read(t, calls), "ended") {
		t.Error("the container was not told to end")
	}
}

func TestClusterStaysInDockerOnceMadeThere(t *testing.T) {
	dir := testenv.Dir(t)
	address := backing(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "postgres", "docker"), []byte("postgres:16\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	calls := fakeDocker(t, "echo 28.0", address)
	stack := start(t, localstack.Config{DataDir: dir}) // local programs would be found
	if !strings.Contains(stack.PostgresSource(), "postgres:16") || !strings.Contains(read(t, calls), " postgres:16 ") {
		t.Errorf("source %q, calls:\n%s", stack.PostgresSource(), read(t, calls))
	}
}

func TestAContainerThatNeverAnswersIsEnded(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	calls := fakeDocker(t, "echo 28.0", listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = localstack.Start(ctx, localstack.Config{DataDir: testenv.Dir(t), PostgresSearchDirs: []string{}})
	if err == nil || !strings.Contains(err.Error(), "not ready in time") {
		t.Errorf("got %v, want not ready in time", err)
	}
	if !strings.HasSuffix(read(t, calls), "ended") {
		t.Errorf("the container was left running:\n%s", read(t, calls))
	}
}

func TestNothingFoundSaysWhatToInstall(t *testing.T) {
	fakeDocker(t, "echo cannot connect to the daemon; exit 1", "")
	dir := testenv.Dir(t)
	_, err := localstack.Start(testContext(t), localstack.Config{DataDir: dir, PostgresSearchDirs: []string{}})
	if !errors.Is(err, localstack.ErrNoPostgres) {
		t.Fatalf("got %v, want %v", err, localstack.ErrNoPostgres)
	}
	for _, want := range []string{"apt-get install postgresql", "brew install postgresql@18", "DATABASE_URL", "cannot connect to the daemon"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the message lacks %q:\n%s", want, err)
		}
	}
	t.Setenv("PATH", "")
	_, err = localstack.Start(testContext(t), localstack.Config{DataDir: dir, PostgresSearchDirs: []string{}})
	if !errors.Is(err, localstack.ErrNoPostgres) {
		t.Errorf("with an empty PATH: got %v, want %v", err, localstack.ErrNoPostgres)
	}
}

// fakePrograms looks like an installation of PostgreSQL to a search.
func fakePrograms(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindBinaries(t *testing.T) {
	root := t.TempDir()
	for _, version := range []string{"9.6.24", "14.9", "15.14 (Debian 15.14-0+deb12u1)", "16.2", "18beta1"} {
		fakePrograms(t, filepath.Join(root, version, "bin"), version)
	}
	client := filepath.Join(root, "19.0", "bin")
	fakePrograms(t, client, "19.0")
	if err := os.Remove(filepath.Join(client, "initdb")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", fakePrograms(t, t.TempDir(), "17.1"))
	everywhere := []string{filepath.Join(root, "*", "bin")}

	for _, c := range []struct {
		name   string
		search []string
		major  int
		want   int // 0 = an error
	}{
		{"the newest wins", everywhere, 0, 18},
		{"the version of a cluster decides", everywhere, 16, 16},
		{"PATH is looked at", []string{}, 0, 17},
		{"a version that is not there", everywhere, 13, 0},
		{"a client installation is none", everywhere, 19, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := localstack.FindBinaries(t.Context(), c.search, c.major)
			if got.Major != c.want || (err == nil) != (c.want != 0) {
				t.Errorf("got %+v, %v; want version %d", got, err, c.want)
			}
			if err != nil && !errors.Is(err, localstack.ErrNoPostgres) {
				t.Errorf("%v does not wrap %v", err, localstack.ErrNoPostgres)
			}
		})
	}

	t.Setenv("PATH", "")
	if got, err := localstack.FindBinaries(t.Context(), []string{filepath.Join(root, "14*", "bin")}, 0); err == nil {
		t.Errorf("took %+v, which is too old", got)
	}
}

func TestDefaultDataDir(t *testing.T) {
	dir := localstack.DefaultDataDir()
	if !filepath.IsAbs(dir) || filepath.Base(dir) != "refold" {
		t.Errorf("default data directory %q", dir)
	}
}
