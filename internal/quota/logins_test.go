package quota_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/quota"
)

func TestLoginsOfAnAddress(t *testing.T) {
	var none *quota.Logins
	if err := none.Refused(&http.Request{RemoteAddr: "192.0.2.1:1"}); err != nil {
		t.Errorf("no limit: %v", err)
	}
	logins := &quota.Logins{}
	tell := func(address string) error { return logins.Refused(&http.Request{RemoteAddr: address}) }
	refused := 0
	for port := range 100 {
		if err := tell(fmt.Sprintf("192.0.2.1:%d", port+1)); err != nil {
			refused++
			var p *problem.Problem
			if !errors.As(err, &p) || p.Status != http.StatusTooManyRequests || p.Header.Get("Retry-After") == "" {
				t.Fatalf("refused with %v", err)
			}
		}
	}
	if refused < 30 {
		t.Errorf("%d of 100 were told to wait", refused)
	}
	for _, other := range []string{"192.0.2.2:1", "[2001:db8::1]:1", "pipe"} {
		if err := tell(other); err != nil {
			t.Errorf("%s pays for another: %v", other, err)
		}
	}
	// One caller has a whole network of IPv6, and what is mapped into it is an address of IPv4.
	refused = 0
	for n := range 100 {
		if tell(fmt.Sprintf("[2001:db8::%x]:1", n+1)) != nil {
			refused++
		}
	}
	if refused < 30 {
		t.Errorf("%d of 100 addresses of one network were told to wait", refused)
	}
	if tell("[::ffff:192.0.2.1]:9") == nil {
		t.Error("the same address in another form is not known")
	}
	for n := range 30_000 { // it forgets, and does not grow
		if err := tell(fmt.Sprintf("10.%d.%d.1:1", n/250, n%250)); err != nil {
			t.Fatalf("a new address: %v", err)
		}
	}
}
