package verify

import (
	"math/rand/v2"
	"testing"
)

// TestWhatIsLeftOfARun covers the key space exactly once, together with what is done, however parts were split.
func TestWhatIsLeftOfARun(t *testing.T) {
	const whole = 7 * 5 * 3 * 1 << 10 // every number of parts here divides it
	random := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		of := 1 + random.IntN(7)
		var open []piece
		for i := range of {
			open = append(open, piece{i, of})
		}
		var done []partResult
		for range random.IntN(12) {
			at := open[0]
			open = open[1:]
			if random.IntN(2) == 0 && at.of < 256 {
				open = append([]piece{{at.number, 2 * at.of}, {at.number + at.of, 2 * at.of}}, open...)
				continue
			}
			done = append(done, partResult{Number: at.number, Of: at.of})
			if len(open) == 0 {
				break
			}
		}
		if len(done) == 0 {
			continue // such a run begins anew
		}
		times := make([]int, whole)
		left := rest(done)
		for _, p := range left {
			for i := p.number; i < whole; i += p.of {
				times[i]++
			}
		}
		for _, p := range done {
			for i := p.Number; i < whole; i += p.Of {
				times[i]++
			}
		}
		for i, n := range times {
			if n != 1 {
				t.Fatalf("done %v, left %v: %d is covered %d times", done, left, i, n)
			}
		}
	}
}
