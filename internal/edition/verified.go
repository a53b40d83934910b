package edition

import (
	"errors"
	"fmt"

	"github.com/refold-dev/refold/internal/report"
)

// ErrUnsigned: the control tables call an edition verified, and no verification of this plane has signed that.
var ErrUnsigned = errors.New("the control tables call the edition verified, without the signature of a verification: they were changed, or an older binary has verified it")

// VerifiedMAC is the signature of a verification of an edition's shard, as control.edition_shard keeps it.
func VerifiedMAC(s *report.Signer, edition int64, shard int32, shape string, seq int64) []byte {
	return s.MAC("control.edition_shard", edition, shard, shape, seq)
}

// signed returns up to where an edition's shard was verified, as its row says, if that is signed. Without a signer
// whatever the row says counts.
func signed(s *report.Signer, edition int64, shard int32, shape string, seq *int64, mac []byte) (*int64, error) {
	if s == nil || seq == nil {
		return seq, nil
	}
	if !s.Fits(mac, "control.edition_shard", edition, shard, shape, *seq) {
		return nil, fmt.Errorf("edition %d shard %d at %d: %w", edition, shard, *seq, ErrUnsigned)
	}
	return seq, nil
}
