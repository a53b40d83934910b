package backup

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// A segment is one zstd frame (which carries a checksum of its own) of:
//
//	"refold segment 1\n"  journal id  shard  first sequence  chain before
//	for each message:     sequence    subject  header block  payload
//	0                     count       chain behind
//
// Numbers are unsigned varints, byte strings begin with their length, chains are 32 bytes. Sequences are written out
// although they are dense, so that a message which was taken out leaves a hole.

const segmentMagic = "refold segment 1\n"

// Bounds of a segment.
const (
	// segmentBytes is when a segment is full: bytes before compression.
	segmentBytes = 64 << 20
	// SegmentBytesMax bounds the content of a segment: one message may come on top. Compressed it is hardly ever larger.
	SegmentBytesMax = segmentBytes + 2*journal.MessageBytesMax + 1<<20
	windowBytes     = 4 << 20
	subjectBytesMax = 4 << 10
	nameBytesMax    = 64
)

// ErrSegment: an object is no whole segment. The words behind it say where it breaks off.
var ErrSegment = errors.New("not a whole segment")

// segmentHead is how a segment says what it is.
type segmentHead struct {
	JournalID string
	Shard     int
	First     uint64
	Before    envelope.Digest
}

// segmentWriter builds a segment in memory.
type segmentWriter struct {
	out     bytes.Buffer
	zstd    *zstd.Encoder
	scratch []byte
	raw     int64
	count   uint64
	err     error
}

func newSegmentWriter(head segmentHead) (*segmentWriter, error) {
	w := &segmentWriter{}
	var err error
	w.zstd, err = zstd.NewWriter(&w.out, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(windowBytes), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	b := append(w.scratch, segmentMagic...)
	b = appendBytes(b, []byte(head.JournalID))
	b = binary.AppendUvarint(b, uint64(head.Shard))
	b = binary.AppendUvarint(b, head.First)
	b = append(b, head.Before[:]...)
	w.write(b)
	return w, nil
}

func appendBytes(b, s []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

func (w *segmentWriter) write(b []byte) {
	if w.err == nil {
		_, w.err = w.zstd.Write(b)
	}
	w.raw += int64(len(b))
	w.scratch = b[:0]
}

func (w *segmentWriter) add(m *journal.Raw) {
	b := binary.AppendUvarint(w.scratch[:0], m.Seq)
	b = appendBytes(b, []byte(m.Subject))
	b = appendBytes(b, m.Header)
	b = appendBytes(b, m.Data)
	w.write(b)
	w.count++
}

// finish returns the whole segment.
func (w *segmentWriter) finish(chain envelope.Digest) ([]byte, error) {
	b := binary.AppendUvarint(w.scratch[:0], 0)
	b = binary.AppendUvarint(b, w.count)
	b = append(b, chain[:]...)
	w.write(b)
	if err := errors.Join(w.err, w.zstd.Close()); err != nil {
		return nil, fmt.Errorf("write segment: %w", err)
	}
	return w.out.Bytes(), nil
}

// segmentTail is what a segment says at its end.
type segmentTail struct {
	Count uint64
	Last  uint64
	Chain envelope.Digest
}

// readSegment reads a segment that came from anywhere. head is told once, each for every message; their bytes stay valid.
// It fails with ErrSegment for anything but a whole, dense segment.
func readSegment(body []byte, head func(segmentHead) error, each func(*journal.Raw) error) (segmentTail, error) {
	z, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderMaxWindow(windowBytes), zstd.WithDecoderMaxMemory(windowBytes*2), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return segmentTail{}, fmt.Errorf("%w: %w", ErrSegment, err)
	}
	defer z.Close()
	r := &segmentReader{r: bufio.NewReaderSize(io.LimitReader(z, SegmentBytesMax), 256<<10)}
	return r.run(head, each)
}

type segmentReader struct {
	r     *bufio.Reader
	arena []byte
}

func (r *segmentReader) run(head func(segmentHead) error, each func(*journal.Raw) error) (segmentTail, error) {
	h, err := r.head()
	if err != nil {
		return segmentTail{}, err
	}
	if err := head(h); err != nil {
		return segmentTail{}, err
	}
	tail := segmentTail{Last: h.First - 1}
	for {
		m, ok, err := r.message()
		if err != nil {
			return tail, fmt.Errorf("after sequence %d: %w", tail.Last, err)
		}
		if !ok {
			break
		}
		if m.Seq != tail.Last+1 {
			return tail, fmt.Errorf("%w: sequence %d follows %d", ErrSegment, m.Seq, tail.Last)
		}
		tail.Last = m.Seq
		tail.Count++
		if err := each(&m); err != nil {
			return tail, err
		}
	}
	count, err := r.number()
	if err != nil {
		return tail, err
	}
	if count != tail.Count {
		return tail, fmt.Errorf("%w: it says that it holds %d messages, and holds %d", ErrSegment, count, tail.Count)
	}
	chain, err := r.bytes(len(tail.Chain))
	if err != nil {
		return tail, err
	}
	tail.Chain = envelope.Digest(chain)
	if _, err := r.r.ReadByte(); !errors.Is(err, io.EOF) {
		return tail, fmt.Errorf("%w: something follows its end", ErrSegment)
	}
	return tail, nil
}

func (r *segmentReader) head() (h segmentHead, err error) {
	magic, err := r.bytes(len(segmentMagic))
	if err != nil {
		return h, err
	}
	if string(magic) != segmentMagic {
		return h, fmt.Errorf("%w: it does not begin as one", ErrSegment)
	}
	id, err1 := r.sized(nameBytesMax)
	shard, err2 := r.number()
	first, err3 := r.number()
	before, err4 := r.bytes(len(h.Before))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return h, err
	}
	if shard >= journal.ShardsMax || first == 0 {
		return h, fmt.Errorf("%w: shard %d from sequence %d", ErrSegment, shard, first)
	}
	return segmentHead{string(id), int(shard), first, envelope.Digest(before)}, nil
}

