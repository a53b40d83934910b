package journaltest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/refold-dev/refold/events/envelope"
)

// Event returns an event as the command layer would make it: ids, request hash and payload follow from the key,
// the command id and the text.
func Event(key envelope.Key, commandID, text string, version uint64) *envelope.Event {
	sum := sha256.Sum256([]byte(text))
	return &envelope.Event{
		Key:       key,
		EventID:   envelope.MessageID([]byte("key of "+key.Tenant), key, commandID),
		Kind:      "note.taken.v1",
		Version:   version,
		Time:      time.Now().UTC().Truncate(time.Microsecond),
		Actor:     "tester",
		CommandID: commandID,
		Data:      envelope.Compose(fmt.Appendf(nil, `{"number":%d}`, version), fmt.Appendf(nil, `{"text":%q}`, text), hex.EncodeToString(sum[:])),
	}
}

func note(tenant, id string) envelope.Key {
	return envelope.Key{Tenant: tenant, Entity: "note", ID: id}
}

// same fails the test when two events differ in anything.
func same(t testing.TB, what string, got, want *envelope.Event) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s: got other event than wanted (-want +got):\n%s", what, diff)
	}
}
