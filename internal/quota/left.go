package quota

import (
	"fmt"
	"net/http"
	"time"
)

// Left says in headers what a tenant may ask for, and what is left of it: of requests over time where they are limited, and
// otherwise of requests at any moment (draft-ietf-httpapi-ratelimit-headers). It is empty where nothing is limited.
func (l *Limiter) Left(tenant string) http.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.of(tenant)
	if a.rate == nil {
		name, most := a.limits.underWay(Brief)
		if most == 0 {
			return nil
		}
		return headersOf(name, most, 0, most-a.underWay[Brief], 0)
	}
	left := max(a.rate.Tokens(), 0)
	full := time.Duration((float64(a.limits.Burst) - left) / a.limits.PerSecond * float64(time.Second))
	return headersOf("requests", a.limits.Burst, a.limits.window(), int(left), full)
}

// headersOf tells how a limit is called, how much may be asked for in a window, how much of it is left, and when it is whole
// again.
func headersOf(limit string, quota int, window time.Duration, left int, full time.Duration) http.Header {
	policy := fmt.Sprintf("%q;q=%d", limit, quota)
	if window > 0 {
		policy += fmt.Sprintf(";w=%d", seconds(window))
	}
	rest := fmt.Sprintf("%q;r=%d", limit, left)
	if full > 0 {
		rest += fmt.Sprintf(";t=%d", seconds(full))
	}
	return http.Header{"Ratelimit-Policy": {policy}, "Ratelimit": {rest}}
}
