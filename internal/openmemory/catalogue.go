package openmemory

import (
	"fmt"

	"github.com/google/uuid"
)

// placed is a record with its place in its array.
type placed[T any] struct {
	record T
	index  int
}

// catalogue is what memories refer to. It is kept in memory as a whole, within AppsMax, CategoriesMax and RulesMax.
type catalogue struct {
	meta *metaRecord
	user *userRecord

	apps       map[uuid.UUID]placed[appRecord]
	categories map[uuid.UUID]placed[categoryRecord]
	rules      map[uuid.UUID]placed[ruleRecord]

	appNames, categoryNames map[string]bool
}

func newCatalogue() *catalogue {
	return &catalogue{
		apps:       map[uuid.UUID]placed[appRecord]{},
		categories: map[uuid.UUID]placed[categoryRecord]{},
		rules:      map[uuid.UUID]placed[ruleRecord]{},
		appNames:   map[string]bool{}, categoryNames: map[string]bool{},
	}
}

// addNew adds a record under an id that no other may have.
func addNew[T any](to map[uuid.UUID]placed[T], id uuid.UUID, record T, e element, countMax int) error {
	if earlier, ok := to[id]; ok {
		return refuseFile(Duplicate, elementPath(e), "has the id %s of /%s/%d", id, e.member, earlier.index)
	}
	if len(to) == countMax {
		return refuseFile(TooLarge, "/"+e.member, "has more than %d records", countMax)
	}
	to[id] = placed[T]{record, e.index}
	return nil
}

// addName refuses a name that identifies and has been there: two records would become one.
func addName(names map[string]bool, name string, e element) error {
	if names[name] {
		return refuseFile(Duplicate, elementPath(e)+"/name", "is the name %s, which another one has: names identify", quote(name))
	}
	names[name] = true
	return nil
}

// check drops and reports what refers to something that is not there.
func (c *catalogue) check(refuse func(Refusal)) {
	for id, app := range c.apps {
		if app.record.ownerID != c.user.id {
			refuse(Refusal{KindApp, id.String(), fmt.Sprintf("/apps/%d/owner_id", app.index), c.foreignUser(app.record.ownerID)})
			delete(c.apps, id)
		}
	}
	for id, rule := range c.rules {
		if _, ok := c.apps[rule.record.appID]; !ok {
			refuse(Refusal{KindAccessRule, id.String(), fmt.Sprintf("/access_controls/%d/subject_id", rule.index), notThere("app", rule.record.appID)})
			delete(c.rules, id)
		}
	}
}

// checkMemory returns what is wrong with the references of a memory.
func (c *catalogue) checkMemory(m *memoryRecord) *fault {
	if m.userID != c.user.id {
		return &fault{"/user_id", c.foreignUser(m.userID)}
	}
	if m.appID != nil {
		if _, ok := c.apps[*m.appID]; !ok {
			return &fault{"/app_id", notThere("app", *m.appID)}
		}
	}
	for i, id := range m.categoryIDs {
		if _, ok := c.categories[id]; !ok {
			return &fault{fmt.Sprintf("/category_ids/%d", i), notThere("category", id)}
		}
	}
	if c.createdAt(m).IsZero() {
		return &fault{"/created_at", "is missing, and neither updated_at nor the export's generated_at can stand in"}
	}
	return nil
}

func (c *catalogue) foreignUser(id uuid.UUID) string {
	return fmt.Sprintf("is %s, another user than the export's %s", id, c.user.id)
}

func notThere(what string, id uuid.UUID) string {
	return fmt.Sprintf("is %s, but this %s is not in the file, or was refused", id, what)
}

func elementPath(e element) string {
	if e.index < 0 {
		return "/" + pathToken(e.member)
	}
	return fmt.Sprintf("/%s/%d", pathToken(e.member), e.index)
}
