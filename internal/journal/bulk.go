package journal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/refold-dev/refold/events/envelope"
)

// A bulk read is what a replay and a verification spend most of their time with. The client library parses the
// headers of each message into a map of slices, hands it through two queues and wakes a reader for it: about 10 us of
// processor time an event, more than all the rest of a replay. This reader speaks the same protocol (NATS client
// protocol, "HMSG"; a pull consumer without acknowledgements) on a connection of its own and decodes events where
// they lie: about 1 us. It is used for large pulls without a filter, where the connection is one it can make (in
// process, or plain TCP with user and password or a token); anywhere else, Follow uses the library.

// bulkPullMin is the pull from which Follow reads in bulk.
const bulkPullMin = 1000

const (
	bulkBufferBytes = 512 << 10
	bulkArenaBytes  = 256 << 10
	bulkDialMax     = 5 * time.Second
	controlBytesMax = 64 << 10
)

// errNoBulk: this connection cannot be made again by hand; the library reads instead.
var errNoBulk = errors.New("no bulk read on this connection")

// bulkWire is a wire over a connection of its own.
type bulkWire struct {
	conn    net.Conn
	reader  *bufio.Reader
	inbox   string
	memory  arena
	stop    func() bool
	silence time.Duration
}

// newBulkWire fails with errNoBulk where the library must read. The end of ctx ends a receive.
func newBulkWire(ctx context.Context, nc *nats.Conn, silence time.Duration) (*bulkWire, error) {
	conn, reader, err := dialBulk(nc)
	if err != nil {
		return nil, err
	}
	w := &bulkWire{conn: conn, reader: reader, inbox: nats.NewInbox(), silence: silence}
	if _, err := fmt.Fprintf(conn, "SUB %s 1\r\n", w.inbox); err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	return w, nil
}

// dialBulk makes a second connection to where nc is connected to.
func dialBulk(nc *nats.Conn) (net.Conn, *bufio.Reader, error) {
	user, password, token := nc.Opts.User, nc.Opts.Password, nc.Opts.Token
	if at, err := url.Parse(nc.ConnectedUrl()); err == nil && at.User != nil && user == "" {
		user = at.User.Username()
		password, _ = at.User.Password()
	}
	if nc.Opts.Nkey != "" || nc.Opts.UserJWT != nil || nc.Opts.Secure || nc.Opts.CustomDialer != nil {
		return nil, nil, errNoBulk
	}
	conn, err := dialPlain(nc)
	if err != nil {
		return nil, nil, fmt.Errorf("connect for a bulk read: %w", err)
	}
	_ = conn.SetDeadline(time.Now().Add(bulkDialMax))
	reader := bufio.NewReaderSize(conn, bulkBufferBytes)
	if err := greet(conn, reader, user, password, token); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("connect for a bulk read: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	return conn, reader, nil
}

func dialPlain(nc *nats.Conn) (net.Conn, error) {
	if nc.Opts.InProcessServer != nil {
		return nc.Opts.InProcessServer.InProcessConn()
	}
	return net.DialTimeout("tcp", nc.ConnectedAddr(), bulkDialMax)
}

// greet runs the opening of the protocol: INFO from the server, CONNECT and PING from us, PONG back.
func greet(conn net.Conn, reader *bufio.Reader, user, password, token string) error {
	info, err := reader.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(info, "INFO ") || strings.Contains(info, `"tls_required":true`) {
		return fmt.Errorf("%w: the server asks for more than a plain one", errNoBulk)
	}
	connect, err := connectLine(user, password, token)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(conn, connect); err != nil {
		return err
	}
	for {
		line, err := reader.ReadString('\n')
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(line, "PONG"):
			return nil
		case strings.HasPrefix(line, "-ERR"):
			return fmt.Errorf("%w: %s", errNoBulk, strings.TrimSpace(line))
		}
	}
}

// connectLine is what a client says first, and a PING to be answered when it is let in.
func connectLine(user, password, token string) (string, error) {
	options, err := json.Marshal(map[string]any{
		"verbose": false, "pedantic": false, "headers": true, "no_responders": true, "protocol": 1, "lang": "go", "version": "1",
		"name": "refold bulk read", "user": user, "pass": password, "auth_token": token,
	})
	if err != nil {
		return "", err
	}
	return "CONNECT " + string(options) + "\r\nPING\r\n", nil
}

func (w *bulkWire) ask(subject, body string) error {
	_, err := fmt.Fprintf(w.conn, "PUB %s %s %d\r\n%s\r\n", subject, w.inbox, len(body), body)
	return err
}

func (w *bulkWire) waiting() bool { return w.reader.Buffered() > 0 }

func (w *bulkWire) close() {
	w.stop()
	_ = w.conn.Close()
}

