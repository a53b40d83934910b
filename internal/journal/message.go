package journal

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	// brokerHeadersBytes are kept free for the headers that we and the client add: message id, expectations, batch.
	brokerHeadersBytes = 1024
	// HeadersBytesMax bounds the headers of an event; the server takes 64 KiB of headers.
	HeadersBytesMax = 64<<10 - 1 - brokerHeadersBytes
	// EventBytesMax bounds headers and payload of an event together.
	EventBytesMax = MessageBytesMax - brokerHeadersBytes
)

// outgoing is an event ready to be published, any number of times and always under the same id.
type outgoing struct {
	key       envelope.Key
	subject   string
	headers   map[string]string
	data      []byte
	eventID   string
	commandID string
	hash      string // of the request
	last      uint64 // expectation
	bytes     int
}

// newOutgoing checks all that can be checked before anything leaves the process.
func newOutgoing(shard int, e *envelope.Event, last uint64) (*outgoing, error) {
	bytes, err := Check(shard, e)
	if err != nil {
		return nil, err
	}
	subject, err := envelope.Subject(shard, e.Key)
	if err != nil {
		return nil, err
	}
	return &outgoing{
		key: e.Key, subject: subject, headers: e.Headers(), data: e.Data, bytes: bytes,
		eventID: e.EventID, commandID: e.CommandID, hash: envelope.RequestHash(e.Data), last: last,
	}, nil
}

// Check tells whether an event can be appended at all, and how many bytes it takes. It fails with
// envelope.ErrSubject, envelope.ErrEnvelope or ErrTooLarge. Append calls it; nothing is stored when it fails.
func Check(shard int, e *envelope.Event) (bytes int, err error) {
	subject, err := envelope.Subject(shard, e.Key)
	if err != nil {
		return 0, err
	}
	headers := e.Headers()
	headersBytes := len("NATS/1.0\r\n\r\n")
	for name, value := range headers {
		if !survives(value) {
			return 0, fmt.Errorf("%w: header %s of %s holds a control character or outer blanks, which would not survive", envelope.ErrEnvelope, name, e.Key)
		}
		headersBytes += len(name) + len(": ") + len(value) + len("\r\n")
	}
	if err := new(envelope.Event).FromHeaders(func(name string) string { return headers[name] }); err != nil {
		return 0, fmt.Errorf("event of %s: %w", e.Key, err)
	}
	if headersBytes > HeadersBytesMax {
		return 0, fmt.Errorf("%w: headers of %s take %d bytes, at most %d are allowed", ErrTooLarge, e.Key, headersBytes, HeadersBytesMax)
	}
	if headersBytes+len(e.Data) > EventBytesMax {
		return 0, fmt.Errorf("%w: event of %s takes %d bytes, at most %d are allowed", ErrTooLarge, e.Key, headersBytes+len(e.Data), EventBytesMax)
	}
	return headersBytes + len(subject) + len(e.Data), nil
}

// survives tells whether a header value comes back as it went out: the client trims blanks and replaces newlines.
func survives(value string) bool {
	if strings.TrimSpace(value) != value {
		return false
	}
	return strings.IndexFunc(value, func(r rune) bool { return r < 0x20 || r == 0x7f }) < 0
}

// message builds a fresh message: the client writes into the headers of what it publishes.
func (o *outgoing) message(stream string) *nats.Msg {
	h := make(nats.Header, len(o.headers)+6)
	for name, value := range o.headers {
		h[name] = []string{value}
	}
	h[jetstream.MsgIDHeader] = []string{o.eventID}
	h[jetstream.ExpectedStreamHeader] = []string{stream}
	// The exact subject is the only one that is ever checked: mixed with wildcards, a replicated stream accepts
	// what it must refuse.
	h[jetstream.ExpectedLastSubjSeqHeader] = []string{strconv.FormatUint(o.last, 10)}
	return &nats.Msg{Subject: o.subject, Header: h, Data: o.data}
}

// isOwn tells whether a stored event is this very command's.
func (o *outgoing) isOwn(e *envelope.Event) bool {
	return e.Key == o.key && e.CommandID == o.commandID && envelope.RequestHash(e.Data) == o.hash
}
