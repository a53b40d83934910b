package quota

import (
	"strconv"
	"testing"
)

func TestInFlightIsGivenBack(t *testing.T) {
	l := New(Limits{InFlight: 2})
	first, err := l.Enter("a", Brief)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter("a", Brief); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Enter("a", Brief); err == nil {
		t.Error("a third request was let in")
	}
	if _, err := l.Enter("b", Brief); err != nil {
		t.Errorf("another tenant was kept out: %v", err)
	}
	first()
	if _, err := l.Enter("a", Brief); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestAllowancesAreForgotten(t *testing.T) {
	l := New(Limits{PerSecond: 1e9, InFlight: 1})
	for i := range 3 * allowancesMax {
		leave, err := l.Enter(strconv.Itoa(i), Class(i%int(classCount)))
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if len(l.tenants) > allowancesMax {
		t.Errorf("%d tenants are remembered, at most %d", len(l.tenants), allowancesMax)
	}
}
