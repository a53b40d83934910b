package httpapi_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/httpapi"
)

// TestConnectionsAreBounded: idle connections give way to new ones, those with a request under way do not.
func TestConnectionsAreBounded(t *testing.T) {
	const limit = 3
	s := newStack(t)
	s.config.ConnectionsMax = limit
	edge := httpapi.Server(s.config)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	served := make(chan error, 1)
	go func() { served <- edge.Serve(listener) }()
	t.Cleanup(func() { check(t, edge.Close()); <-served })
	type conn struct {
		net.Conn
		in *bufio.Reader
	}
	open := func() conn {
		c, err := net.Dial("tcp", listener.Addr().String())
		check(t, err)
		t.Cleanup(func() { _ = c.Close() })
		check(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		return conn{c, bufio.NewReader(c)}
	}
	answers := func(c conn) bool {
		if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			return false
		}
		r, err := http.ReadResponse(c.in, nil)
		if err != nil {
			return false
		}
		_, err = io.Copy(io.Discard, r.Body)
		return err == nil && r.StatusCode == http.StatusOK
	}
	busy := open()
	_, err = io.WriteString(busy, "GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ") // and no more for now
	check(t, err)
	var idle []conn
	for range 2 * limit {
		c := open()
		if !answers(c) {
			t.Fatal("a new connection is not served while others are idle")
		}
		idle = append(idle, c)
	}
	if answers(idle[0]) {
		t.Error("the connection that was idle for longest is still there")
	}
	if !answers(idle[len(idle)-1]) {
		t.Error("the newest connection is gone")
	}
	_, err = io.WriteString(busy, "none\r\n\r\n")
	check(t, err)
	if r, err := http.ReadResponse(busy.in, nil); err != nil || r.StatusCode != http.StatusUnauthorized {
		t.Errorf("the connection with a request under way: %v, %v", r, err)
	}
}
