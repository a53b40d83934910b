package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// pullExpiry is how long one pull stands; it is asked for again.
	pullExpiry = 30 * time.Second
	// pullBytes is about what may be on the way from the server, which may be this process.
	pullBytes = 8 << 20
	pullLeast = 16
	pullFirst = 1000 // events, while their size is not known
)

// arrival is a stored message as it came over a wire.
type arrival struct {
	Raw
	reply  string
	fields nats.Header // of a message that the library has parsed; Header is empty then
}

// raw is the message as callers get it.
func (a *arrival) raw() *Raw {
	if a.fields != nil {
		a.Header = headerBlock(a.fields)
	}
	return &a.Raw
}

// wire carries what one consumer delivers. It belongs to one goroutine, but for close.
type wire interface {
	// ask publishes a request to the consumer; answers come to this wire alone.
	ask(subject, body string) error
	// receive waits for the next message, up to bounds.silence. stored is false for everything else that comes; status is
	// then the server's word about a pull ("408 Request Timeout", with its headers), or empty.
	receive() (a arrival, stored bool, status string, err error)
	// waiting reports whether something has arrived that was not received yet.
	waiting() bool
	close()
}

var (
	// errSilent: neither messages nor heartbeats came for bounds.silence.
	errSilent = errors.New("the server gives no sign of life")
	// errUnheard: a pull found nobody. It may have come before all servers know of the consumer.
	errUnheard = errors.New("the server ended the read: 503")
	// errTorn: messages got lost on the way, which a new consumer delivers again.
	errTorn = errors.New("the connection was lost")
)

// source is one consumer and the wire to it.
type source struct {
	consumer *consumer
	wire     wire
	pull     int

	wanted  int    // messages asked for and not delivered yet
	read    uint64 // messages so far
	bytes   uint64 // of them
	unheard int    // pulls that found nobody, before the first message
}

// unheardMax bounds how often a pull is repeated that found nobody; unheardWait lies between two.
const (
	unheardMax  = 40
	unheardWait = 50 * time.Millisecond
)

// next returns the next message, or stored false when something else came.
func (s *source) next() (a arrival, stored bool, err error) {
	if err := s.ask(); err != nil {
		return a, false, err
	}
	a, stored, status, err := s.wire.receive()
	switch {
	case err != nil:
		return a, false, err
	case stored:
		s.wanted--
		s.read++
		s.bytes += uint64(len(a.Data) + len(a.Header))
		return a, true, nil
	case status != "":
		return a, false, s.heed(status)
	}
	return a, false, nil
}

// ask requests more when half of what was asked for has come.
func (s *source) ask() error {
	pull := s.pullNow()
	if s.wanted > pull/2 {
		return nil
	}
	n := pull - s.wanted
	s.wanted += n
	body := fmt.Sprintf(`{"batch":%d,"expires":%d,"idle_heartbeat":%d}`, n, pullExpiry.Nanoseconds(), s.consumer.shard.bounds.heartbeat.Nanoseconds())
	return s.wire.ask("$JS.API.CONSUMER.MSG.NEXT."+s.consumer.shard.stream+"."+s.consumer.name, body)
}

// pullNow is how many messages may be on the way, by the size of those that came.
func (s *source) pullNow() int {
	if s.read == 0 {
		return min(s.pull, pullFirst)
	}
	return max(min(s.pull, int(pullBytes/(s.bytes/s.read+1))), min(s.pull, pullLeast))
}

// heed handles the server's word about a pull. One that has expired is asked for again; anything else ends the source.
func (s *source) heed(status string) error {
	code, rest, _ := strings.Cut(status, "\r\n")
	switch {
	case strings.HasPrefix(code, "100"): // a heartbeat
		return nil
	case strings.HasPrefix(code, "404"), strings.HasPrefix(code, "408"):
		s.wanted = 0
		for field := range strings.SplitSeq(rest, "\r\n") {
			if name, value, ok := strings.Cut(field, ": "); ok && strings.EqualFold(name, "Nats-Pending-Messages") {
				s.wanted = max(s.wanted-number(value), 0)
			}
		}
		return nil
	case strings.HasPrefix(code, "503"):
		s.unheard++
		if s.read > 0 || s.unheard > unheardMax {
			return errUnheard
		}
		s.wanted = 0
		time.Sleep(unheardWait)
		return nil
	}
	return fmt.Errorf("the server ended the read: %s", code)
}

