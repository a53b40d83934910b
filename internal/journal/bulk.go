package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
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

// stallMax is how long a server may take for the next of the events that it has.
var stallMax = time.Minute

// bulkPullMin is the pull from which Follow reads in bulk.
const bulkPullMin = 1000

const (
	bulkBufferBytes = 512 << 10
	bulkArenaBytes  = 256 << 10
	bulkBatchMax    = 512
	bulkBatchBytes  = 1 << 20 // a few batches wait for the reader
	bulkPullBytes   = 8 << 20 // about what is on the way from the server, which may be this process
	bulkPullFirst   = 1000    // events, while their size is not known
	bulkPullLeast   = 16
	bulkDialMax     = 5 * time.Second
	bulkIdleMax     = time.Minute // a follower that nobody reads, or whose server is gone, ends
	controlBytesMax = 64 << 10
)

// errNoBulk: this connection cannot be made again by hand; the library reads instead.
var errNoBulk = errors.New("no bulk read on this connection")

type bulkFollower struct {
	shard    *jetShard
	consumer *consumer
	conn     net.Conn
	reader   *bufio.Reader
	inbox    string
	pull     int
	// expecting: it reads what is known to be there, and does not wait for what may come.
	expecting bool

	batches chan []envelope.Event // closed by the pump, after err was set
	err     error
	quit    chan struct{}
	once    sync.Once

	// Of the pump alone.
	decoder bulkDecoder
	last    uint64
	wanted  int // events asked for and not delivered yet
	read    int // events so far
	bytes   int // of them
	silent  int // value of read when the server spoke of a pull last, without a message
	since   time.Time

	left []envelope.Event // of the reader alone
}

func (s *jetShard) followBulk(ctx context.Context, options FollowOptions) (Follower, error) {
	f, err := s.openBulk(ctx, options)
	if err != nil {
		return nil, err
	}
	go f.pump()
	return f, nil
}

// openBulk returns a reader that nobody drives yet.
func (s *jetShard) openBulk(ctx context.Context, options FollowOptions) (*bulkFollower, error) {
	c, err := s.makeConsumer(ctx, options.After, "")
	if err != nil {
		return nil, err
	}
	f, err := s.dialBulk(c, options)
	if err != nil {
		c.remove()
	}
	return f, err
}

// dialBulk returns a reader of a consumer, which it removes when it is closed.
func (s *jetShard) dialBulk(c *consumer, options FollowOptions) (*bulkFollower, error) {
	conn, reader, err := dialBulk(s.nc)
	if err != nil {
		return nil, err
	}
	f := &bulkFollower{
		shard: s, consumer: c, conn: conn, reader: reader, inbox: nats.NewInbox(), pull: options.Pull,
		batches: make(chan []envelope.Event, 4), quit: make(chan struct{}),
		decoder: bulkDecoder{decoder: decoder{shard: s.number, names: map[string]string{}}}, last: options.After,
	}
	if _, err := fmt.Fprintf(conn, "SUB %s 1\r\n", f.inbox); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return f, nil
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
		return nil, nil, fmt.Errorf("%w: %w", errNoBulk, err)
	}
	_ = conn.SetDeadline(time.Now().Add(bulkDialMax))
	reader := bufio.NewReaderSize(conn, bulkBufferBytes)
	if err := greet(conn, reader, user, password, token); err != nil {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("%w: %w", errNoBulk, err)
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
		return errors.New("the server asks for more than a plain connection")
	}
	connect := fmt.Sprintf("CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,\"lang\":\"go\",\"version\":\"1\",\"name\":\"refold bulk read\",\"user\":%q,\"pass\":%q,\"auth_token\":%q}\r\nPING\r\n", user, password, token)
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
			return errors.New(strings.TrimSpace(line))
		}
	}
}

// pump reads messages and hands over what has arrived, in batches.
func (f *bulkFollower) pump() {
	defer close(f.batches)
	batch, size := make([]envelope.Event, 0, bulkBatchMax), 0
	for {
		if err := f.ask(); err != nil {
			f.err = f.failed(err)
			return
		}
		m, ok, err := f.receive()
		if err == nil && ok {
			batch = append(batch, f.decoder.decode(m.Subject, m.Seq, m.Header, m.Data))
			size += len(m.Data)
		}
		if len(batch) > 0 && (err != nil || len(batch) == bulkBatchMax || size >= bulkBatchBytes || f.reader.Buffered() == 0) {
			select {
			case f.batches <- batch:
				batch, size = make([]envelope.Event, 0, bulkBatchMax), 0
			case <-f.quit:
				f.err = errFollowerClosed
				return
			}
		}
		if err != nil {
			f.err = f.failed(err)
			return
		}
	}
}

func (f *bulkFollower) failed(err error) error {
	select {
	case <-f.quit:
		return errFollowerClosed
	default:
	}
	var gap *GapError
	if errors.As(err, &gap) {
		return err
	}
	return fmt.Errorf("read after sequence %d: %w", f.last, err)
}

// ask requests more when half of what was asked for has come.
func (f *bulkFollower) ask() error {
	pull := f.pullNow()
	if f.wanted > pull/2 {
		return nil
	}
	n := pull - f.wanted
	f.wanted += n
	body := fmt.Sprintf(`{"batch":%d,"expires":%d}`, n, (bulkIdleMax / 2).Nanoseconds())
	_, err := fmt.Fprintf(f.conn, "PUB $JS.API.CONSUMER.MSG.NEXT.%s.%s %s %d\r\n%s\r\n", f.shard.stream, f.consumer.name, f.inbox, len(body), body)
	return err
}

