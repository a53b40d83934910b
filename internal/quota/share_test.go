package quota

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

const waitMax = 2 * time.Second

func take(t *testing.T, s *Share, tenant string, places int) (leave func()) {
	t.Helper()
	leave, err := s.Take(t.Context(), tenant, "", places)
	if err != nil {
		t.Fatalf("%s: %v", tenant, err)
	}
	return leave
}

// TestShare: one tenant gets half, and each that comes half of what is left; none waits for the one before.
func TestShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(ShareConfig{Places: 8, WaitingMax: 8, WaitMax: waitMax})
		began := time.Now()
		for _, tenant := range []string{"a", "a", "a", "a", "b", "b", "c", "d"} {
			take(t, s, tenant, 1)
		}
		if time.Since(began) != 0 {
			t.Error("somebody has waited")
		}
		for _, tenant := range []string{"a", "e"} {
			if _, err := s.Take(t.Context(), tenant, "", 1); err == nil {
				t.Errorf("%s: more than there are", tenant)
			}
		}
		if got := time.Since(began); got != 2*waitMax {
			t.Errorf("refused after %v, want %v", got, 2*waitMax)
		}
	})
}

// TestShareWaits: those who wait are let in by the order of their tenant, and who has least goes first.
func TestShareWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(ShareConfig{Places: 8, WaitingMax: 8, WaitMax: waitMax})
		leave := take(t, s, "a", 8)
		let := make(chan string, 10)
		wait := func(tenant, name string) {
			go func() {
				if _, err := s.Take(t.Context(), tenant, "", 4); err == nil {
					let <- name
				}
			}()
			synctest.Wait()
		}
		wait("a", "a1")
		wait("a", "a2")
		wait("b", "b1")
		leave()
		synctest.Wait()
		close(let)
		got := map[string]bool{}
		for name := range let {
			got[name] = true
		}
		// Four places are free after the first of them, and none after the second.
		if want := map[string]bool{"a1": true, "b1": true}; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("let in: %v, want %v", got, want)
		}
		time.Sleep(waitMax) // of the bubble: a2 has given up
	})
}

func TestShareBoundsWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewShare(ShareConfig{Places: 2, WaitingMax: 4, WaitMax: waitMax})
		leave := take(t, s, "a", 2)
		ctx, cancel := context.WithCancel(t.Context())
		for _, tenant := range []string{"a", "a", "b"} {
			go func() {
				if _, err := s.Take(ctx, tenant, "", 1); err == nil {
					t.Errorf("%s was let in", tenant)
				}
			}()
			synctest.Wait()
		}
		began := time.Now()
		if _, err := s.Take(ctx, "a", "", 1); err == nil || time.Since(began) != 0 {
			t.Errorf("one more of a's: %v after %v, want it refused at once", err, time.Since(began))
		}
		cancel()
		synctest.Wait()
		if s.waiting != 0 || len(s.tenants) != 1 {
			t.Errorf("%d wait, %d tenants", s.waiting, len(s.tenants))
		}
		leave()
		if s.taken != 0 || len(s.tenants) != 0 {
			t.Errorf("%d places taken, %d tenants", s.taken, len(s.tenants))
		}
	})
}
