package memory_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/rows"
)

// TestStateAgreesWithRows: decisions and rows are two folds of the same events. Along any sequence of commands the
// state says of a memory what its row, its categories and its status history say.
func TestStateAgreesWithRows(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var s memory.State
		history := rows.NewHistory(fold.Tables)
		nulls := map[string]string{"app_id": "NULL", "archived_at": "NULL", "deleted_at": "NULL"} // a new row lists the others
		table := tables{memory: nulls, categories: map[string]bool{}, lines: map[string]int{}}
		for n := 1; n <= 15; n++ {
			p, err := memory.Decide(s, anyCommand.Draw(rt, "command"))
			if err != nil || p == nil {
				continue
			}
			e := event(t, n, p)
			if s, err = memory.Evolve(s, e); err != nil {
				rt.Fatalf("evolve %s: %v", p.Kind(), err)
			}
			changes, err := history.Step(e, fold.Apply)
			if err != nil {
				rt.Fatalf("fold %s: %v", p.Kind(), err)
			}
			table.take(rt, changes)
			if diff := cmp.Diff(shown(s), table.memory); diff != "" {
				rt.Fatalf("%s (-state +row):\n%s", p.Kind(), diff)
			}
			if got := sortedIDs(rt, table.categories); !slices.Equal(got, s.CategoryIDs) {
				rt.Fatalf("%s: categories %v, rows %v", p.Kind(), s.CategoryIDs, got)
			}
			lines := map[string]int{}
			for _, id := range memory.HistoryIDs(s) {
				lines[id.String()]++
			}
			if diff := cmp.Diff(lines, table.lines); diff != "" {
				rt.Fatalf("%s: history (-state +rows):\n%s", p.Kind(), diff)
			}
		}
	})
}

// tables is what the changes of rows come to.
type tables struct {
	memory     map[string]string // column to value
	categories map[string]bool
	lines      map[string]int // how often each id of a status change stands there
}

func (a *tables) take(t *rapid.T, changes []rows.Change) {
	for _, c := range changes {
		switch c.Table {
		case "memory":
			for _, column := range c.Columns {
				a.memory[column.Column] = "NULL"
				if column.Expected != nil {
					a.memory[column.Column] = *column.Expected
				}
			}
			for _, gone := range []string{"tenant_id", "id", "version"} {
				delete(a.memory, gone)
			}
		case "memory_category":
			a.categories[c.Key[len(c.Key)-1].Value] = c.Did != "delete"
		case "memory_status":
			for _, column := range c.Columns {
				if column.Column == "id" {
					a.lines[*column.Expected]++
				}
			}
		default:
			t.Fatalf("a change of %s", c.Table)
		}
	}
}

// shown is the state as the columns of its row.
func shown(s memory.State) map[string]string {
	optional := func(t *time.Time) string {
		if t == nil {
			return "NULL"
		}
		return t.Format(time.RFC3339Nano)
	}
	app := "NULL"
	if s.AppID != nil {
		app = s.AppID.String()
	}
	return map[string]string{
		"user_id": s.UserID.String(), "app_id": app, "content": s.Content, "metadata": string(s.Metadata), "state": string(s.Status),
		"created_at": optional(&s.CreatedAt), "updated_at": optional(&s.UpdatedAt),
		"archived_at": optional(s.ArchivedAt), "deleted_at": optional(s.DeletedAt),
	}
}

func sortedIDs(t *rapid.T, set map[string]bool) (ids []uuid.UUID) {
	for text, there := range set {
		id, err := uuid.Parse(text)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if there {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	return ids
}
