package rows

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"lukechampine.com/blake3"
)

// LtHash is an order-free, collision-resistant checksum of a set of rows: LtHash16 (Bellare and Micciancio 1997;
// Lewi et al., "Securing Update Propagation with Homomorphic Hashing", 2019) with BLAKE3 as the extendable output
// function: 1,024 lanes of 16 bits, added lane by lane. Adding and removing rows commute; the zero value is the
// digest of no rows.
type LtHash struct {
	lanes [1024]uint16
	Count int64
}

// Add adds an element.
func (h *LtHash) Add(element []byte) {
	var out [2048]byte
	x := blake3.New(32, nil)
	x.Write(element)
	x.XOF().Read(out[:])
	for i := range h.lanes {
		h.lanes[i] += binary.LittleEndian.Uint16(out[2*i:])
	}
	h.Count++
}

// Remove takes an element out again.
func (h *LtHash) Remove(element []byte) {
	var out [2048]byte
	x := blake3.New(32, nil)
	x.Write(element)
	x.XOF().Read(out[:])
	for i := range h.lanes {
		h.lanes[i] -= binary.LittleEndian.Uint16(out[2*i:])
	}
	h.Count--
}

// Merge adds all elements of another set.
func (h *LtHash) Merge(other *LtHash) {
	for i := range h.lanes {
		h.lanes[i] += other.lanes[i]
	}
	h.Count += other.Count
}

// Sum is the digest to show: BLAKE3 over the lanes, in hex.
func (h *LtHash) Sum() string {
	var b [2048]byte
	for i, lane := range h.lanes {
		binary.LittleEndian.PutUint16(b[2*i:], lane)
	}
	sum := blake3.Sum256(b[:])
	return hex.EncodeToString(sum[:])
}

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

// tally is a cheap order-free sum of rows under a key that nobody knows before the comparison.
type tally struct {
	lanes [4]uint64
	count int64
}

func (t *tally) add(key *tallyKey, element []byte) {
	copy(element, key[:]) // over the room that element leaves for it
	sum := sha256.Sum256(element)
	clear(element[:len(key)])
	for i := range t.lanes {
		t.lanes[i] += binary.LittleEndian.Uint64(sum[8*i:])
	}
	t.count++
}