func (r *segmentReader) message() (m journal.Raw, ok bool, err error) {
	if m.Seq, err = r.number(); err != nil || m.Seq == 0 {
		return m, false, err
	}
	subject, err := r.sized(subjectBytesMax)
	if err == nil {
		m.Header, err = r.sized(journal.MessageBytesMax)
	}
	if err == nil {
		m.Data, err = r.sized(journal.MessageBytesMax)
	}
	m.Subject = string(subject)
	return m, err == nil, err
}

func (r *segmentReader) number() (uint64, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrSegment, cut(err))
	}
	return n, nil
}

func (r *segmentReader) sized(bytesMax int) ([]byte, error) {
	n, err := r.number()
	if err != nil {
		return nil, err
	}
	if n > uint64(bytesMax) {
		return nil, fmt.Errorf("%w: a part of %d bytes, at most %d are possible", ErrSegment, n, bytesMax)
	}
	return r.bytes(int(n))
}

const arenaBytes = 256 << 10

// bytes reads into memory that stays valid.
func (r *segmentReader) bytes(n int) ([]byte, error) {
	if n > len(r.arena) {
		r.arena = make([]byte, max(arenaBytes, n))
	}
	b := r.arena[:n:n]
	r.arena = r.arena[n:]
	if _, err := io.ReadFull(r.r, b); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSegment, cut(err))
	}
	return b, nil
}

// cut names an end that came too early.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// history is the chain of all messages read so far.
type history struct {
	decoder *journal.Decoder
	last    envelope.Digest
	chain   envelope.Digest
	scratch []byte
}

func newHistory(shard int, chain envelope.Digest) *history {
	return &history{decoder: journal.NewDecoder(shard), chain: chain}
}

// add takes in the next message and returns its event.
func (h *history) add(m *journal.Raw) envelope.Event {
	e := h.decoder.Event(m)
	h.last, h.scratch = e.Digest(h.scratch)
	h.chain = h.chain.Chain(h.last)
	return e
}
