package openmemory

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/google/uuid"
)

// reading goes once through both members of the archive: it checks every record by itself, keeps the catalogue and
// spools what belongs to memories.
type reading struct {
	ctx       context.Context
	partial   bool
	ledger    *ledger
	spool     *spool
	catalogue *catalogue
}

// members are those of memories.json that are arrays.
func isArray(member string) bool {
	switch member {
	case "apps", "categories", "memories", "memory_categories", "status_history", "access_controls":
		return true
	}
	return false
}

func (r *reading) document(from io.Reader) error {
	s := newScanner(from, isArray)
	if err := s.scan(r.element); err != nil {
		return err
	}
	c := r.catalogue
	switch {
	case c.meta == nil:
		return refuseFile(UnknownVersion, "/export_meta", "is missing, so the version is unknown")
	case c.meta.version != "1":
		return refuseFile(UnknownVersion, "/export_meta/version", "is %s, only \"1\" is known", quote(c.meta.version))
	case c.user == nil:
		return refuseFile(BadShape, "/user", "is missing")
	case !s.members["memories"]:
		return refuseFile(BadShape, "/memories", "is missing")
	}
	return nil
}

func (r *reading) element(e element) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	switch e.member {
	case "export_meta":
		return r.meta(e)
	case "user":
		return r.user(e)
	case "apps":
		return r.app(e)
	case "categories":
		return r.category(e)
	case "access_controls":
		return r.rule(e)
	case "memories":
		return r.memory(e)
	case "memory_categories":
		return r.link(e)
	case "status_history":
		return r.history(e)
	default:
		r.unknownMember(e)
		return nil
	}
}

func (r *reading) unknownMember(e element) {
	if r.partial {
		r.ledger.ignore(pathToken(e.member))
		return
	}
	r.ledger.read(KindMember)
	r.ledger.refuse(Refusal{Kind: KindMember, Path: elementPath(e), Reason: notVersion1})
}

const notVersion1 = `is not part of version "1" and would be lost`

// read parses one record. When something is wrong with it, it reports that and returns false.
func read[T any](r *reading, kind Kind, e element, parse func(*fields) T) (T, bool) {
	var none T
	r.ledger.read(kind)
	path := elementPath(e)
	if kind == KindLine {
		path = fmt.Sprintf("%s line %d", linesName, e.index+1)
	}
	if e.fault != "" {
		r.ledger.refuse(Refusal{Kind: kind, Path: path, Reason: e.fault})
		return none, false
	}
	record, f := parseRecord(e.raw, parse)
	for _, name := range f.unknown() {
		if r.partial {
			r.ledger.ignore(string(kind) + "." + pathToken(name))
		} else {
			f.blame(pathToken(name), notVersion1)
		}
	}
	if f.fault != nil {
		r.ledger.refuse(Refusal{Kind: kind, ID: f.shownID(), Path: path + f.fault.path, Reason: f.fault.reason})
		return none, false
	}
	return record, true
}

func parseRecord[T any](raw []byte, parse func(*fields) T) (T, *fields) {
	f := readFields(raw)
	return parse(f), f
}

// shownID is the id of the record for a report, or empty when there is none that can be shown.
func (f *fields) shownID() string {
	for _, name := range []string{"id", "memory_id"} {
		s, _ := asText(f.member(name))
		if id, err := parseID(s); err == nil {
			return id.String()
		}
	}
	return ""
}

// meta and user are needed by all the others: a fault in them is one of the file.
func (r *reading) meta(e element) error {
	meta, f := parseRecord(e.raw, (*fields).meta)
	if f.fault == nil && e.fault == "" {
		r.catalogue.meta = &meta
		return nil
	}
	if e.fault != "" {
		return refuseFile(UnknownVersion, elementPath(e), "%s", e.fault)
	}
	return refuseFile(UnknownVersion, elementPath(e)+f.fault.path, "%s", f.fault.reason)
}

