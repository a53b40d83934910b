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
	o := &outgoing{
		key: e.Key, data: e.Data, eventID: e.EventID, commandID: e.CommandID, hash: envelope.RequestHash(e.Data), last: last,
	}
	var err error
	o.subject, o.headers, o.bytes, err = check(shard, e)
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Check tells whether an event can be appended at all, and how many bytes it takes. It fails with
// envelope.ErrSubject, envelope.ErrEnvelope or ErrTooLarge. Append calls it; nothing is stored when it fails.
func Check(shard int, e *envelope.Event) (bytes int, err error) {
	_, _, bytes, err = check(shard, e)
	return bytes, err
}

func check(shard int, e *envelope.Event) (subject string, headers map[string]string, bytes int, err error) {
	if subject, err = envelope.Subject(shard, e.Key); err != nil {
		return "", nil, 0, err
	}
	headers = e.Headers()
	headersBytes, err := checkHeaders(headers, e.Key)
	if err != nil {
		return "", nil, 0, err
	}
	if headersBytes+len(e.Data) > EventBytesMax {
		return "", nil, 0, fmt.Errorf("%w: event of %s takes %d bytes, at most %d are allowed", ErrTooLarge, e.Key, headersBytes+len(e.Data), EventBytesMax)
	}
	return subject, headers, headersBytes + len(subject) + len(e.Data), nil
}

func checkHeaders(headers map[string]string, key envelope.Key) (bytes int, err error) {
	bytes = len("NATS/1.0\r\n\r\n")
	for name, value := range headers {
		if !survives(value) {
			return 0, fmt.Errorf("%w: header %s of %s holds a control character or outer blanks, which would not survive", envelope.ErrEnvelope, name, key)
		}
		bytes += len(name) + len(": ") + len(value) + len("\r\n")
	}
	if err := new(envelope.Event).FromHeaders(func(name string) string { return headers[name] }); err != nil {
		return 0, fmt.Errorf("event of %s: %w", key, err)
	}
	if bytes > HeadersBytesMax {
		return 0, fmt.Errorf("%w: headers of %s take %d bytes, at most %d are allowed", ErrTooLarge, key, bytes, HeadersBytesMax)
	}
	return bytes, nil
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
