package certificate_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/certificate"
	"github.com/refold-dev/refold/internal/testenv"
)

// logged is what was written to a log.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 30 s: %s", what)
		}
	}
}

// echo answers every line with itself, over TLS.
func echo(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().String()
}

func says(conn net.Conn, line string) bool {
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return false
	}
	got, err := bufio.NewReader(conn).ReadString('\n')
	return err == nil && got == line+"\n"
}

func TestPairIsFollowed(t *testing.T) {
	t.Parallel()
	authority := testenv.NewAuthority(t)
	certFile, keyFile := authority.Issue(t, "server")
	pair, err := certificate.Load(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	log := &logged{}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	asked := make(chan *tls.Certificate, 1)
	answer := make(chan error, 1)
	go pair.Watch(ctx, time.Millisecond, slog.New(slog.NewTextHandler(log, nil)), func(next *tls.Certificate) error {
		asked <- next
		return <-answer
	})
	address := echo(t, pair.Server())
	dial := func() *tls.Conn {
		conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: authority.Pool()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	serialOf := func(conn *tls.Conn) string { return conn.ConnectionState().PeerCertificates[0].SerialNumber.String() }
	first := dial()
	if !says(first, "one") {
		t.Fatal("no answer over TLS")
	}
	if _, err := tls.Dial("tcp", address, &tls.Config{RootCAs: authority.Pool(), MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 was accepted")
	}

	key, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(keyFile, key[:len(key)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "a broken pair is logged", func() bool { return log.count("cannot be used") == 1 })
	if serialOf(dial()) != serialOf(first) {
		t.Error("a broken pair took the place of the one before")
	}

	// Half of a new pair is there for a moment: the other half makes it whole.
	authority.Issue(t, "server")
	next := <-asked
	if serialOf(dial()) != serialOf(first) {
		t.Error("a pair served before it was allowed to")
	}
	answer <- nil
	await(t, "the new pair serves", func() bool { return serialOf(dial()) == next.Leaf.SerialNumber.String() })
	if !says(first, "two") {
		t.Error("a connection ended when the certificate was replaced")
	}

	authority.Issue(t, "server")
	<-asked
	answer <- errors.New("not this one")
	await(t, "a refused pair is logged", func() bool { return log.count("not this one") == 1 })
	if serialOf(dial()) != next.Leaf.SerialNumber.String() {
		t.Error("a refused pair serves")
	}
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	await(t, "a missing file is logged", func() bool { return log.count("no such file") > 0 })
	seen := log.count("no such file")
	authority.Issue(t, "server")
	next = <-asked
	answer <- nil
	await(t, "the pair that came back serves", func() bool { return serialOf(dial()) == next.Leaf.SerialNumber.String() })
	if seen != 1 || log.count("no such file") > 1 {
		t.Errorf("a missing file was logged %d times", log.count("no such file"))
	}
}

func TestLoadRefusesWhatIsNoPair(t *testing.T) {
	t.Parallel()
	authority := testenv.NewAuthority(t)
	certFile, keyFile := authority.Issue(t, "one")
	_, other := authority.Issue(t, "two")
	for _, files := range [][2]string{{certFile, other}, {keyFile, certFile}, {certFile, ""}, {"", keyFile}, {certFile, keyFile + ".absent"}} {
		if _, err := certificate.Load(files[0], files[1]); err == nil {
			t.Errorf("%v: no error", files)
		}
	}
}

func TestOnLoopback(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"127.0.0.1:80": true, "127.8.8.8:0": true, "[::1]:80": true, "localhost:80": true,
		":80": false, "0.0.0.0:80": false, "[::]:80": false, "192.0.2.1:80": false, "127.0.0.1": false, "": false, "nowhere.invalid:80": false,
	} {
		if got := certificate.OnLoopback(address); got != want {
			t.Errorf("%q: got %v", address, got)
		}
	}
}