// torn tells whether messages got lost between the server and us: the server numbers what it delivers.
func (s *source) torn(a *arrival) bool {
	delivered, ok := replyNumber(a.reply, replyDelivered)
	return ok && delivered != s.read
}

func (s *source) close() {
	s.wire.close()
	s.consumer.remove()
}

// libraryWire is a wire over the connection of the client library, which it shares with others.
type libraryWire struct {
	ctx      context.Context
	nc       *nats.Conn
	inbox    string
	sub      *nats.Subscription
	messages chan *nats.Msg
	again    chan nats.Status // the connection was made again
	silence  time.Duration
	timer    *time.Timer
}

// statusesAhead is room for the words of the server beside the messages that were asked for.
const statusesAhead = 256

func newLibraryWire(ctx context.Context, nc *nats.Conn, pull int, silence time.Duration) (*libraryWire, error) {
	w := &libraryWire{
		ctx: ctx, nc: nc, inbox: nc.NewInbox(), messages: make(chan *nats.Msg, pull+statusesAhead),
		again: nc.StatusChanged(nats.CONNECTED), silence: silence, timer: time.NewTimer(silence),
	}
	var err error
	if w.sub, err = nc.ChanSubscribe(w.inbox, w.messages); err != nil {
		nc.RemoveStatusListener(w.again)
		return nil, err
	}
	return w, nil
}

func (w *libraryWire) ask(subject, body string) error {
	return w.nc.PublishRequest(subject, w.inbox, []byte(body))
}

func (w *libraryWire) receive() (a arrival, stored bool, status string, err error) {
	select {
	case m := <-w.messages:
		return w.take(m)
	default:
	}
	w.timer.Reset(w.silence)
	select {
	case m := <-w.messages:
		return w.take(m)
	case <-w.again:
		return a, false, "", errTorn
	case <-w.timer.C:
		return a, false, "", errSilent
	case <-w.ctx.Done():
		return a, false, "", w.ctx.Err()
	}
}

func (w *libraryWire) take(m *nats.Msg) (a arrival, stored bool, status string, err error) {
	if m.Reply == "" {
		status = m.Header.Get("Status") + " " + m.Header.Get("Description") + "\r\n" +
			"Nats-Pending-Messages: " + m.Header.Get("Nats-Pending-Messages") + "\r\n"
		return a, false, status, nil
	}
	seq, ok := replyNumber(m.Reply, replySeq)
	if !ok {
		return a, false, "", fmt.Errorf("the reply subject %q holds no sequence", m.Reply)
	}
	fields := m.Header
	if fields == nil {
		fields = nats.Header{}
	}
	return arrival{Raw: Raw{Seq: seq, Subject: m.Subject, Data: m.Data}, reply: m.Reply, fields: fields}, true, "", nil
}

func (w *libraryWire) waiting() bool { return len(w.messages) > 0 }

func (w *libraryWire) close() {
	_ = w.sub.Unsubscribe()
	w.nc.RemoveStatusListener(w.again)
	w.timer.Stop()
}

// Places in the reply subject of a message, "$JS.ACK.<stream>.<consumer>.<times>.<sequence>.<delivered>.<time>.<pending>";
// the longer form has domain and account before the stream.
const (
	replySeq       = 5
	replyDelivered = 6
)

// replyNumber reads a number out of a reply subject without splitting it.
func replyNumber(reply string, place int) (uint64, bool) {
	if strings.Count(reply, ".") >= 10 {
		place += 2
	}
	for range place {
		_, rest, ok := strings.Cut(reply, ".")
		if !ok {
			return 0, false
		}
		reply = rest
	}
	token, _, _ := strings.Cut(reply, ".")
	var n uint64
	for i := 0; i < len(token); i++ {
		if token[i] < '0' || token[i] > '9' {
			return 0, false
		}
		n = n*10 + uint64(token[i]-'0')
	}
	return n, n > 0
}
