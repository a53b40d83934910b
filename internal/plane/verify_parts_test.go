package plane_test

import (
	"context"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
)

// verifyChild verifies the first edition in several parts.
func verifyChild() int {
	return childOf(func(ctx context.Context, p *plane.Plane) error {
		config := verifyConfig(p, 1)
		config.MemoryBytes, config.Resume = p.MemoryBytes, true
		_, err := verify.Run(ctx, config)
		return err
	})
}
