package quota

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/refold-dev/refold/internal/problem"
)

const (
	// loginsBurst is how many tokens of one address may be refused at once, and loginsPerSecond how many over time, until
	// it is told to wait.
	loginsBurst     = 60
	loginsPerSecond = 1
	// loginsMax bounds the addresses that are remembered, twice.
	loginsMax = 5_000
)

// Logins limits the tokens that are refused, by the address that they come from: what is beyond is neither logged nor
// explained. It is asked after a token was refused, so a good token passes, wherever it comes from.
type Logins struct {
	mu            sync.Mutex
	recent, older map[netip.Prefix]*rate.Limiter
}

// Refused takes note of a refusal. It returns a problem (429) in place of it when there were too many.
func (l *Logins) Refused(r *http.Request) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	taken := l.of(networkOf(r.RemoteAddr)).ReserveN(now, 1)
	wait := taken.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	taken.CancelAt(now)
	return &problem.Problem{
		Status: http.StatusTooManyRequests, Code: "too_many_requests", Detail: "too many tokens of this address were refused; nothing was stored",
		Retryable: true, Header: http.Header{"Retry-After": {strconv.FormatInt(seconds(wait), 10)}},
	}
}

// of is called with the lock held. Addresses that were not heard of for long are forgotten.
func (l *Logins) of(from netip.Prefix) *rate.Limiter {
	limiter := l.recent[from]
	if limiter != nil {
		return limiter
	}
	if limiter = l.older[from]; limiter == nil {
		limiter = rate.NewLimiter(loginsPerSecond, loginsBurst)
	}
	if l.recent == nil || len(l.recent) >= loginsMax {
		l.recent, l.older = map[netip.Prefix]*rate.Limiter{}, l.recent
	}
	l.recent[from] = limiter
	return limiter
}

// networkOf is the address of one who calls: of IPv6, the network, in which one caller has as many as it likes.
func networkOf(remote string) netip.Prefix {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Prefix{} // all that have none share one allowance
	}
	address = address.Unmap()
	bits := address.BitLen()
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.WithZone("").Prefix(bits)
	return prefix
}
