package httpapi

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// owned fails with reader.ErrNotFound when one of the memories is not there: then nothing is touched at all.
func (s *server) owned(q *oldRequest, ids []uuid.UUID) error {
	for _, id := range ids {
		if readable, err := s.Reader.MayRead(q.Context(), q.c.Reads(), id); err != nil || !readable {
			return cmp.Or(err, reader.ErrNotFound)
		}
	}
	return nil
}

// once drops ids that come again.
func once(ids []uuid.UUID) []uuid.UUID {
	seen := map[uuid.UUID]bool{}
	return slices.DeleteFunc(slices.Clone(ids), func(id uuid.UUID) bool {
		again := seen[id]
		seen[id] = true
		return again
	})
}

func oldDeleteMemories(s *server, q *oldRequest) (any, error) {
	var body struct {
		UserID string      `json:"user_id"`
		IDs    []uuid.UUID `json:"memory_ids"`
	}
	if _, err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	count, err := s.moveThese(q, writer.MoveDelete, body.IDs, false)
	return oldMessage{fmt.Sprintf("Successfully deleted %d memories", count)}, err
}

func oldArchiveMemories(s *server, q *oldRequest) (any, error) {
	var ids []uuid.UUID
	if _, err := q.decode(&ids, nil); err != nil {
		return nil, err
	}
	count, err := s.moveThese(q, writer.MoveArchive, ids, false)
	return oldMessage{fmt.Sprintf("Successfully archived %d memories", count)}, err
}

// moveThese moves memories, which must all be there unless some may be gone, and counts those that were.
func (s *server) moveThese(q *oldRequest, move writer.Move, given []uuid.UUID, someGone bool) (count int, err error) {
	if len(given) > writer.BulkMax {
		return 0, problem.Invalid("/memory_ids", fmt.Sprintf("at most %d", writer.BulkMax))
	}
	ids := once(given)
	if !someGone {
		err = s.owned(q, ids)
	}
	wish, errWish := q.wish()
	if err := errors.Join(err, errWish); err != nil {
		return 0, err
	}
	moved, err := s.Writer.MoveMemories(q.Context(), q.c, wish, move, ids)
	if err != nil {
		return 0, problem.Doubtful(err, wish.ID)
	}
	for _, m := range moved {
		if m.Err == nil {
			count++
		}
	}
	if _, err = s.moved(q, moved); err != nil {
		err = q.failed(err, wish.ID)
	}
	return count, err
}

// moveAll moves what a selector means, a part at a time, each once the rows have the one before. Archived memories are not
// meant, not even by a deletion.
func (s *server) moveAll(q *oldRequest, move writer.Move, filter reader.MemoryFilter) error {
	filter.States = []string{"active", "paused"}
	fresh := reader.Freshness{Least: q.fresh.Least, Wait: reader.WaitMax}
	wish, err := q.wish()
	for more := true; err == nil && more; {
		var moved []writer.Moved
		moved, more, err = s.Writer.MoveSelected(q.Context(), q.c, wish, move, fresh, filter)
		var waited error
		if err == nil {
			waited, err = s.moved(q, moved)
		}
		if err != nil {
			return q.failed(err, wish.ID)
		}
		if more {
			err = waited
		}
	}
	return err
}

// moved makes one answer of what became of many memories: the first that is neither done nor absent meanwhile is the
// failure of the whole, which may be repeated. waited is nil once the rows have what was done.
func (s *server) moved(q *oldRequest, moved []writer.Moved) (waited, failure error) {
	var newest reader.Position
	for _, m := range moved {
		q.begun = q.begun || !errors.Is(m.Err, journal.ErrUnavailable)
		if m.Err != nil && failure == nil && !absent(m.Err) {
			failure = m.Err
		}
		if m.Err == nil && m.Position.Seq > newest.Seq {
			newest = m.Position
		}
	}
	if newest.Seq == 0 {
		return reader.ErrNotYet, failure // all were gone, which the rows do not have
	}
	return s.shown(q, newest), failure
}

// absent reports whether a command found nothing to act on.
func absent(err error) bool {
	var refusal *command.Refusal
	return errors.As(err, &refusal) && refusal.Code == command.NotFound
}

// oldPause moves memories to a state, whichever: it resumes as well.
type oldPause struct {
	UserID      string      `json:"user_id"`
	IDs         []uuid.UUID `json:"memory_ids"`
	CategoryIDs []uuid.UUID `json:"category_ids"`
	AppID       *uuid.UUID  `json:"app_id"`
	AllForApp   bool        `json:"all_for_app"`
	Global      bool        `json:"global_pause"`
	State       *string     `json:"state"`
}

func oldPauseMemories(s *server, q *oldRequest) (any, error) {
	var body oldPause
	if _, err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	state := "paused"
	if body.State != nil {
		state = *body.State
	}
	move, err := q.moveTo(state)
	if err != nil {
		return nil, err
	}
	message, err := s.pause(q, body, move)
	return oldMessage{message}, err
}

// moveTo is the move that leads to a state. To delete takes the scope for it, whatever the path is called.
func (q *oldRequest) moveTo(state string) (writer.Move, error) {
	switch state {
	case "paused":
		return writer.MovePause, nil
	case "active":
		return writer.MoveActivate, nil
	case "archived":
		return writer.MoveArchive, nil
	case "deleted":
		principal, _ := auth.FromContext(q.Context())
		return writer.MoveDelete, auth.Authorize(principal, "old:deleteMemories")
	}
	return "", problem.Invalid("/state", "want active, paused, archived or deleted")
}

// pause acts on the memories of the first selector that there is.
func (s *server) pause(q *oldRequest, body oldPause, move writer.Move) (message string, err error) {
	switch {
	case body.Global:
		return "Successfully paused all memories", s.moveAll(q, move, reader.MemoryFilter{})
	case body.AppID != nil:
		return fmt.Sprintf("Successfully paused all memories for app %s", *body.AppID), s.moveAll(q, move, reader.MemoryFilter{AppIDs: []uuid.UUID{*body.AppID}})
	case len(body.IDs) > 0: // for all of an app they are what was in a list, some of which may be gone
		count, err := s.moveThese(q, move, body.IDs, body.AllForApp)
		return fmt.Sprintf("Successfully paused %d memories", count), err
	case len(body.CategoryIDs) > 0:
		if err := atMost("/category_ids", len(body.CategoryIDs)); err != nil {
			return "", err
		}
		return fmt.Sprintf("Successfully paused memories in %d categories", len(body.CategoryIDs)), s.moveAll(q, move, reader.MemoryFilter{CategoryIDs: body.CategoryIDs})
	}
	return "", &problem.Problem{Status: http.StatusBadRequest, Code: "invalid_parameter", Detail: "Invalid pause request parameters"}
}
