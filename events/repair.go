package events

// A repair is the entity "repair" of the plane's own tenant: the trace that rows of an edition were written by another
// hand than a projector's.

const kindRowsRepaired = "rows.repaired.v1"

// RowsRepaired: kind rows.repaired.v1, id = the repair. Rows of an edition that were not the fold of the journal were
// folded anew. Who asked for it is the actor of the event.
type RowsRepaired struct {
	Edition  int
	Position int // sequence of the shard up to which the events were folded last
	Entities int // that were refolded
	Tables   []RepairedTable
	Report   string // digest of the report that named what differs, in hex; empty = entities were named by hand
}

// RepairedTable counts rows.
type RepairedTable struct {
	Table                      string
	Inserted, Updated, Deleted int
}

func (*RowsRepaired) payload() {}

// Kind implements Payload.
func (*RowsRepaired) Kind() string { return kindRowsRepaired }

// Halves implements Payload.
func (p *RowsRepaired) Halves() (public, private []byte, err error) {
	w := object(len(p.Report) + 80*len(p.Tables))
	w.integer("edition", p.Edition)
	w.integer("position", p.Position)
	w.integer("entities", p.Entities)
	w.repairedTables("tables", p.Tables)
	w.text("report", p.Report)
	return halves(w, object(0))
}

func (w *writer) repairedTables(name string, tables []RepairedTable) {
	if len(tables) == 0 {
		return
	}
	w.name(name)
	w.out = append(w.out, '[')
	for _, t := range tables {
		w.comma()
		w.out = append(w.out, '{')
		w.text("table", t.Table)
		w.integer("inserted", t.Inserted)
		w.integer("updated", t.Updated)
		w.integer("deleted", t.Deleted)
		w.out = append(w.out, '}')
	}
	w.out = append(w.out, ']')
}

func decodeRowsRepaired(s *scanner) *RowsRepaired {
	p := new(RowsRepaired)
	m := s.object()
	for s.next(&m) {
		switch string(m.name) {
		case "edition":
			p.Edition = s.integer()
		case "position":
			p.Position = s.integer()
		case "entities":
			p.Entities = s.integer()
		case "tables":
			p.Tables = s.repairedTables()
		case "report":
			p.Report = s.text()
		default:
			s.skip()
		}
	}
	s.require(&m, "edition", "position", "entities", "report")
	return p
}

func (s *scanner) repairedTables() []RepairedTable {
	s.open('[')
	out := []RepairedTable{}
	for s.more(']', len(out) == 0) {
		var t RepairedTable
		m := s.object()
		for s.next(&m) {
			switch string(m.name) {
			case "table":
				t.Table = s.text()
			case "inserted":
				t.Inserted = s.integer()
			case "updated":
				t.Updated = s.integer()
			case "deleted":
				t.Deleted = s.integer()
			default:
				s.skip()
			}
		}
		s.require(&m, "table", "inserted", "updated", "deleted")
		out = append(out, t)
	}
	return out
}
