package envelope

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Header names. They are written in lower case because nats.Header does not canonicalise.
const (
	headerSpecVersion = "ce-specversion"
	headerID          = "ce-id"
	headerKind        = "ce-type"
	headerSource      = "ce-source"
	headerTime        = "ce-time"
	headerVersion     = "refold-version"
	headerActor       = "refold-actor"
	headerCommand     = "refold-command"
	headerTrace       = "traceparent"
)

const (
	specVersion = "1.0"
	source      = "refold"
)

// ErrEnvelope is returned for a message whose headers are not those of an event.
var ErrEnvelope = errors.New("not the envelope of an event")

// Headers returns the event's headers: single values, lower-case names, no `Nats-*` among them.
func (e *Event) Headers() map[string]string {
	h := map[string]string{
		headerSpecVersion: specVersion,
		headerID:          e.EventID,
		headerKind:        e.Kind,
		headerSource:      source,
		headerTime:        e.Time.UTC().Format(time.RFC3339Nano),
		headerVersion:     strconv.FormatUint(e.Version, 10),
		headerActor:       e.Actor,
		headerCommand:     e.CommandID,
	}
	if e.TraceParent != "" {
		h[headerTrace] = e.TraceParent
	}
	return h
}

// OwnHeader reports whether a header is one of an event's. Others than these and the broker's have no place in a
// journal: the digest of an event would not cover them.
func OwnHeader(name string) bool {
	switch name {
	case headerSpecVersion, headerID, headerKind, headerSource, headerTime, headerVersion, headerActor, headerCommand, headerTrace:
		return true
	}
	return false
}

// FromHeaders fills all that headers carry, by asking get for one header after another (empty = absent).
// It fails with ErrEnvelope when one that must be there is missing or malformed, or written in another way than
// Headers writes it, so that no two messages have the same digest; the fields that could be read are set all the same,
// so that even a broken event can be named.
func (e *Event) FromHeaders(get func(name string) string) error {
	e.EventID = get(headerID)
	e.Kind = get(headerKind)
	e.Actor = get(headerActor)
	e.CommandID = get(headerCommand)
	e.TraceParent = get(headerTrace)
	var errVersion, errTime error
	e.Version, errVersion = strconv.ParseUint(get(headerVersion), 10, 64)
	e.Time, errTime = time.Parse(time.RFC3339Nano, get(headerTime))
	e.Time = e.Time.UTC()
	switch {
	case get(headerSpecVersion) != specVersion:
		return fmt.Errorf("%w: %s is %q, want %q", ErrEnvelope, headerSpecVersion, get(headerSpecVersion), specVersion)
	case get(headerSource) != source:
		return fmt.Errorf("%w: %s is %q, want %q", ErrEnvelope, headerSource, get(headerSource), source)
	case e.EventID == "" || e.Kind == "" || e.CommandID == "":
		return fmt.Errorf("%w: id, type or command id is missing", ErrEnvelope)
	case errVersion != nil || e.Version == 0:
		return fmt.Errorf("%w: %s is %q, want a number from 1", ErrEnvelope, headerVersion, get(headerVersion))
	case errTime != nil:
		return fmt.Errorf("%w: %s is %q, want RFC 3339", ErrEnvelope, headerTime, get(headerTime))
	case !e.written(get(headerVersion), get(headerTime)):
		return fmt.Errorf("%w: %s %q or %s %q are not in the form they are written in", ErrEnvelope, headerVersion, get(headerVersion), headerTime, get(headerTime))
	}
	return nil
}

// written reports whether version and time read as they are written.
func (e *Event) written(version, at string) bool {
	var buffer [len(time.RFC3339Nano)]byte
	return string(strconv.AppendUint(buffer[:0], e.Version, 10)) == version &&
		e.Time.Nanosecond()%1000 == 0 && string(e.Time.AppendFormat(buffer[:0], time.RFC3339Nano)) == at
}

// Compose builds the payload of an event from its two halves, both JSON objects: what is public, and what is
// personal together with the request hash of the command (a hash of personal input is personal, too).
// The result is {"private":{"request_hash":...,<private>},<public>}.
func Compose(public, private []byte, requestHash string) []byte {
	out := make([]byte, 0, len(public)+len(private)+len(requestHash)+40)
	out = append(out, `{"private":{"request_hash":"`...)
	out = append(out, requestHash...)
	out = append(out, '"')
	out = appendMembers(out, private)
	out = append(out, '}')
	out = appendMembers(out, public)
	return append(out, '}')
}

// appendMembers appends the members of a JSON object behind a comma.
func appendMembers(out, object []byte) []byte {
	object = bytes.TrimSpace(object)
	if len(object) < 2 || object[0] != '{' {
		return out
	}
	members := bytes.TrimSpace(object[1 : len(object)-1])
	if len(members) == 0 {
		return out
	}
	return append(append(out, ','), members...)
}

var requestHashPrefix = []byte(`{"private":{"request_hash":"`)

// RequestHash reads back the request hash of a payload that Compose built, or "" when it holds none.
func RequestHash(data []byte) string {
	rest, ok := bytes.CutPrefix(data, requestHashPrefix)
	if !ok {
		return ""
	}
	hash, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return ""
	}
	return string(hash)
}
