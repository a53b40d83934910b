package httpapi

import (
	"strconv"
	"testing"
)

func TestInFlightIsGivenBack(t *testing.T) {
	l := newLimiter(Limits{InFlight: 2})
	first, err := l.enter("a", brief)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.enter("a", brief); err != nil {
		t.Fatal(err)
	}
	if _, err := l.enter("a", brief); err == nil {
		t.Error("a third request was let in")
	}
	if _, err := l.enter("b", brief); err != nil {
		t.Errorf("another tenant was kept out: %v", err)
	}
	first()
	if _, err := l.enter("a", brief); err != nil {
		t.Errorf("after one has left: %v", err)
	}
}

func TestAllowancesAreForgotten(t *testing.T) {
	l := newLimiter(Limits{PerSecond: 1e9, InFlight: 1})
	for i := range 3 * allowancesMax {
		leave, err := l.enter(strconv.Itoa(i), class(i%int(classCount)))
		if err != nil {
			t.Fatal(err)
		}
		leave()
	}
	if len(l.tenants) > allowancesMax {
		t.Errorf("%d tenants are remembered, at most %d", len(l.tenants), allowancesMax)
	}
}
