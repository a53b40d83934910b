package events

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/jsonb"
)

// writer writes one JSON object, member by member. The first value that Decode would refuse stays in err.
// Nil pointers, nil metadata and empty lists are left out.
type writer struct {
	out []byte
	err error
}

// object starts one; bytes is about how many will come.
func object(bytes int) writer { return writer{out: append(make([]byte, 0, bytes+128), '{')} }

// halves ends the two objects of a payload.
func halves(public, private writer) ([]byte, []byte, error) {
	if err := errors.Join(public.err, private.err); err != nil {
		return nil, nil, err
	}
	return append(public.out, '}'), append(private.out, '}'), nil
}

func (w *writer) fail(name string, reason any) {
	if w.err == nil {
		w.err = fmt.Errorf("member %s: %v", name, reason)
	}
}

// comma separates from a member before.
func (w *writer) comma() {
	if last := w.out[len(w.out)-1]; last != '{' && last != '[' {
		w.out = append(w.out, ',')
	}
}

func (w *writer) name(name string) {
	w.comma()
	w.out = append(w.out, '"')
	w.out = append(w.out, name...)
	w.out = append(w.out, '"', ':')
}

func (w *writer) text(name, text string) {
	if !jsonb.Storable(text) {
		w.fail(name, `not UTF-8, or with \u0000`)
		return
	}
	w.name(name)
	w.out = jsonb.AppendText(w.out, text)
}

func (w *writer) textPointer(name string, text *string) {
	if text != nil {
		w.text(name, *text)
	}
}

func (w *writer) metadata(name string, metadata json.RawMessage) {
	if metadata == nil {
		return
	}
	if len(metadata) == 0 || metadata[0] != '{' {
		w.fail(name, "not an object")
		return
	}
	end, err := jsonb.Skip(metadata, 0, 2, depthMax)
	switch {
	case err != nil:
		w.fail(name, err)
	case end != len(metadata):
		w.fail(name, "something follows the object")
	}
	w.name(name)
	w.out = append(w.out, metadata...)
}

func (w *writer) boolean(name string, b bool) {
	w.name(name)
	w.out = strconv.AppendBool(w.out, b)
}

func (w *writer) integer(name string, n int) {
	w.name(name)
	w.out = strconv.AppendInt(w.out, int64(n), 10)
}

func (w *writer) base64(name string, b []byte) {
	w.name(name)
	w.out = append(w.out, '"')
	w.out = base64.StdEncoding.AppendEncode(w.out, b)
	w.out = append(w.out, '"')
}

func (w *writer) appendUUID(id uuid.UUID) {
	const digits = "0123456789abcdef"
	var text [uuidLength]byte
	for _, at := range uuidHyphens {
		text[at] = '-'
	}
	for i, at := range uuidDigits {
		text[at], text[at+1] = digits[id[i]>>4], digits[id[i]&15]
	}
	w.out = append(w.out, '"')
	w.out = append(w.out, text[:]...)
	w.out = append(w.out, '"')
}

func (w *writer) uuid(name string, id uuid.UUID) {
	w.name(name)
	w.appendUUID(id)
}

func (w *writer) uuidPointer(name string, id *uuid.UUID) {
	if id != nil {
		w.uuid(name, *id)
	}
}

func (w *writer) uuids(name string, ids []uuid.UUID) {
	if len(ids) > 0 {
		w.uuidsPointer(name, &ids)
	}
}

// uuidsPointer writes an empty list, too.
func (w *writer) uuidsPointer(name string, ids *[]uuid.UUID) {
	if ids == nil {
		return
	}
	w.name(name)
	w.out = append(w.out, '[')
	for _, id := range *ids {
		w.comma()
		w.appendUUID(id)
	}
	w.out = append(w.out, ']')
}

func (w *writer) time(name string, t time.Time) {
	t = t.UTC()
	if t.Year() < 1 || t.Year() > 9999 || t.Nanosecond()%1000 != 0 {
		w.fail(name, "outside of the years 1 to 9999, or finer than a microsecond")
		return
	}
	w.name(name)
	w.out = append(w.out, '"')
	w.out = t.AppendFormat(w.out, timeLayout)
	w.out = append(w.out, '"')
}

func (w *writer) timePointer(name string, t *time.Time) {
	if t != nil {
		w.time(name, *t)
	}
}

func (w *writer) state(name string, s State) {
	if !s.Valid() {
		w.fail(name, "want active, paused, archived or deleted")
	}
	w.text(name, string(s))
}

func (w *writer) effect(name string, e Effect) {
	if e != Allow && e != Deny {
		w.fail(name, "want allow or deny")
	}
	w.text(name, string(e))
}

func (w *writer) changes(name string, changes []StatusChange) {
	if len(changes) == 0 {
		return
	}
	w.name(name)
	w.out = append(w.out, '[')
	for i := range changes {
		c := &changes[i]
		w.comma()
		w.out = append(w.out, '{')
		w.uuid("id", c.ID)
		w.uuid("changed_by", c.ChangedBy)
		w.state("old_state", c.OldState)
		w.state("new_state", c.NewState)
		w.time("changed_at", c.ChangedAt)
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
}
