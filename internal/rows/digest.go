package rows

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// element appends what a row contributes to a digest: room for the key of a tally, the form of its table, then the
// tuple, whose values carry their lengths and whose first column is the tenant. The key inside makes the whole a set.
func (d *Description) element(b, tuple []byte) []byte {
	var room tallyKey
	b = append(b[:0], room[:]...)
	b = append(b, "refold row v1\x00"...)
	b = append(b, d.fingerprint[:]...)
	return append(b, tuple...)
}

// tallyKey makes tallies of one verification: random, used once, never shown, so that nobody could have chosen
// rows whose sums cancel.
type tallyKey [32]byte

func newTallyKey() tallyKey {
	var k tallyKey
	rand.Read(k[:])
	return k
}

// lanes is the hash of a row, or a sum of such hashes.
type lanes [4]uint64

func (l *lanes) add(other *lanes) {
	for i := range l {
		l[i] += other[i]
	}
}

func (l *lanes) subtract(other *lanes) {
	for i := range l {
		l[i] -= other[i]
	}
}

// hashElement hashes an element under a key, which it leaves no trace of.
func hashElement(key *tallyKey, element []byte) (out lanes) {
	copy(element, key[:]) // over the room that element leaves for it
	sum := sha256.Sum256(element)
	clear(element[:len(key)])
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(sum[8*i:])
	}
	return out
}

// tally is a cheap order-free sum of rows under a key that nobody knows before the comparison.
type tally struct {
	lanes lanes
	count int64
}

func (t *tally) add(key *tallyKey, element []byte) {
	h := hashElement(key, element)
	t.put(&h)
}

func (t *tally) put(h *lanes)       { t.lanes.add(h); t.count++ }
func (t *tally) take(h *lanes)      { t.lanes.subtract(h); t.count-- }
func (t *tally) merge(other *tally) { t.lanes.add(&other.lanes); t.count += other.count }
