package commands

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/events/jsonb"
)

// The form of commands over NATS: a request to Subject with these headers and the command's body, or to BatchSubject
// with many commands in one body. The answer is a Result, or a BatchResult. Names of headers are read in any case; one
// that stands twice is refused; all others are left aside.
const (
	HeaderAuthorization = "Authorization"           // "Bearer " and the token, in every request
	HeaderCommand       = "Refold-Command"          // name of the command, such as memory.add
	HeaderKey           = "Idempotency-Key"         // see CheckKey
	HeaderVersion       = "Refold-Expected-Version" // a number, or AnyVersion
	HeaderTrace         = "traceparent"             // W3C trace context
)

// AnyVersion, as an expected version, says that whatever is there may be replaced.
const AnyVersion = "*"

// NewID stands in a subject for the id of what a command makes.
const NewID = "new"

const (
	// BatchMax bounds the commands of one request.
	BatchMax = 500
	// BatchBytesMax bounds the body of one request; servers take 1 MB unless they are told otherwise.
	BatchBytesMax = 1 << 20
)

// ErrSubject is returned for what is not a subject of commands.
var ErrSubject = errors.New("not the subject of a command")

// Subject returns "cmd.<tenant>.<entity>.<id>", where a command of this tenant is sent; the id is NewID for what makes
// an entity. It fails with ErrSubject for a tenant that cannot be one.
func Subject(tenant string, c Command) (string, error) {
	if !envelope.ValidTenant(tenant) {
		return "", fmt.Errorf("%w: tenant %q", ErrSubject, tenant)
	}
	id := NewID
	if !Makes(c.Name()) {
		id = c.Target().String()
	}
	return "cmd." + tenant + "." + EntityOf(c.Name()) + "." + id, nil
}

// BatchSubject returns "cmd.<tenant>.batch".
func BatchSubject(tenant string) (string, error) {
	if !envelope.ValidTenant(tenant) {
		return "", fmt.Errorf("%w: tenant %q", ErrSubject, tenant)
	}
	return "cmd." + tenant + ".batch", nil
}

// Address is what a subject says.
type Address struct {
	Tenant string
	Entity string    // empty for a batch
	ID     uuid.UUID // uuid.Nil for NewID, and for a batch
}

// ParseSubject is the inverse of Subject and BatchSubject. It fails with ErrSubject.
func ParseSubject(subject string) (a Address, err error) {
	tokens := strings.Split(subject, ".")
	wrong := fmt.Errorf("%w: %.200q", ErrSubject, subject)
	if len(tokens) < 3 || tokens[0] != "cmd" || !envelope.ValidTenant(tokens[1]) {
		return a, wrong
	}
	a.Tenant = tokens[1]
	if len(tokens) == 3 && tokens[2] == "batch" {
		return a, nil
	}
	if len(tokens) != 4 || !envelope.ValidToken(tokens[2]) {
		return a, wrong
	}
	a.Entity = tokens[2]
	if tokens[3] == NewID {
		return a, nil
	}
	if a.ID, err = uuid.Parse(tokens[3]); err != nil || a.ID == uuid.Nil || a.ID.String() != tokens[3] {
		return Address{}, wrong
	}
	return a, nil
}

// InboxPrefix is where the answers to a user's requests go: the reply of a request must lie below it, and nobody else
// may listen there. It is "_INBOX.", the tenant, a point, and the first 32 hexadecimal digits of the SHA-256 of the
// user's login (claim sub).
func InboxPrefix(tenant, subject string) string {
	sum := sha256.Sum256([]byte(subject))
	return "_INBOX." + tenant + "." + hex.EncodeToString(sum[:16])
}

// Version is the version that a command expects its entity to have.
type Version struct {
	Any    bool
	Number uint64
}

// ParseVersion reads AnyVersion or a number. It fails with *InvalidError.
func ParseVersion(text string) (Version, error) {
	if text == AnyVersion {
		return Version{Any: true}, nil
	}
	number, err := strconv.ParseUint(text, 10, 63)
	if err != nil || strconv.FormatUint(number, 10) != text {
		return Version{}, &InvalidError{Reason: "an expected version is a number, or " + AnyVersion}
	}
	return Version{Number: number}, nil
}

// String is the inverse of ParseVersion.
func (v Version) String() string {
	if v.Any {
		return AnyVersion
	}
	return strconv.FormatUint(v.Number, 10)
}

// Replaces reports whether a command of this name replaces content. Such a command must say which version it has read,
// or that any may be replaced.
func Replaces(name string) bool {
	switch name {
	case nameChangeMemory, nameRestoreMemory, nameChangeApp, nameChangeUser, nameChangeArchivePolicy:
		return true
	}
	return false
}

// Wish is a command with what surrounds it.
type Wish struct {
	Key     string   // idempotency key: with it the same command may be repeated for ever, and is stored once
	Version *Version // nil = none expected
	Command Command
}

// Outcome is what became of a command.
type Outcome string

// The outcomes. Refused is definite: nothing was stored by this attempt. If Problem.Retryable says so nothing was decided
// either: the command may be repeated later, and an earlier attempt that was Unknown still is. After Unknown the command may or may not be stored: repeat it with the same key.
const (
	Accepted Outcome = "accepted"
	Refused  Outcome = "refused"
	Unknown  Outcome = "unknown"
)

