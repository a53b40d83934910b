package memory

import "github.com/google/uuid"

// HistoryIDs returns the ids of all lines that the state knows.
func HistoryIDs(s State) []uuid.UUID {
	var ids []uuid.UUID
	for l := s.history; l != nil; l = l.older {
		ids = append(ids, l.change.ID)
	}
	return ids
}
