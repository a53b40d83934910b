package quota

import (
	"strconv"
	"testing"
)

func TestInFlightIsGivenBack(t *testing.T) {
	l := New(Limits{InFlight: 2})
	first, err := l.Enter("a", false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter("a", false); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter("a", false); err == nil {
		t.Error("a third request was let in")
	}
	if _, err := l.Enter("b", false); err != nil {
		t.Errorf("another tenant was kept out: %v", err)
	}
	first()
	if _, err := l.Enter("a", false); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestAllowancesAreForgotten(t *testing.T) {
	l := New(Limits{PerSecond: 1e9, InFlight: 1})
	for i := range 3 * allowancesMax {
		leave, err := l.Enter(strconv.Itoa(i), i%2 == 0)
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if len(l.tenants) > allowancesMax {
		t.Errorf("%d tenants are remembered, at most %d", len(l.tenants), allowancesMax)
	}
}