// Result is the answer to one command.
type Result struct {
	Outcome  Outcome    `json:"outcome"`
	ID       *uuid.UUID `json:"id,omitempty"`       // of the entity
	Version  uint64     `json:"version,omitempty"`  // of the entity, after the command
	Changed  bool       `json:"changed,omitempty"`  // false when there was nothing to do
	Position string     `json:"position,omitempty"` // for reading one's own writes
	Problem  *Problem   `json:"problem,omitempty"`  // unless accepted
}

// Problem says why a command was not accepted (RFC 9457), with the codes of the HTTP API.
type Problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Detail    string `json:"detail"`
	Pointer   string `json:"pointer,omitempty"` // into the body of the command
	Retryable bool   `json:"retryable"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// BatchResult is the answer to a batch: a result for each command, in their order, or one problem for all of them, of
// which none was carried out.
type BatchResult struct {
	Results []Result `json:"results,omitempty"`
	Problem *Problem `json:"problem,omitempty"`
}

// item is a command in a batch.
type item struct {
	Key     string          `json:"key"`
	Command string          `json:"command"`
	ID      string          `json:"id,omitempty"`
	Version string          `json:"version,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
}

var membersOfItem = []string{"key", "command", "id", "version", "body"}

// EncodeBatch returns the body of a batch. It does not validate.
func EncodeBatch(wishes []Wish) ([]byte, error) {
	out := []byte(`{"commands":[`)
	for i, w := range wishes {
		body, err := Body(w.Command)
		if err != nil {
			return nil, err
		}
		it := item{Key: w.Key, Command: w.Command.Name(), Body: body}
		if !Makes(it.Command) {
			it.ID = w.Command.Target().String()
		}
		if w.Version != nil {
			it.Version = w.Version.String()
		}
		text, err := plainJSON(it)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, text...)
	}
	return append(out, "]}"...), nil
}

// Received is a command of a batch, or why it is none.
type Received struct {
	Wish
	Name string // of the command, as far as it could be read
	Err  error  // *InvalidError, or one that wraps ErrUnknown
}

// DecodeBatch reads the body of a batch strictly: {"commands": [...]}, each with key, command, id unless it makes
// something, version if it expects one, and body. It fails with *InvalidError for what is not such an object, or has
// more than BatchMax commands; what is wrong with one command is said with that one.
func DecodeBatch(data []byte) ([]Received, error) {
	if len(data) > BatchBytesMax {
		return nil, &InvalidError{Reason: fmt.Sprintf("the body has %d bytes, at most %d are taken", len(data), BatchBytesMax)}
	}
	items, err := split(data)
	if at, ok := errors.AsType[*jsonb.Error](err); ok {
		return nil, &InvalidError{Reason: at.Error()}
	}
	if err != nil {
		return nil, err
	}
	out := make([]Received, len(items))
	for i, text := range items {
		out[i] = decodeItem(text)
	}
	return out, nil
}

// split finds the commands of a batch.
func split(data []byte) (items [][]byte, err error) {
	const form = `want {"commands": [...]} and nothing else`
	at := jsonb.Blank(data, 0)
	if at == len(data) || data[at] != '{' {
		return nil, &InvalidError{Reason: form}
	}
	name := jsonb.Blank(data, at+1)
	at, err = jsonb.Name(data, name)
	if err != nil {
		return nil, err
	}
	if string(data[name:min(name+len(`"commands"`), len(data))]) != `"commands"` || at == len(data) || data[at] != '[' {
		return nil, &InvalidError{Reason: form}
	}
	at = jsonb.Blank(data, at+1)
	for at < len(data) && data[at] != ']' {
		if len(items) > 0 {
			if data[at] != ',' {
				return nil, &InvalidError{Reason: form}
			}
			at = jsonb.Blank(data, at+1)
		}
		if len(items) == BatchMax {
			return nil, &InvalidError{"/commands", fmt.Sprintf("at most %d commands", BatchMax)}
		}
		end, err := jsonb.Skip(data, at, 2, jsonb.DepthMax)
		if err != nil {
			return nil, err
		}
		items = append(items, data[at:end])
		at = jsonb.Blank(data, end)
	}
	if at = jsonb.Blank(data, at+1); at >= len(data) || data[at] != '}' || jsonb.Blank(data, at+1) != len(data) {
		return nil, &InvalidError{Reason: form}
	}
	if len(items) == 0 {
		return nil, &InvalidError{"/commands", "there are none"}
	}
	return items, nil
}

func decodeItem(text []byte) (r Received) {
	it, err := read[item](text, membersOfItem)
	if err != nil {
		r.Err = err
		return r
	}
	r.Name = it.Command
	r.Wish, r.Err = it.wish()
	return r
}

func (it item) wish() (w Wish, err error) {
	w.Key = it.Key
	if err := CheckKey(it.Key); err != nil {
		return w, &InvalidError{"/key", err.Error()}
	}
	target := uuid.Nil
	if it.ID != "" {
		if target, err = uuid.Parse(it.ID); err != nil || target == uuid.Nil || target.String() != it.ID {
			return w, &InvalidError{"/id", "not an id as it was handed out"}
		}
	}
	if it.Version != "" {
		version, err := ParseVersion(it.Version)
		if err != nil {
			return w, &InvalidError{"/version", err.Error()}
		}
		w.Version = &version
	}
	w.Command, err = Decode(it.Command, target, it.Body)
	if at, ok := errors.AsType[*InvalidError](err); ok {
		return w, &InvalidError{"/body" + at.Pointer, at.Reason}
	}
	return w, err
}
