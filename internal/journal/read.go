package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/refold-dev/refold/events/envelope"
)

const (
	// historyPage is how many events of an entity are asked for at once, and historyBytes about how many bytes of them: the
	// server ends a page with the event that reaches them.
	historyPage  = 500
	historyBytes = 4 << 20
	// historyMax bounds the read of one page.
	historyMax = 10 * time.Second
)

// getRequest asks for one message: by sequence, the next of a subject from a sequence on, or the last of it.
type getRequest struct {
	Seq     uint64 `json:"seq,omitempty"`
	NextFor string `json:"next_by_subj,omitempty"`
	LastFor string `json:"last_by_subj,omitempty"`
}

type getResponse struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string `json:"subject"`
		Seq     uint64 `json:"seq"`
		Header  []byte `json:"hdrs"`
		Data    []byte `json:"data"`
	} `json:"message"`
}

// ask reads one message from the leader of the stream, or nil when there is none. It is never a direct get: that
// may be answered by a follower who has not seen what the leader has acknowledged.
func (s *jetShard) ask(ctx context.Context, request getRequest) (*envelope.Event, error) {
	body, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	msg, err := s.nc.RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+s.stream, body)
	if err != nil {
		return nil, err
	}
	var response getResponse
	if err := json.Unmarshal(msg.Data, &response); err != nil {
		return nil, fmt.Errorf("answer of the server: %w", err)
	}
	if response.Error != nil {
		if response.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return nil, nil
		}
		return nil, gone(response.Error)
	}
	if response.Message == nil {
		return nil, errors.New("answer of the server holds neither a message nor an error")
	}
	m := response.Message
	header, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil {
		header = nil // no event, then; decode says so
	}
	e := decode(s.number, m.Subject, m.Seq, header, m.Data)
	return &e, nil
}

// gone translates the absence of the whole stream.
func gone(err error) error {
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return fmt.Errorf("%w: the stream is gone: %w", ErrNoJournal, err)
	}
	return err
}

// Last implements Shard.
func (s *jetShard) Last(ctx context.Context, key envelope.Key) (*envelope.Event, error) {
	subject, err := envelope.Subject(s.number, key)
	if err != nil {
		return nil, err
	}
	e, err := s.askPatiently(ctx, getRequest{LastFor: subject})
	if err != nil {
		return nil, fmt.Errorf("last event of %s: %w", key, err)
	}
	return e, nil
}

// At implements Shard.
func (s *jetShard) At(ctx context.Context, seq uint64) (*envelope.Event, error) {
	if seq == 0 {
		return nil, fmt.Errorf("event 0 of shard %d: %w", s.number, ErrNoEvent)
	}
	e, err := s.askPatiently(ctx, getRequest{Seq: seq})
	if err == nil && e == nil {
		e, err = s.elsewhere(ctx, seq)
	}
	if err != nil {
		return nil, fmt.Errorf("event %d of shard %d: %w", seq, s.number, err)
	}
	return e, nil
}

// elsewhere reads an event that the leader does not have from another replica: what one copy lacks, it may have lost for
// itself. It fails with ErrNoEvent when no replica has the event.
func (s *jetShard) elsewhere(ctx context.Context, seq uint64) (e *envelope.Event, err error) {
	if !s.replicated {
		return nil, ErrNoEvent
	}
	facts, err := s.Facts(ctx)
	if err != nil {
		return nil, err
	}
	if seq > facts.LastSeq {
		return nil, ErrNoEvent
	}
	r := s.newReading(ctx, seq-1)
	r.pull, r.expect = 1, 1
	err = r.each(seq, func(a *arrival) error {
		event := NewDecoder(s.number).Event(a.raw())
		e = &event
		return nil
	})
	if _, lost := errors.AsType[*GapError](err); lost {
		err = ErrNoEvent
	}
	return e, err
}

func (s *jetShard) askPatiently(ctx context.Context, request getRequest) (e *envelope.Event, err error) {
	err = patiently(ctx, func(ctx context.Context) error {
		e, err = s.ask(ctx, request)
		return err
	})
	return e, err
}

// History implements Shard. It reads directly from any replica, page by page; what a replica has not got yet is
// asked of the leader, so that a command that lost a race does not lose it again to the same stale history.
func (s *jetShard) History(ctx context.Context, key envelope.Key) ([]envelope.Event, error) {
	subject, err := envelope.Subject(s.number, key)
	if err != nil {
		return nil, err
	}
	var history []envelope.Event
	for {
		from := lastSeq(history) + 1
		page, more, err := s.historyPagePatiently(ctx, subject, from)
		if err != nil {
			return nil, fmt.Errorf("history of %s from sequence %d: %w", key, from, err)
		}
		history = append(history, page...)
		if !more {
			break
		}
	}
	if !s.replicated {
		return history, checkVersions(key, history)
	}
	history = s.catchUp(ctx, subject, history)
	if err := checkVersions(key, history); err == nil {
		return history, nil
	}
	// A replica that has lost events answers, too: what the leader has decides.
	history = s.catchUp(ctx, subject, nil)
	return history, checkVersions(key, history)
}