func (r *reading) user(e element) error {
	r.ledger.read(KindUser)
	user, f := parseRecord(e.raw, (*fields).user)
	for _, name := range f.unknown() {
		if r.partial {
			r.ledger.ignore("user." + pathToken(name))
		} else {
			f.blame(pathToken(name), notVersion1)
		}
	}
	if e.fault != "" {
		return refuseFile(BadShape, elementPath(e), "%s", e.fault)
	}
	if f.fault != nil {
		return refuseFile(BadShape, elementPath(e)+f.fault.path, "%s", f.fault.reason)
	}
	r.catalogue.user = &user
	return nil
}

func (r *reading) app(e element) error {
	app, ok := read(r, KindApp, e, (*fields).app)
	if !ok {
		return nil
	}
	return errors.Join(addNew(r.catalogue.apps, app.id, app, e, AppsMax), addName(r.catalogue.appNames, app.name, e))
}

func (r *reading) category(e element) error {
	category, ok := read(r, KindCategory, e, (*fields).category)
	if !ok {
		return nil
	}
	return errors.Join(addNew(r.catalogue.categories, category.id, category, e, CategoriesMax),
		addName(r.catalogue.categoryNames, category.name, e))
}

func (r *reading) rule(e element) error {
	rule, ok := read(r, KindAccessRule, e, (*fields).rule)
	if !ok {
		return nil
	}
	return addNew(r.catalogue.rules, rule.id, rule, e, RulesMax)
}

func (r *reading) memory(e element) error {
	memory, ok := read(r, KindMemory, e, (*fields).memory)
	if !ok {
		return nil
	}
	return r.keep(KindMemory, memory.id, e)
}

func (r *reading) link(e element) error {
	link, ok := read(r, KindLink, e, (*fields).link)
	if !ok {
		return nil
	}
	return r.keep(KindLink, link.memoryID, e)
}

func (r *reading) history(e element) error {
	history, ok := read(r, KindHistory, e, (*fields).history)
	if !ok {
		return nil
	}
	return errors.Join(r.spool.putHistoryID(history.id, e.index), r.keep(KindHistory, history.memoryID, e))
}

func (r *reading) keep(kind Kind, memoryID uuid.UUID, e element) error {
	return r.spool.put(memoryID, spooled{kind: kind, index: e.index, raw: e.raw})
}

// lines reads memories.jsonl.gz, which says again what memories.json says, for re-embedding: it is compared, and
// nothing is taken from it.
func (r *reading) lines(from io.Reader) error {
	in := bufio.NewReaderSize(from, 64<<10)
	for index := 0; ; index++ {
		line, bytes, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return asFileError(linesName, err)
		}
		if bytes > 0 {
			if err := r.line(element{index: index, raw: line}, bytes); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

func (r *reading) line(e element, bytes int) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	depth := depthOf(e.raw)
	switch {
	case bytes > RecordBytesMax:
		e.fault = tooLong(bytes)
	case depth > DepthMax:
		e.fault = tooDeep(depth)
	case !json.Valid(e.raw):
		return refuseFile(NotJSON, fmt.Sprintf("%s line %d", linesName, e.index+1), "is not JSON")
	}
	line, ok := read(r, KindLine, e, (*fields).line)
	if !ok {
		return nil
	}
	return r.keep(KindLine, line.id, e)
}

// readLine reads up to a newline and keeps at most RecordBytesMax of it; bytes counts all but blanks at the end.
func readLine(in *bufio.Reader) (line []byte, bytes int, err error) {
	for {
		part, err := in.ReadSlice('\n')
		bytes += len(part)
		if len(line)+len(part) <= RecordBytesMax+2 {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if bytes == len(line) {
			for len(line) > 0 && blank(line[len(line)-1]) {
				line = line[:len(line)-1]
			}
			bytes = len(line)
		}
		return line, bytes, err
	}
}

// depthOf returns how deep the brackets outside of strings are nested.
func depthOf(raw []byte) int {
	depth, deepest, inText, escaped := 0, 0, false, false
	for _, c := range raw {
		switch {
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}
