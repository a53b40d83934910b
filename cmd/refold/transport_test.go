package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

// verifying runs a nats-server that wants a certificate of the authority from its clients.
func verifying(t *testing.T, authority *testenv.Authority) (url string) {
	t.Helper()
	cert, key := authority.Issue(t, "nats")
	file := filepath.Join(t.TempDir(), "nats.conf")
	conf := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\ntls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }",
		t.TempDir(), cert, key, authority.CAFile)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	options, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	options.NoSigs, options.NoLog = true, true
	running, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	go running.Start()
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	if !running.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return running.Addr().String()
}

// TestServeOverTLS: HTTP with a certificate that is replaced while it serves, and a journal on a server that verifies its
// clients; a command beside it needs no flag for either.
func TestServeOverTLS(t *testing.T) {
	authority := testenv.NewAuthority(t)
	t.Setenv("REFOLD_NATS", verifying(t, authority))
	t.Setenv("REFOLD_NATS_CA", authority.CAFile)
	ours, key := authority.Issue(t, "refold")
	t.Setenv("REFOLD_NATS_CLIENT_CERT", ours)
	t.Setenv("REFOLD_NATS_CLIENT_KEY", key)
	cert, certKey := authority.Issue(t, "http")
	fresh := func() *http.Client { // a handshake for each request
		return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}, DisableKeepAlives: true}}
	}
	s := servingTo(t, fresh(), "--tls-cert", cert, "--tls-key", certKey, "--journal-bytes", "200MB")
	if !strings.HasPrefix(s.url, "https://") {
		t.Errorf("serves %s", s.url)
	}
	s.await(func() bool {
		return strings.Count(s.output.String(), "refold is ready: "+s.url+", agents "+s.url+"/mcp (after ") == 1
	})
	first := serial(t, s)
	kept := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool()}, ForceAttemptHTTP2: true}}
	held := func() (string, int) {
		answer, err := kept.Get(s.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		return answer.TLS.PeerCertificates[0].SerialNumber.String(), answer.ProtoMajor
	}
	if _, protocol := held(); protocol != 2 {
		t.Errorf("spoken over HTTP/%d, want 2", protocol)
	}
	authority.Issue(t, "http")
	s.await(func() bool { return serial(t, s) != first })
	if now, _ := held(); now != first {
		t.Error("an open connection was replaced with the certificate")
	}
	plain, err := http.Get("http://" + strings.TrimPrefix(s.url, "https://") + "/healthz")
	if err != nil || plain.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %v, %v, want 400", plain, err)
	} else {
		_ = plain.Body.Close()
	}

	for _, name := range []string{"REFOLD_NATS", "REFOLD_NATS_CA", "REFOLD_NATS_CLIENT_CERT", "REFOLD_NATS_CLIENT_KEY"} {
		t.Setenv(name, "")
	}
	if v := into[plane.Status](t, refold(t, exitOK, "status")); !v.Ready {
		t.Errorf("status beside it: %+v", v)
	}
}

func serial(t *testing.T, s *served) string {
	t.Helper()
	answer, err := s.client.Get(s.url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	return answer.TLS.PeerCertificates[0].SerialNumber.String()
}

// TestServeRefusesToBeOverheard: listeners that others reach have TLS, or a proxy that has it.
func TestServeRefusesToBeOverheard(t *testing.T) {
	t.Setenv("REFOLD_DATA", testenv.Dir(t))
	for want, args := range map[string][]string{
		"--behind-proxy":                         {"--listen", "0.0.0.0:0"},
		"--nats-tls-cert and --nats-tls-key, or": {"--nats-listen", "0.0.0.0:0"},
		"--tls-cert and --tls-key belong":        {"--tls-cert", "a"},
		"--nats-tls-cert and --nats-tls-key be":  {"--nats-listen", "127.0.0.1:0", "--nats-tls-key", "a"},
		"give one of them":                       {"--tls-cert", "a", "--tls-key", "b", "--behind-proxy"},
		"which is missing":                       {"--nats-tls-cert", "a", "--nats-tls-key", "b"},
		"--nats-client-cert and":                 {"--nats-client-cert", "a"},
		"two ways to log in":                     {"--nats-creds", "a", "--nats-nkey", "b"},
	} {
		var out strings.Builder
		if got := run(t.Context(), append([]string{"serve"}, args...), &out, &out); got != exitUsage || !strings.Contains(out.String(), want) {
			t.Errorf("%v: exit code %d, %s", args, got, out.String())
		}
	}
	if left, err := os.ReadDir(os.Getenv("REFOLD_DATA")); err != nil || len(left) != 0 {
		t.Errorf("something was made: %v, %v", left, err)
	}
}
