package client_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/client"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestOverTLS: a producer that knows the authority of the plane's certificate sends commands over TLS, and no other does.
func TestOverTLS(t *testing.T) {
	authority := testenv.NewAuthority(t)
	config := plane.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSListen: "127.0.0.1:0", Durability: localstack.DurabilityRelaxed, ScrubRate: -1}
	config.NATSCertFile, config.NATSKeyFile = authority.Issue(t, "plane")
	s := opened(t, config)
	t.Cleanup(func() { check(t, s.plane.Close()) })
	check(t, s.plane.EnsureLive(t.Context(), nil))
	_, _, err := s.plane.CreateTenant(t.Context(), "a", "", "test")
	check(t, err)
	s.serve(t)

	believing := s.client(t, func(c *client.Config) { c.Options = []nats.Option{nats.RootCAs(authority.CAFile)} })
	result, err := believing.Do(t.Context(), add("k", "over TLS"))
	check(t, err)
	if s.history(t, *result.ID) != 1 {
		t.Error("the command is not in the journal")
	}
	url := s.plane.Stack.NATSURL()
	if !strings.HasPrefix(url, "tls://") {
		t.Errorf("the address is %s", url)
	}
	for _, address := range []string{url, "nats" + strings.TrimPrefix(url, "tls")} {
		if _, err := client.Connect(t.Context(), client.Config{URL: address, Token: client.StaticToken(s.token(t))}); err == nil {
			t.Errorf("%s: connected without knowing the authority", address)
		}
	}
}
