// Package sample makes a small export of OpenMemory for demonstrations and tests: the memories of one invented
// person in two apps, with categories, all states, status history, access rules and times. It is the same, byte for
// byte, every time.
package sample

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Subject is the login of the person.
const Subject = "ines.halloran"

// FileName is how the old system would have named the file.
const FileName = "memories_export_" + Subject + ".zip"

//go:embed memories.txt
var memories string

// one line of memories.txt: app | categories | state | content
type note struct {
	app        string // "-" = none
	categories []string
	state      string
	content    string
}

var apps = []struct{ name, description string }{
	{"notebook", "Desktop notes"},
	{"kitchen", "Recipes and shopping on the kitchen tablet"},
}

// Zip returns the export.
func Zip() ([]byte, error) {
	notes, err := parse(memories)
	if err != nil {
		return nil, err
	}
	e := newExport(notes)
	document, err := json.MarshalIndent(e.document, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the sample: %w", err)
	}
	lines, err := e.packedLines()
	if err != nil {
		return nil, err
	}
	return pack([]member{{"memories.json", document}, {"memories.jsonl.gz", lines}})
}

func parse(text string) ([]note, error) {
	var notes []note
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		part := strings.SplitN(line, " | ", 4)
		if len(part) != 4 {
			return nil, fmt.Errorf("memories.txt line %d: want app | categories | state | content", i+1)
		}
		notes = append(notes, note{part[0], strings.Split(part[1], ", "), part[2], part[3]})
	}
	return notes, nil
}

type object = map[string]any

type export struct {
	document object
	lines    []object
}

var began = time.Date(2025, time.January, 6, 8, 15, 0, 0, time.UTC)

// at is when note i was written: some hours apart, with microseconds.
func at(i int) time.Time {
	return began.Add(time.Duration(i)*41*time.Hour + time.Duration(i*i)*997*time.Microsecond)
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000+00:00") }

// id derives a UUID of version 8 from what it names.
func id(parts ...string) string {
	sum := sha256.Sum256([]byte("refold sample\x00" + strings.Join(parts, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func newExport(notes []note) *export {
	userID := id("user", Subject)
	e := &export{document: object{
		"user": object{"id": userID, "user_id": Subject, "name": "Inês Halloran", "email": "ines@halloran.example",
			"metadata": object{"locale": "en-GB"}, "created_at": stamp(began), "updated_at": stamp(began)},
		"apps": appRecords(userID), "categories": categoryRecords(notes), "access_controls": ruleRecords(),
		"export_meta": object{"app_id_filter": nil, "from_date": nil, "to_date": nil, "version": "1",
			"generated_at": stamp(at(len(notes)))},
	}}
	var records, links, history []object
	for i, n := range notes {
		m := memoryRecord(userID, i, n)
		records = append(records, m)
		for _, categoryID := range m["category_ids"].([]string) {
			links = append(links, object{"memory_id": m["id"], "category_id": categoryID})
		}
		history = append(history, historyRecords(userID, i, n)...)
		e.lines = append(e.lines, lineRecord(m, n))
	}
	e.document["memories"], e.document["memory_categories"], e.document["status_history"] = records, links, history
	return e
}

func appRecords(userID string) []object {
	var out []object
	for i, app := range apps {
		out = append(out, object{"id": id("app", app.name), "owner_id": userID, "name": app.name, "description": app.description,
			"metadata": object{"device": i + 1}, "is_active": true, "created_at": stamp(began), "updated_at": stamp(began)})
	}
	return out
}

func categoryRecords(notes []note) []object {
	var names []string
	for _, n := range notes {
		names = append(names, n.categories...)
	}
	slices.Sort(names)
	var out []object
	for _, name := range slices.Compact(names) {
		out = append(out, object{"id": id("category", name), "name": name, "description": "All about " + name,
			"created_at": stamp(began), "updated_at": stamp(began)})
	}
	return out
}

// ruleRecords: the notebook may read everything, the kitchen everything but two memories.
func ruleRecords() []object {
	rule := func(app, effect string, objectID any) object {
		return object{"id": id("rule", app, effect, fmt.Sprint(objectID)), "subject_type": "app", "subject_id": id("app", app),
			"object_type": "memory", "object_id": objectID, "effect": effect, "created_at": stamp(began)}
	}
	return []object{
		rule("notebook", "allow", nil), rule("kitchen", "allow", nil),
		rule("kitchen", "deny", memoryID(7)), rule("kitchen", "deny", memoryID(12)),
	}
}

func memoryID(i int) string { return id("memory", fmt.Sprint(i)) }

func memoryRecord(userID string, i int, n note) object {
	m := object{"id": memoryID(i), "user_id": userID, "app_id": nil, "content": n.content,
		"metadata": object{"source": "user", "line": i + 1}, "state": n.state, "created_at": stamp(at(i)), "updated_at": stamp(at(i)),
		"archived_at": nil, "deleted_at": nil}
	if n.app != "-" {
		m["app_id"] = id("app", n.app)
	}
	categoryIDs := []string{}
	for _, name := range n.categories {
		categoryIDs = append(categoryIDs, id("category", name))
	}
	slices.Sort(categoryIDs)
	m["category_ids"] = categoryIDs
	if changed := stamp(changedAt(i)); n.state != "active" {
		m["updated_at"] = changed
		switch n.state {
		case "archived":
			m["archived_at"] = changed
		case "deleted":
			m["deleted_at"] = changed
		}
	}
	return m
}

func changedAt(i int) time.Time { return at(i).Add(30*time.Hour + 1500*time.Microsecond) }

// historyRecords of a memory that is no longer active; deleted ones were paused for an hour before.
func historyRecords(userID string, i int, n note) []object {
	steps := []string{"active", n.state}
	switch n.state {
	case "active":
		return nil
	case "deleted":
		steps = []string{"active", "paused", "deleted"}
	}
	var out []object
	for step := 1; step < len(steps); step++ {
		when := changedAt(i).Add(time.Duration(step-len(steps)+1) * time.Hour)
		out = append(out, object{"id": id("history", fmt.Sprint(i), fmt.Sprint(step)), "memory_id": memoryID(i), "changed_by": userID,
			"old_state": steps[step-1], "new_state": steps[step], "changed_at": stamp(when)})
	}
	return out
}

func lineRecord(m object, n note) object {
	line := object{"app": nil, "categories": n.categories}
	for _, name := range []string{"id", "content", "metadata", "created_at", "updated_at", "state"} {
		line[name] = m[name]
	}
	if n.app != "-" {
		line["app"] = n.app
	}
	return line
}

func (e *export) packedLines() ([]byte, error) {
	var out bytes.Buffer
	packed := gzip.NewWriter(&out)
	encoder := json.NewEncoder(packed)
	for _, line := range e.lines {
		if err := encoder.Encode(line); err != nil {
			return nil, fmt.Errorf("encode the sample: %w", err)
		}
	}
	if err := packed.Close(); err != nil {
		return nil, fmt.Errorf("pack the sample: %w", err)
	}
	return out.Bytes(), nil
}

type member struct {
	name string
	data []byte
}

func pack(members []member) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, m := range members {
		w, err := z.Create(m.name)
		if err == nil {
			_, err = w.Write(m.data)
		}
		if err != nil {
			return nil, fmt.Errorf("pack the sample: %w", err)
		}
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("pack the sample: %w", err)
	}
	return out.Bytes(), nil
}