// receive reads one line of the protocol and what belongs to it.
func (w *bulkWire) receive() (a arrival, stored bool, status string, err error) {
	if w.reader.Buffered() == 0 {
		if err := w.conn.SetReadDeadline(time.Now().Add(w.silence)); err != nil {
			return a, false, "", err
		}
	}
	line, err := w.reader.ReadSlice('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return a, false, "", errSilent
	case err != nil:
		return a, false, "", err
	case len(line) > 5 && string(line[:5]) == "HMSG ":
		return w.message(line[5:], true)
	case len(line) > 4 && string(line[:4]) == "MSG ":
		return w.message(line[4:], false)
	case len(line) >= 4 && string(line[:4]) == "PING":
		_, err := io.WriteString(w.conn, "PONG\r\n")
		return a, false, "", err
	case len(line) >= 4 && string(line[:4]) == "-ERR":
		return a, false, "", errors.New(strings.TrimSpace(string(line)))
	}
	return a, false, "", nil // +OK, PONG, INFO
}

// message reads what follows "HMSG <subject> <sid> [reply] <header bytes> <total bytes>", or "MSG <subject> <sid>
// [reply] <total bytes>" for a message without headers, which is no event but lies in the stream all the same.
func (w *bulkWire) message(args []byte, headers bool) (a arrival, stored bool, status string, err error) {
	var parts [5]string
	n := 0
	for rest, more := strings.TrimRight(string(args), "\r\n"), true; more; n++ {
		if n == len(parts) {
			return a, false, "", fmt.Errorf("malformed message line %q", args)
		}
		parts[n], rest, more = strings.Cut(rest, " ")
	}
	header, fixed := 0, 3 // subject, sid, total
	if headers && n >= 4 {
		header, fixed = number(parts[n-2]), 4
	}
	if n < fixed || headers && fixed == 3 || n > fixed+1 {
		return a, false, "", fmt.Errorf("malformed message line %q", args)
	}
	total := number(parts[n-1])
	if header < 0 || total < header || total > MessageBytesMax+controlBytesMax {
		return a, false, "", fmt.Errorf("malformed message line %q", args)
	}
	body, err := w.memory.take(w.reader, total+2) // and the line break at its end
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return a, false, "", errSilent
	}
	if err != nil {
		return a, false, "", err
	}
	if n == fixed || parts[0] == w.inbox {
		return a, false, strings.TrimPrefix(string(body[:header]), "NATS/1.0 "), nil
	}
	seq, valid := replyNumber(parts[2], replySeq)
	if !valid {
		return a, false, "", fmt.Errorf("the reply subject %q holds no sequence", parts[2])
	}
	raw := Raw{Seq: seq, Subject: parts[0], Header: body[:header:header], Data: body[header:total:total]}
	return arrival{Raw: raw, reply: parts[2]}, true, "", nil
}

func number(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > 1<<30 {
			return -1
		}
		n = n*10 + int(s[i]-'0')
	}
	return n
}

// arena is memory that stays valid: events keep their payloads.
type arena []byte

// take reads n bytes.
func (a *arena) take(r io.Reader, n int) ([]byte, error) {
	if n > len(*a) {
		*a = make([]byte, max(bulkArenaBytes, n))
	}
	body := (*a)[:n:n]
	*a = (*a)[n:]
	_, err := io.ReadFull(r, body)
	return body, err
}

// bulkDecoder makes events of header blocks as they came over the wire.
type bulkDecoder struct {
	decoder
	fields [][2][]byte // name and value of each header of the current message
}

func (d *bulkDecoder) decode(subject string, seq uint64, header, data []byte) envelope.Event {
	d.split(header)
	e := envelope.Event{Shard: d.shard, Seq: seq, Data: data}
	headersErr := e.FromHeaders(d.value)
	number, key, subjectErr := envelope.ParseSubject(subject)
	e.Key = key
	if headersErr != nil || subjectErr != nil || number != d.shard || !d.onlyOwn() {
		e.Kind = MalformedKind
	}
	e.Tenant, e.Entity, e.Kind = d.intern(e.Tenant), d.intern(e.Entity), d.intern(e.Kind)
	return e
}

// split finds the fields in "NATS/1.0\r\n<name>: <value>\r\n...\r\n".
func (d *bulkDecoder) split(header []byte) {
	d.fields = d.fields[:0]
	for at := bytes.IndexByte(header, '\n') + 1; at > 0 && at < len(header); {
		end := bytes.IndexByte(header[at:], '\n')
		if end < 0 {
			return
		}
		line := header[at : at+end]
		if colon := bytes.IndexByte(line, ':'); colon >= 0 {
			d.fields = append(d.fields, [2][]byte{line[:colon], bytes.TrimSpace(line[colon+1:])})
		}
		at += end + 1
	}
}

// onlyOwn reports whether every header is one of the event's, once, or one of the broker's.
func (d *bulkDecoder) onlyOwn() bool {
	for i := range d.fields {
		name := d.fields[i][0]
		if bytes.HasPrefix(name, []byte(brokerPrefix)) {
			continue
		}
		if !envelope.OwnHeader(string(name)) {
			return false
		}
		for j := range i {
			if bytes.Equal(d.fields[j][0], name) {
				return false
			}
		}
	}
	return true
}

// value returns the first value of a header; names are compared as they stand, ours are in lower case.
func (d *bulkDecoder) value(name string) string {
	for i := range d.fields {
		if string(d.fields[i][0]) == name {
			return string(d.fields[i][1])
		}
	}
	return ""
}
