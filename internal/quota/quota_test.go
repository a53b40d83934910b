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

func TestLimitsChangeUnderWay(t *testing.T) {
	limits := map[string]Limits{"a": {PerSecond: 0.001, Burst: 1}}
	l := Each(func(tenant string) Limits { return limits[tenant] })
	enter := func(tenant string) error {
		leave, err := l.Enter(tenant, Brief)
		if err == nil {
			leave()
		}
		return err
	}
	if err := enter("a"); err != nil {
		t.Fatal(err)
	}
	if err := enter("a"); err == nil {
		t.Error("a second request was let in where the burst is one")
	}
	limits["a"] = Limits{PerSecond: 0.001, Burst: 2}
	for i := range 2 {
		if err := enter("a"); err != nil {
			t.Errorf("request %d after the limit was raised: %v", i, err)
		}
	}
	if err := enter("a"); err == nil {
		t.Error("the raised limit is none")
	}
	for range 5 {
		if err := enter("b"); err != nil {
			t.Errorf("a tenant without limits: %v", err)
		}
	}
}
