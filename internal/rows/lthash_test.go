package rows

import (
	"math/rand/v2"
	"testing"

	"lukechampine.com/blake3"
)

// TestExpandIsBLAKE3 holds the short way to the output of BLAKE3 against the library's own, for elements of every
// length around its chunks and blocks.
func TestExpandIsBLAKE3(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	element := make([]byte, 3000)
	for i := range element {
		element[i] = byte(random.Uint32())
	}
	for n := range element {
		var got, want [lanesBytes]byte
		expand(&got, element[:n])
		x := blake3.New(32, nil)
		x.Write(element[:n])
		x.XOF().Read(want[:])
		if got != want {
			t.Fatalf("%d bytes are expanded to something else than BLAKE3's output", n)
		}
	}
}

// TestRowsAreAddedAsElementsAre: the state behind the first block is the same for all rows of a table.
func TestRowsAreAddedAsElementsAre(t *testing.T) {
	for n := range 1200 {
		var row, whole LtHash
		element := items.element(nil, make([]byte, n))
		row.addRow(items.describe(), element)
		whole.Add(element)
		if row != whole {
			t.Fatalf("a tuple of %d bytes is added as something else", n)
		}
	}
}

func TestLanesDoNotCarry(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		a, b := random.Uint64(), random.Uint64()
		var sum, difference uint64
		for shift := 0; shift < 64; shift += 16 {
			sum |= uint64(uint16(a>>shift)+uint16(b>>shift)) << shift
			difference |= uint64(uint16(a>>shift)-uint16(b>>shift)) << shift
		}
		if got := addLanes(a, b); got != sum {
			t.Fatalf("%x + %x = %x, want %x", a, b, got, sum)
		}
		if got := subtractLanes(a, b); got != difference {
			t.Fatalf("%x - %x = %x, want %x", a, b, got, difference)
		}
	}
}

func BenchmarkLtHashAdd(b *testing.B) {
	element := make([]byte, 330)
	var h LtHash
	b.ReportAllocs()
	for b.Loop() {
		h.Add(element)
	}
}

func BenchmarkTally(b *testing.B) {
	element, key := make([]byte, 330), newTallyKey()
	var sum tally
	b.ReportAllocs()
	for b.Loop() {
		sum.add(&key, element)
	}
}