// catchUp adds the events that the leader has beyond a history. While it is silent, the history stays as it is:
// an append will tell.
func (s *jetShard) catchUp(ctx context.Context, subject string, history []envelope.Event) []envelope.Event {
	_ = once(ctx, func(ctx context.Context) error {
		newest, err := s.ask(ctx, getRequest{LastFor: subject})
		for err == nil && newest != nil && lastSeq(history) < newest.Seq {
			var next *envelope.Event
			if next, err = s.ask(ctx, getRequest{Seq: lastSeq(history) + 1, NextFor: subject}); next == nil {
				break
			}
			history = append(history, *next)
		}
		return err
	})
	return history
}

func lastSeq(history []envelope.Event) uint64 {
	if len(history) == 0 {
		return 0
	}
	return history[len(history)-1].Seq
}

// Visit implements Shard. What a replica lacks, be it because it lags or because it has lost it, the leader is asked for.
func (s *jetShard) Visit(ctx context.Context, key envelope.Key, upTo uint64, visit func(*envelope.Event) error) error {
	subject, err := envelope.Subject(s.number, key)
	if err != nil {
		return err
	}
	for version, seq := uint64(0), uint64(0); version < upTo; {
		page, err := s.visitPage(ctx, subject, seq+1, version+1)
		if err != nil {
			return fmt.Errorf("history of %s from version %d: %w", key, version+1, err)
		}
		for i := range page {
			if version, seq = page[i].Version, page[i].Seq; version > upTo {
				break
			}
			if err := visit(&page[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// visitPage returns events from a sequence on, of which the first has this version and none is missing in between. It fails
// with ErrNoEvent when there is none.
func (s *jetShard) visitPage(ctx context.Context, subject string, from, version uint64) ([]envelope.Event, error) {
	page, _, err := s.historyPagePatiently(ctx, subject, from)
	if err != nil {
		return nil, err
	}
	if page = dense(page, version); len(page) > 0 || !s.replicated {
		return page, errNone(page)
	}
	e, err := s.askPatiently(ctx, getRequest{Seq: from, NextFor: subject})
	if err == nil && e != nil {
		page = dense([]envelope.Event{*e}, version)
	}
	return page, errors.Join(err, errNone(page))
}

// dense returns the events of a page until the first that has not the version that it must have.
func dense(page []envelope.Event, version uint64) []envelope.Event {
	for i := range page {
		if page[i].Version != version+uint64(i) {
			return page[:i]
		}
	}
	return page
}

func errNone(page []envelope.Event) error {
	if len(page) == 0 {
		return ErrNoEvent
	}
	return nil
}

// historyPagePatiently returns events of a subject from a sequence on; more tells that others follow.
func (s *jetShard) historyPagePatiently(ctx context.Context, subject string, from uint64) (page []envelope.Event, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, historyMax)
	defer cancel()
	err = patiently(ctx, func(ctx context.Context) error {
		page, more, err = s.historyPage(ctx, subject, from)
		return err
	})
	return page, more, err
}

func (s *jetShard) historyPage(ctx context.Context, subject string, from uint64) (page []envelope.Event, more bool, err error) {
	messages, err := jetstreamext.GetBatch(ctx, s.js, s.stream, historyPage,
		jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchSeq(from), jetstreamext.GetBatchMaxBytes(historyBytes))
	if err != nil {
		return nil, false, gone(err)
	}
	for m, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return page, false, nil
		}
		if err != nil {
			return nil, false, gone(err)
		}
		page = append(page, decode(s.number, m.Subject, m.Sequence, m.Header, m.Data))
		more = m.Header.Get("Nats-Num-Pending") != "0" // of the subject, behind this event
	}
	// The read ends silently when its time is over.
	return page, more, ctx.Err()
}

// checkVersions holds when no event of an entity is missing in between, for instance lost on the way here.
func checkVersions(key envelope.Key, history []envelope.Event) error {
	for i, e := range history {
		if e.Kind != MalformedKind && e.Version != uint64(i+1) {
			return fmt.Errorf("history of %s has version %d at sequence %d, where %d was expected: an event is missing or was doubled",
				key, e.Version, e.Seq, i+1)
		}
	}
	return nil
}
