package envelope

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"

	"github.com/google/uuid"
)

// Digest identifies the content of one event, or of a row of them.
type Digest [32]byte

// Digest returns SHA-256 (which processors compute in hardware: a third of BLAKE3's time at this size) over the event as it is stored, each part length-prefixed: subject, our headers in the
// order of their names, payload. Headers of the broker (`Nats-*`) are no part of it. It appends to scratch to
// save allocations and returns the grown scratch; pass nil the first time.
func (e *Event) Digest(scratch []byte) (Digest, []byte) {
	b := append(scratch[:0], "refold event v1\x00"...)
	b = appendPart(b, e.Tenant)
	b = appendPart(b, e.Entity)
	b = appendPart(b, e.ID)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Shard))
	// The names are constants in fixed order, so only their values need to be written.
	b = appendPart(b, e.EventID)
	b = append(b, "source\x00"...)
	b = appendPart(b, e.Kind)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Time.UnixMicro()))
	b = appendPart(b, e.Actor)
	b = appendPart(b, e.CommandID)
	b = binary.BigEndian.AppendUint64(b, e.Version)
	b = appendPart(b, e.TraceParent)
	b = binary.BigEndian.AppendUint32(b, uint32(len(e.Data)))
	b = append(b, e.Data...)
	return sha256.Sum256(b), b
}

func appendPart(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// Chain returns the digest of all events up to and including one: SHA-256(previous chain | digest of the event).
// The chain before the first event is the zero Digest.
func (d Digest) Chain(event Digest) Digest {
	var b [64]byte
	copy(b[:32], d[:])
	copy(b[32:], event[:])
	return sha256.Sum256(b[:])
}

// MessageID derives the message id of a command's event from the tenant's key, the entity and the idempotency
// key, so that the same key used by two tenants, or on two entities, never meets.
func MessageID(tenantKey []byte, key Key, commandID string) string {
	sum := derive(tenantKey, "message", key.Tenant, key.Entity, key.ID, commandID)
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
}

// DerivedID derives the id of an entity from what names it: (kind of entity, natural key or idempotency key).
// The result is a version 8 UUID (RFC 9562): the same input gives the same id for ever, within one tenant.
func DerivedID(tenantKey []byte, tenant, entity string, parts ...string) uuid.UUID {
	sum := derive(tenantKey, "id", append([]string{tenant, entity}, parts...)...)
	return uuidFrom(sum[:])
}

// RowID derives a UUID from parts that are all in the journal already; a fold may use it.
func RowID(parts ...string) uuid.UUID {
	b := []byte("refold row id v1\x00")
	for _, p := range parts {
		b = appendPart(b, p)
	}
	sum := sha256.Sum256(b)
	return uuidFrom(sum[:])
}

func uuidFrom(sum []byte) uuid.UUID {
	var id uuid.UUID
	copy(id[:], sum)
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	return id
}

func derive(key []byte, purpose string, parts ...string) [32]byte {
	mac := hmac.New(sha256.New, key)
	b := make([]byte, 0, 256)
	b = appendPart(b, "refold "+purpose+" v1")
	for _, p := range parts {
		b = appendPart(b, p)
	}
	mac.Write(b)
	return [32]byte(mac.Sum(nil))
}