// pullNow is how many events may be on the way, by the size of those that came.
func (f *bulkFollower) pullNow() int {
	if f.read == 0 {
		return min(f.pull, bulkPullFirst)
	}
	return max(min(f.pull, bulkPullBytes/(f.bytes/f.read+1)), bulkPullLeast)
}

// receive reads one line of the protocol and what belongs to it; ok is false for anything but a stored message.
func (f *bulkFollower) receive() (m Raw, ok bool, err error) {
	if f.reader.Buffered() == 0 {
		if err := f.conn.SetReadDeadline(time.Now().Add(bulkIdleMax)); err != nil {
			return m, false, err
		}
	}
	line, err := f.reader.ReadSlice('\n')
	if err != nil {
		if f.expecting && errors.Is(err, os.ErrDeadlineExceeded) {
			err = ErrStalled
		}
		return m, false, err
	}
	switch {
	case len(line) > 5 && string(line[:5]) == "HMSG ":
		return f.message(line[5:], true)
	case len(line) > 4 && string(line[:4]) == "MSG ":
		return f.message(line[4:], false)
	case len(line) >= 4 && string(line[:4]) == "PING":
		_, err := io.WriteString(f.conn, "PONG\r\n")
		return m, false, err
	case len(line) >= 4 && string(line[:4]) == "-ERR":
		return m, false, errors.New(strings.TrimSpace(string(line)))
	}
	return m, false, nil // +OK, PONG, INFO
}

// message reads what follows "HMSG <subject> <sid> [reply] <header bytes> <total bytes>", or "MSG <subject> <sid>
// [reply] <total bytes>" for a message without headers, which is no event but lies in the stream all the same.
func (f *bulkFollower) message(args []byte, headers bool) (m Raw, ok bool, err error) {
	var parts [5]string
	n := 0
	for rest, more := strings.TrimRight(string(args), "\r\n"), true; more; n++ {
		if n == len(parts) {
			return m, false, fmt.Errorf("malformed message line %q", args)
		}
		parts[n], rest, more = strings.Cut(rest, " ")
	}
	header, fixed := 0, 3 // subject, sid, total
	if headers && n >= 4 {
		header, fixed = number(parts[n-2]), 4
	}
	if n < fixed || headers && fixed == 3 || n > fixed+1 {
		return m, false, fmt.Errorf("malformed message line %q", args)
	}
	total := number(parts[n-1])
	if header < 0 || total < header || total > MessageBytesMax+controlBytesMax {
		return m, false, fmt.Errorf("malformed message line %q", args)
	}
	body, err := f.decoder.take(f.reader, total+2) // and the line break behind it
	if err != nil {
		return m, false, err
	}
	if n == fixed || parts[0] == f.inbox {
		return m, false, f.status(body[:header])
	}
	seq, valid := streamSeq(parts[2])
	if !valid {
		return m, false, fmt.Errorf("the reply subject %q holds no sequence", parts[2])
	}
	if seq != f.last+1 {
		return m, false, &GapError{Want: f.last + 1, Got: seq}
	}
	f.last = seq
	f.wanted--
	f.read++
	f.bytes += total
	return Raw{Seq: seq, Subject: parts[0], Header: body[:header:header], Data: body[header:total:total]}, true, nil
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

// status handles the server's words about a pull. An expired one is asked for again; anything else ends the read.
func (f *bulkFollower) status(header []byte) error {
	line, rest, _ := strings.Cut(string(header), "\r\n")
	code := strings.TrimSpace(strings.TrimPrefix(line, "NATS/1.0"))
	switch {
	case strings.HasPrefix(code, "100"): // a heartbeat
		return nil
	case strings.HasPrefix(code, "404"), strings.HasPrefix(code, "408"):
		if f.expecting && f.silent == f.read && !f.since.IsZero() && time.Since(f.since) > stallMax {
			return ErrStalled
		}
		if f.silent != f.read || f.since.IsZero() {
			f.silent, f.since = f.read, time.Now()
		}
		f.wanted = 0
		for field := range strings.SplitSeq(rest, "\r\n") {
			if name, value, ok := strings.Cut(field, ": "); ok && strings.EqualFold(name, "Nats-Pending-Messages") {
				f.wanted = max(f.wanted-number(value), 0)
			}
		}
		return nil
	}
	return fmt.Errorf("the server ended the read: %s", code)
}

// Next implements Follower.
func (f *bulkFollower) Next(ctx context.Context, countMax, bytesMax int) ([]envelope.Event, error) {
	if len(f.left) == 0 {
		select {
		case batch, ok := <-f.batches:
			if !ok {
				return nil, f.err
			}
			f.left = batch
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	n, bytes := 0, 0
	for n < len(f.left) && (countMax <= 0 || n < countMax) {
		bytes += len(f.left[n].Data)
		if n > 0 && bytesMax > 0 && bytes > bytesMax {
			break
		}
		n++
	}
	events := f.left[:n:n]
	f.left = f.left[n:]
	return events, nil
}

// Close implements Follower.
func (f *bulkFollower) Close() {
	f.once.Do(func() {
		close(f.quit)
		_ = f.conn.Close()
		f.consumer.remove()
	})
}

// bulkDecoder makes events of header blocks as they came over the wire.
type bulkDecoder struct {
	decoder
	arena  []byte
	fields [][2][]byte // name and value of each header of the current message
}

// take reads n bytes into memory that stays valid: events keep their payloads.
func (d *bulkDecoder) take(r io.Reader, n int) ([]byte, error) {
	if n > len(d.arena) {
		d.arena = make([]byte, max(bulkArenaBytes, n))
	}
	body := d.arena[:n:n]
	d.arena = d.arena[n:]
	_, err := io.ReadFull(r, body)
	return body, err
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
