package localstack_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/testenv"
)

// TestEmbeddedServerSpeaksTLS: with a certificate nobody connects without, those who join believe the server by what its
// process has noted, and both hold when the certificate is replaced.
func TestEmbeddedServerSpeaksTLS(t *testing.T) {
	t.Parallel()
	authority := testenv.NewAuthority(t)
	config := localstack.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), Durability: localstack.DurabilityRelaxed, NATSListen: "127.0.0.1:0"}
	config.NATSCertFile, config.NATSKeyFile = authority.Issue(t, "server")
	stack, err := localstack.Start(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stack.Close() })

	login := stack.Producers()
	as := nats.UserInfo(login.User, login.Password)
	if _, err := nats.Connect(stack.NATSURL(), as); err == nil {
		t.Error("a client that does not know the authority connected")
	}
	open, err := nats.Connect(stack.NATSURL(), as, nats.RootCAs(authority.CAFile))
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	first := peer(t, open)
	plain, err := net.Dial("tcp", open.ConnectedAddr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = plain.Close() }()
	if _, err := fmt.Fprintf(plain, "CONNECT {\"user\":%q,\"pass\":%q}\r\nPING\r\n", login.User, login.Password); err != nil {
		t.Fatal(err)
	}
	if text, ended := untilEnd(plain); !ended {
		t.Errorf("a connection without TLS goes on: %q", text)
	}

	joined := join(t, config.DataDir)
	if peer(t, joined.NATS()) != first {
		t.Error("a process that joined sees another certificate")
	}
	authority.Issue(t, "server")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		again := join(t, config.DataDir)
		now := peer(t, again.NATS())
		_ = again.Close()
		if now != first {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the new certificate does not serve")
		}
	}
	if err := open.FlushTimeout(10 * time.Second); err != nil || open.Stats().Reconnects != 0 {
		t.Errorf("an open connection: %v, %d reconnects", err, open.Stats().Reconnects)
	}
	if err := joined.NATS().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); joined.NATS().Stats().Reconnects == 0 || peer(t, joined.NATS()) == first; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a process that joined does not come back: %v", joined.NATS().LastError())
		}
	}
	producers, err := joined.ConnectProducers()
	if err != nil {
		t.Fatal(err)
	}
	producers.Close()
	client, err := nats.Connect(stack.NATSURL(), append(joined.ClientOptions(), as)...)
	if err != nil {
		t.Fatal(err)
	}
	client.Close()

	// Somebody else's certificate is not one that was noted.
	note := filepath.Join(config.DataDir, "run", "stack.json")
	text, err := os.ReadFile(note)
	if err != nil {
		t.Fatal(err)
	}
	var noted map[string]any
	if err := json.Unmarshal(text, &noted); err != nil {
		t.Fatal(err)
	}
	noted["nats_certificates"] = []string{strings.Repeat("0", 64)}
	if text, err = json.Marshal(noted); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(note, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(stack.NATSURL(), append(joined.ClientOptions(), as)...); err == nil {
		t.Error("a server whose certificate was not noted is believed")
	}
}

func join(t *testing.T, dataDir string) *localstack.Stack {
	t.Helper()
	joined, err := localstack.Join(t.Context(), dataDir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = joined.Close() })
	return joined
}

// peer is the serial number of the server's certificate.
func peer(t *testing.T, conn *nats.Conn) string {
	t.Helper()
	state, err := conn.TLSConnectionState()
	if err != nil {
		return err.Error()
	}
	return state.PeerCertificates[0].SerialNumber.String()
}

func untilEnd(conn net.Conn) (text string, ended bool) {
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	buffer := make([]byte, 64<<10)
	for {
		n, err := conn.Read(buffer)
		text += string(buffer[:n])
		if err != nil {
			var slow net.Error
			return text, !(errors.As(err, &slow) && slow.Timeout())
		}
	}
}

func TestNATSWithoutTLSStaysOnLoopback(t *testing.T) {
	t.Parallel()
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:4222"} {
		_, err := localstack.StartNATS(t.Context(), localstack.NATSOptions{StoreDir: t.TempDir(), Listen: listen})
		if !errors.Is(err, localstack.ErrWithoutTLS) {
			t.Errorf("%s: %v", listen, err)
		}
	}
}

// elsewhere runs a nats-server with a configuration file, as operators do. %s is its store.
func elsewhere(t *testing.T, conf string) (url string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nats.conf")
	text := fmt.Sprintf("listen: 127.0.0.1:-1\njetstream { store_dir: %q }\n%s", t.TempDir(), conf)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
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
	return "nats://" + running.Addr().String()
}

