package events

import "github.com/google/uuid"

// Halves implements Payload.
func (p *MemoryAdded) Halves() (public, private []byte, err error) {
	w := object(len(p.CategoryIDs) * (uuidLength + 3))
	w.uuid("user_id", p.UserID)
	w.uuidPointer("app_id", p.AppID)
	w.uuids("category_ids", p.CategoryIDs)
	return halves(w, p.Private.write())
}

// Halves implements Payload.
func (p *MemoryChanged) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuidsPointer("category_ids", p.CategoryIDs)
	return halves(w, p.Private.write())
}

func (p *MemoryChangedPrivate) write() writer {
	w := object(len(p.Metadata))
	w.textPointer("content", p.Content)
	w.metadata("metadata", p.Metadata)
	return w
}

// Halves implements Payload.
func (p *MemoryActivated) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuid("by", p.By)
	return halves(w, p.Private.write())
}

// Halves implements Payload.
func (p *MemoryPaused) Halves() (public, private []byte, err error) { return halvesBy(p.By) }

// Halves implements Payload.
func (p *MemoryArchived) Halves() (public, private []byte, err error) { return halvesBy(p.By) }

// Halves implements Payload.
func (p *MemoryDeleted) Halves() (public, private []byte, err error) { return halvesBy(p.By) }

func halvesBy(by uuid.UUID) (public, private []byte, err error) {
	w := object(0)
	w.uuid("by", by)
	return halves(w, object(0))
}

// Halves implements Payload.
func (p *MemoryImported) Halves() (public, private []byte, err error) {
	const changeBytes = 210 // about what a status change takes
	w := object(len(p.CategoryIDs)*(uuidLength+3) + len(p.History)*changeBytes + 2*changeBytes)
	w.uuid("user_id", p.UserID)
	w.uuidPointer("app_id", p.AppID)
	w.state("state", p.State)
	w.time("created_at", p.CreatedAt)
	w.time("updated_at", p.UpdatedAt)
	w.timePointer("archived_at", p.ArchivedAt)
	w.timePointer("deleted_at", p.DeletedAt)
	w.uuids("category_ids", p.CategoryIDs)
	w.changes("history", p.History)
	return halves(w, p.Private.write())
}

// Halves implements Payload.
func (p *MemorySupplemented) Halves() (public, private []byte, err error) {
	w := object(0)
	w.uuids("category_ids", p.CategoryIDs)
	w.changes("history", p.History)
	return halves(w, object(0))
}

func (p *MemoryPrivate) write() writer {
	w := object(len(p.Content) + len(p.Content)/16 + len(p.Metadata))
	w.text("content", p.Content)
	w.metadata("metadata", p.Metadata)
	return w
}

func decodeMemoryAdded(s *scanner) *MemoryAdded {
	p := new(MemoryAdded)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "user_id":
			p.UserID = s.uuid()
		case "app_id":
			p.AppID = s.uuidPointer()
		case "category_ids":
			p.CategoryIDs = s.uuids()
		default:
			s.skip()
		}
	}
	s.require(&m, "private", "user_id")
	return p
}

func (p *MemoryPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "content":
			p.Content = s.text()
		case "metadata":
			p.Metadata = s.metadata()
		default:
			s.skip()
		}
	}
	s.require(&m, "content")
}

func decodeMemoryChanged(s *scanner) *MemoryChanged {
	p := new(MemoryChanged)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "category_ids":
			ids := s.uuids()
			p.CategoryIDs = &ids
		default:
			s.skip()
		}
	}
	s.require(&m, "private")
	return p
}

func (p *MemoryChangedPrivate) read(s *scanner) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "content":
			p.Content = s.textPointer()
		case "metadata":
			p.Metadata = s.metadata()
		default:
			s.skip()
		}
	}
}

func decodeMemoryActivated(s *scanner) *MemoryActivated {
	p := new(MemoryActivated)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "by":
			p.By = s.uuid()
		default:
			s.skip()
		}
	}
	s.require(&m, "by")
	return p
}

// decodeBy reads a payload that says nothing but who did it.
func decodeBy(s *scanner) (by uuid.UUID) {
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "by":
			by = s.uuid()
		default:
			s.skip()
		}
	}
	s.require(&m, "by")
	return by
}

func decodeMemoryImported(s *scanner) *MemoryImported {
	p := new(MemoryImported)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "private":
			p.Private.read(s)
		case "user_id":
			p.UserID = s.uuid()
		case "app_id":
			p.AppID = s.uuidPointer()
		case "state":
			p.State = s.state()
		case "created_at":
			p.CreatedAt = s.time()
		case "updated_at":
			p.UpdatedAt = s.time()
		case "archived_at":
			p.ArchivedAt = s.timePointer()
		case "deleted_at":
			p.DeletedAt = s.timePointer()
		case "category_ids":
			p.CategoryIDs = s.uuids()
		case "history":
			p.History = s.changes()
		default:
			s.skip()
		}
	}
	s.require(&m, "private", "user_id", "state", "created_at", "updated_at")
	return p
}

func decodeMemorySupplemented(s *scanner) *MemorySupplemented {
	p := new(MemorySupplemented)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "category_ids":
			p.CategoryIDs = s.uuids()
		case "history":
			p.History = s.changes()
		default:
			s.skip()
		}
	}
	return p
}
