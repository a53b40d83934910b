package rows

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func elements(n int) [][]byte {
	var out [][]byte
	for i := range n {
		out = append(out, fmt.Appendf(nil, "element %d", i))
	}
	return out
}

func sumOfAll(elements [][]byte) string {
	var h LtHash
	for _, e := range elements {
		h.Add(e)
	}
	return h.Sum()
}

// Digests are kept in reports and compared over years: these may never change.
func TestLtHashVectors(t *testing.T) {
	for _, c := range []struct {
		elements [][]byte
		want     string
	}{
		{nil, "be2a8de3dcf46c94ce85cdc8e07ac308f4d8a95490d956c38d780fd610db0813"},
		{elements(1), "4fbd7769fe2d787ba9b093a6bc2cbd49b148bfe7cc836ec83ac4c9f823a176e0"},
		{elements(100), "47cb56b889fc568814239441b28e331f13d203faff4ac40ff80a2c4d951493fd"},
	} {
		if got := sumOfAll(c.elements); got != c.want {
			t.Errorf("%d elements: digest %s, want %s", len(c.elements), got, c.want)
		}
	}
}

func TestLtHashIsFreeOfOrderAndCanForget(t *testing.T) {
	all := elements(200)
	want := sumOfAll(all)
	random := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		var left, right, noise LtHash
		cut := random.IntN(len(all))
		for _, e := range all[:cut] {
			left.Add(e)
		}
		for _, e := range all[cut:] {
			right.Add(e)
		}
		for _, e := range elements(30) {
			noise.Add(append(e, '!'))
			left.Add(append(e, '!'))
		}
		left.Merge(&right)
		if left.Sum() == want || left.Count != int64(len(all)+30) {
			t.Fatal("elements that were added do not show")
		}
		for _, e := range elements(30) {
			left.Remove(append(e, '!'))
			noise.Remove(append(e, '!'))
		}
		if left.Sum() != want || left.Count != int64(len(all)) {
			t.Fatal("the digest depends on the order, on the parts or on what was removed")
		}
		if noise != (LtHash{}) {
			t.Fatal("what was added and removed leaves a trace")
		}
	}
}

func TestLtHashTellsTwiceFromNotAtAll(t *testing.T) {
	e := []byte("element")
	var h LtHash
	for range 1 << 16 { // lanes have 16 bits: so many of one element cancel, which is why rows are a set
		h.Add(e)
	}
	if h.Count == 0 {
		t.Fatal("the count does not tell")
	}
	h = LtHash{}
	h.Add(e)
	h.Add(e)
	if h.Sum() == sumOfAll(nil) || h.Sum() == sumOfAll([][]byte{e}) {
		t.Fatal("an element that is there twice is not told from once or never: XOR would do that")
	}
}