// reached starts a stack on a server elsewhere, joins it from another folder, and makes a stream by both.
func reached(t *testing.T, url string, access localstack.NATSAccess) error {
	t.Helper()
	config := localstack.Config{DataDir: testenv.Dir(t), PostgresURL: testenv.Postgres(t), NATSURL: url, NATSAccess: access}
	stack, err := localstack.Start(t.Context(), config)
	if err != nil {
		return err
	}
	defer func() { _ = stack.Close() }()
	for i, s := range []*localstack.Stack{stack, join(t, config.DataDir)} {
		js, err := jetstream.New(s.NATS())
		if err != nil {
			return err
		}
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: fmt.Sprintf("S%d", i), Subjects: []string{fmt.Sprintf("s%d.>", i)}}); err != nil {
			return err
		}
	}
	return nil
}

func TestServersThatVerifyClients(t *testing.T) {
	t.Parallel()
	authority, strangers := testenv.NewAuthority(t), testenv.NewAuthority(t)
	cert, key := authority.Issue(t, "server")
	url := elsewhere(t, fmt.Sprintf("tls { cert_file: %q, key_file: %q, ca_file: %q, verify: true }", cert, key, authority.CAFile))
	ours := localstack.NATSAccess{CAFile: authority.CAFile}
	ours.CertFile, ours.KeyFile = authority.Issue(t, "refold")
	if err := reached(t, url, ours); err != nil {
		t.Errorf("with a certificate: %v", err)
	}
	theirs := ours
	theirs.CertFile, theirs.KeyFile = strangers.Issue(t, "refold")
	for name, access := range map[string]localstack.NATSAccess{
		"nothing": {}, "no certificate": {CAFile: authority.CAFile}, "a stranger's certificate": theirs,
		"another authority": {CAFile: strangers.CAFile, CertFile: ours.CertFile, KeyFile: ours.KeyFile},
		"half a pair":       {CAFile: authority.CAFile, CertFile: ours.CertFile},
	} {
		if err := reached(t, url, access); err == nil {
			t.Errorf("%s: connected", name)
		}
	}
}

func TestServersThatWantCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	operator, account, user := keyPair(t, nkeys.CreateOperator), keyPair(t, nkeys.CreateAccount), keyPair(t, nkeys.CreateUser)
	claims := jwt.NewAccountClaims(publicKey(t, account))
	claims.Limits.JetStreamLimits = jwt.JetStreamLimits{DiskStorage: -1, MemoryStorage: -1, Streams: -1, Consumer: -1}
	system := keyPair(t, nkeys.CreateAccount)
	operated := jwt.NewOperatorClaims(publicKey(t, operator))
	operated.SystemAccount = publicKey(t, system)
	url := elsewhere(t, fmt.Sprintf("operator: %s\nresolver: MEMORY\nsystem_account: %s\nresolver_preload: { %s: %s, %s: %s }",
		encoded(t, operated, operator), publicKey(t, system), publicKey(t, account), encoded(t, claims, operator),
		publicKey(t, system), encoded(t, jwt.NewAccountClaims(publicKey(t, system)), operator)))
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(encoded(t, jwt.NewUserClaims(publicKey(t, user)), account), seed)
	if err != nil {
		t.Fatal(err)
	}
	credsFile, seedFile := filepath.Join(dir, "refold.creds"), filepath.Join(dir, "refold.nk")
	for file, content := range map[string][]byte{credsFile: creds, seedFile: seed} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := reached(t, url, localstack.NATSAccess{CredsFile: credsFile}); err != nil {
		t.Errorf("with credentials: %v", err)
	}
	if err := reached(t, url, localstack.NATSAccess{}); err == nil {
		t.Error("connected without credentials")
	}

	known := elsewhere(t, fmt.Sprintf("authorization { users: [ { nkey: %s } ] }", publicKey(t, user)))
	if err := reached(t, known, localstack.NATSAccess{SeedFile: seedFile}); err != nil {
		t.Errorf("with an nkey: %v", err)
	}
	if err := reached(t, known, localstack.NATSAccess{}); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without an nkey: %v", err)
	}
	if err := reached(t, known, localstack.NATSAccess{SeedFile: seedFile, CredsFile: credsFile}); err == nil {
		t.Error("two ways to log in at once")
	}
}

func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func publicKey(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encoded(t *testing.T, claims jwt.Claims, by nkeys.KeyPair) string {
	t.Helper()
	text, err := claims.Encode(by)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
