package plane_test

import (
	"context"
	"errors"
	"testing"

	"github.com/refold-dev/refold/internal/verify"
)

// TestAVerificationMakesWay pauses while it folds and while it compares, and ends when a pause says so.
func TestAVerificationMakesWay(t *testing.T) {
	p := open(t)
	write(t, p, 100, generators(t, p, seed(t), 3)...)
	settle(t, p, 1)
	for _, phase := range []string{"fold", "compare"} {
		enough := errors.New("enough")
		at, pauses := "fold", 0
		config := verifyConfig(p, 1)
		config.Progress = func(r verify.Progress) { at = r.Phase }
		config.Pause = func(context.Context) error {
			if pauses++; at == phase {
				return enough
			}
			return nil
		}
		if _, err := verify.Run(t.Context(), config); !errors.Is(err, enough) || pauses == 0 {
			t.Fatalf("%s: %d pauses, %v", phase, pauses, err)
		}
	}
	info, err := p.Editions.List(t.Context())
	if err != nil || info[0].Shards[0].VerifiedSeq != nil {
		t.Fatalf("a verification that ended early counts: %+v %v", info, err)
	}
	pause, end := p.Editions.MakeWay(t.Context())
	defer end()
	config := verifyConfig(p, 1)
	config.Pause = pause
	report, err := verify.Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, report)
}
