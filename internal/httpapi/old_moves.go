package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// owned returns the ids once each, or fails with reader.ErrNotFound when one of them is not there: then nothing is
// touched at all.
func (s *server) owned(q *oldRequest, ids []uuid.UUID) ([]uuid.UUID, error) {
	if len(ids) > writer.BulkMax {
		return nil, problem.Invalid("/memory_ids", fmt.Sprintf("at most %d", writer.BulkMax))
	}
	ids = once(ids)
	for _, id := range ids {
		if _, _, err := s.Reader.Memory(q.Context(), q.c.Reads(), reader.Freshness{}, id); err != nil {
			return nil, err
		}
	}
	return ids, nil
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
	if err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	count, err := s.moveThese(q, writer.MoveDelete, body.IDs)
	return oldMessage{fmt.Sprintf("Successfully deleted %d memories", count)}, err
}

func oldArchiveMemories(s *server, q *oldRequest) (any, error) {
	var ids []uuid.UUID
	if err := q.decode(&ids, nil); err != nil {
		return nil, err
	}
	count, err := s.moveThese(q, writer.MoveArchive, ids)
	return oldMessage{fmt.Sprintf("Successfully archived %d memories", count)}, err
}

// moveThese moves memories that must all be there.
func (s *server) moveThese(q *oldRequest, move writer.Move, given []uuid.UUID) (count int, err error) {
	ids, err := s.owned(q, given)
	if err != nil {
		return 0, err
	}
	wish, err := q.wish()
	if err != nil {
		return 0, err
	}
	moved, err := s.Writer.MoveMemories(q.Context(), q.c, wish, move, ids)
	if err != nil {
		return 0, problem.Doubtful(err, wish.ID)
	}
	return len(ids), s.moved(q, wish, moved)
}

// moveAll moves what a filter selects, a part at a time.
func (s *server) moveAll(q *oldRequest, move writer.Move, filter reader.MemoryFilter) error {
	wish, err := q.wish()
	for more := true; err == nil && more; {
		var moved []writer.Moved
		moved, more, err = s.Writer.MoveSelected(q.Context(), q.c, wish, move, reader.Freshness{}, filter)
		if err != nil {
			return problem.Doubtful(err, wish.ID)
		}
		err = s.moved(q, wish, moved)
	}
	return err
}

// moved makes one answer of what became of many memories: the first that is neither done nor absent meanwhile is the
// failure of the whole, which may be repeated. The rows have what was done.
func (s *server) moved(q *oldRequest, wish writer.Wish, moved []writer.Moved) error {
	var newest reader.Position
	var failure error
	for _, m := range moved {
		if m.Err != nil && failure == nil && !absent(m.Err) {
			failure = problem.Doubtful(m.Err, wish.ID)
		}
		if m.Err == nil && m.Position.Seq > newest.Seq {
			newest = m.Position
		}
	}
	if newest.Seq > 0 {
		s.shown(q, newest)
	}
	return failure
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
	Global      bool        `json:"global_pause"`
	State       *string     `json:"state"`
}

func oldPauseMemories(s *server, q *oldRequest) (any, error) {
	var body oldPause
	if err := q.decode(&body, &body.UserID); err != nil {
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
	case len(body.IDs) > 0: // all_for_app says nothing more
		count, err := s.moveThese(q, move, body.IDs)
		return fmt.Sprintf("Successfully paused %d memories", count), err
	case len(body.CategoryIDs) > 0:
		return fmt.Sprintf("Successfully paused memories in %d categories", len(body.CategoryIDs)), s.moveAll(q, move, reader.MemoryFilter{CategoryIDs: body.CategoryIDs})
	}
	return "", &problem.Problem{Status: http.StatusBadRequest, Code: "invalid_parameter", Detail: "Invalid pause request parameters"}
}
