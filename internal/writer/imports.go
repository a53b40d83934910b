package writer

import (
	"context"
	"io"

	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/reader"
)

// Upload is an export of the replaced system that a caller brings in for itself.
type Upload struct {
	File     io.ReaderAt
	Size     int64
	Mode     openmemory.Mode
	Partial  bool                      // import the good records of a file with bad ones
	Progress func(openmemory.Progress) // told by one goroutine at a time; nil = nobody is
}

// Import imports a file for the caller, as openmemory.Import does: validated first, resumed by repeating, and the same
// file twice adds nothing. The report says how far it came, whatever the error; rows at the position have all of it.
func (w *Writer) Import(ctx context.Context, c Caller, u Upload) (*openmemory.Report, reader.Position, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return &openmemory.Report{Mode: u.Mode}, position, err
	}
	report, err := openmemory.Import(ctx, openmemory.Config{
		File: u.File, Size: u.Size, Tenant: c.Tenant, Shard: shard, Mode: u.Mode, Subject: c.Principal.Subject,
		Actor: c.User.String(), Partial: u.Partial, Progress: u.Progress,
	})
	if err != nil {
		return report, position, err
	}
	facts, err := shard.Facts(ctx)
	position.Seq = max(position.Seq, facts.LastSeq)
	return report, position, err
}
