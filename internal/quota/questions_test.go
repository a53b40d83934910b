package quota

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/reader"
)

const connections = 16

// asked counts the questions of one cost that are let in at once, and leaves them in.
func asked(t *testing.T, q *Questions, c reader.Caller, cost reader.Cost) (count int, leaves []func()) {
	t.Helper()
	for {
		began := time.Now()
		leave, err := q.Take(t.Context(), c, cost)
		if waited := time.Since(began); err != nil || waited > 0 {
			return count, leaves
		}
		leaves = append(leaves, leave)
		count++
	}
}

// TestQuestionsLeaveConnections: whatever one tenant asks, another user of it, and another tenant, get a connection for the
// same at once; and whatever all ask, a quarter of the connections is left for points.
func TestQuestionsLeaveConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := NewQuestions(connections)
		costly := 0
		for _, cost := range []reader.Cost{reader.List, reader.Scan, reader.Snapshot} {
			for _, c := range []reader.Caller{{Tenant: "a"}, {Tenant: "a", User: uuid.New()}, {Tenant: "b"}, {Tenant: "c"}, {Tenant: "d"}, {Tenant: "e"}, {Tenant: "f"}} {
				count, _ := asked(t, q, c, cost)
				if count == 0 && (c.Tenant == "b" || c.User == uuid.Nil && c.Tenant == "a") {
					t.Errorf("cost %d: %+v gets none", cost, c)
				}
				costly += count
			}
		}
		if costly > connections*3/4 {
			t.Errorf("%d of %d connections are taken by what costs much", costly, connections)
		}
		if count, _ := asked(t, q, reader.Caller{Tenant: "a"}, reader.Point); count == 0 || count > connections/2 {
			t.Errorf("points of one tenant: %d", count)
		}
		if count, _ := asked(t, q, reader.Caller{Tenant: "b"}, reader.Point); count == 0 {
			t.Error("points of another tenant: none")
		}
	})
}

// TestUsersShareTheirTenant: a user leaves places of his tenant's part to another, and of those who wait the one with fewest
// places goes first.
func TestUsersShareTheirTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(ShareConfig{Places: 16, WaitingMax: 64, WaitMax: time.Minute})
		taken := map[string]int{}
		var leaves []func()
		let := make(chan string, 64)
		enter := func(user string) {
			go func() {
				leave, err := s.Take(t.Context(), "a", user, 1)
				if err != nil {
					return
				}
				leaves = append(leaves, leave)
				taken[user]++
				let <- user
			}()
			synctest.Wait()
		}
		for range 20 {
			enter("loud")
		}
		if taken["loud"] != 6 {
			t.Errorf("a user alone has %d places of his tenant's 8, want 6", taken["loud"])
		}
		enter("quiet")
		if taken["quiet"] != 1 {
			t.Error("another user has to wait")
		}
		enter("quiet")
		enter("quiet")
		for len(let) > 0 {
			<-let
		}
		leaves[0]()
		leaves[1]()
		synctest.Wait()
		if first := <-let; first != "quiet" {
			t.Errorf("%s goes first", first)
		}
		time.Sleep(time.Hour) // of the bubble: the others give up
	})
}
