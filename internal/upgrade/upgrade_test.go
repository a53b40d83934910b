package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/refold-dev/refold/internal/testenv"
)

// TestUpgrade takes a plane from one version to the next, back, and forward again, with two real binaries and without
// an answer that a client could complain about. REFOLD_UPGRADE=full does it for longer and at full rates.
func TestUpgrade(t *testing.T) {
	c := config{commands: 60, reads: 120, clients: 24, pause: 700 * time.Millisecond}
	if os.Getenv("REFOLD_UPGRADE") == "full" {
		c = config{commands: 500, reads: 1000, clients: 64, pause: 10 * time.Second}
	}
	programs, err := buildBinaries(t.Context(), root(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, shards := range []int{1, 2} {
		t.Run(fmt.Sprintf("%d shards", shards), func(t *testing.T) {
			c := c
			c.shards, c.postgres, c.out = shards, testenv.Postgres(t), t.Output()
			if err := c.tell(t.Context(), t.TempDir(), programs); err != nil {
				t.Fatal(err)
			}
		})
	}
}
