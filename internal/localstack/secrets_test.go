package localstack_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestWithoutCredentials(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"nats://u:secret@a:4222":                           "nats://a:4222",
		"nats://u:secret@a:4222,nats://u:secret@b:4222":    "nats://a:4222,nats://b:4222",
		"u:secret@a:4222, tls://token-secret@b:4222":       "nats://a:4222,tls://b:4222",
		"nats://u:sec@ret@a:4222":                          "nats://a:4222",
		"nats://a:4222":                                    "nats://a:4222",
		"127.0.0.1:4222":                                   "nats://127.0.0.1:4222",
		"nats://u:secret@a:port,wss://u:secret@[::1]:8080": "nats://a:port,wss://[::1]:8080",
	} {
		if got := localstack.WithoutCredentials(given); got != want {
			t.Errorf("%s is shown as %s, want %s", given, got, want)
		}
	}
}

// A list of servers is shown without passwords, and joined with them.
func TestAListOfServersHidesItsPasswords(t *testing.T) {
	t.Parallel()
	server := testenv.NATSServer(t, localstack.NATSOptions{User: "u", Password: "hidden-password"})
	config := localstack.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: "nats://u:hidden-password@127.0.0.1:1," + server.URL()}
	stack := start(t, config)
	if shown := stack.Describe() + stack.NATSURL(); strings.Contains(shown, "hidden") || !strings.Contains(shown, "nats://127.0.0.1:1,nats://127.0.0.1:") {
		t.Errorf("it is described as %s", shown)
	}
	if joined := start(t, config); joined.Owner() || !joined.NATS().IsConnected() {
		t.Error("the second did not join the first")
	}
	info, err := os.Stat(filepath.Join(config.DataDir, "run", "stack.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the note holds passwords and has mode %v: %v", info.Mode(), err)
	}
}

func TestMalformedAddressesAreNotShown(t *testing.T) {
	t.Parallel()
	database, server := testenv.Postgres(t), testenv.NATSServer(t, localstack.NATSOptions{})
	for _, c := range []localstack.Config{
		{PostgresURL: "postgres://u:hidden@host:bad/db"},
		{PostgresURL: "postgres://u:hid den@ho st/db"},
		{PostgresURL: "postgres://u:hidden%zz@host/db"},
		{PostgresURL: "host=127.0.0.1 password = hidden port=bad"},
		{PostgresURL: "postgres://u:hidden@127.0.0.1/db?sslmode=wrong"},
		{PostgresURL: "postgres://u:hidden@127.0.0.1/db?pool_max_conns=hidden"},
		{PostgresURL: "postgres://u:hidden@127.0.0.1:1/db"},
		{PostgresURL: database, NATSURL: "nats://u:hidden@host:bad"},
		{PostgresURL: database, NATSURL: "nats://u:hidden%zz@host:1"},
		{PostgresURL: database, NATSURL: "nats://u:hidden@127.0.0.1:1"},
		{PostgresURL: database, NATSURL: server.URL() + ",nats://u:hidden@"},
	} {
		c.DataDir = testenv.Dir(t)
		stack, err := localstack.Start(testContext(t), c)
		if err == nil {
			_ = stack.Close()
			t.Errorf("%s, %s: taken", c.PostgresURL, c.NATSURL)
			continue
		}
		if strings.Contains(err.Error(), "hid") && !strings.Contains(err.Error(), "shown") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("the password is in %v", err)
		}
	}
}
