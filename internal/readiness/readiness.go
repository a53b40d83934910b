// Package readiness is what a process can do at the moment, as values: for reads and for commands apart, and by shard. Its
// rules are: one shard that is stopped takes nothing from the others; what is only old is degraded, not down; and what is
// stuck is never shown as healthy.
package readiness

import (
	"fmt"
	"slices"
	"strings"
)

// Every is the shard of a condition that holds for the whole process.
const Every = -1

// Effect is what a condition does to requests.
type Effect string

// The effects, from good to bad.
const (
	None    Effect = ""
	Degrade Effect = "degraded"    // answered; for reads, with rows that may be old
	Prevent Effect = "unavailable" // not answered, or not to be relied on
)

// Condition is something that is not as it should be.
type Condition struct {
	Shard    int    // Every = of the whole process
	Code     string // stable
	Detail   string // for operators: it may name servers and positions
	Reads    Effect
	Commands Effect
}

// Error is the condition as a line for operators.
func (c Condition) Error() string {
	if c.Shard == Every {
		return c.Detail
	}
	return fmt.Sprintf("shard %d: %s", c.Shard, c.Detail)
}

// Status sums up an answer.
type Status string

// The statuses.
const (
	Ready    Status = "ready"
	Degraded Status = "degraded"
	NotReady Status = "not_ready"
)

// Reason is why requests are not answered as they should be.
type Reason struct {
	Shard  *int   `json:"shard,omitempty"` // nil = every shard
	Code   string `json:"code"`
	Effect Effect `json:"effect"`
}

// Requests says how one kind of requests fares.
type Requests struct {
	// Ready: they are answered in every shard, though perhaps degraded.
	Ready   bool     `json:"ready"`
	Reasons []Reason `json:"reasons"`
}

// Readiness is what a process can do. It holds codes alone, so that it may be shown to anybody.
type Readiness struct {
	Status   Status   `json:"status"`
	Reads    Requests `json:"reads"`
	Commands Requests `json:"commands"`
}

// Of sums conditions up.
func Of(conditions []Condition) Readiness {
	r := Readiness{
		Status:   Ready,
		Reads:    requests(conditions, func(c Condition) Effect { return c.Reads }),
		Commands: requests(conditions, func(c Condition) Effect { return c.Commands }),
	}
	switch {
	case !r.Reads.Ready:
		r.Status = NotReady
	case len(conditions) > 0:
		r.Status = Degraded
	}
	return r
}

func requests(conditions []Condition, effect func(Condition) Effect) Requests {
	r := Requests{Ready: true, Reasons: []Reason{}}
	for _, c := range conditions {
		if effect(c) == None {
			continue
		}
		reason := Reason{Code: c.Code, Effect: effect(c)}
		if c.Shard != Every {
			reason.Shard = &c.Shard
		}
		r.Reasons = append(r.Reasons, reason)
		r.Ready = r.Ready && reason.Effect != Prevent
	}
	return r
}

// OfShard narrows conditions to one shard, and to those of the whole process.
func OfShard(conditions []Condition, shard int) []Condition {
	return slices.DeleteFunc(slices.Clone(conditions), func(c Condition) bool { return c.Shard != Every && c.Shard != shard })
}

// String is one line for people, such as "degraded (shard 2: LOG_TRUNCATED)".
func (r Requests) String() string {
	var why []string
	status := Ready
	for _, reason := range r.Reasons {
		at := "every shard"
		if reason.Shard != nil {
			at = fmt.Sprintf("shard %d", *reason.Shard)
		}
		why = append(why, fmt.Sprintf("%s: %s, %s", at, reason.Code, reason.Effect))
		status = Degraded
	}
	if !r.Ready {
		status = NotReady
	}
	if len(why) == 0 {
		return string(status)
	}
	return fmt.Sprintf("%s (%s)", status, strings.Join(why, "; "))
}
