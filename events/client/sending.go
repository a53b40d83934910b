package client

import (
	"context"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
)

// sending is some commands on their way to results.
type sending struct {
	client  *Client
	wishes  []commands.Wish
	results []commands.Result
	open    []int  // those that may become something else, in their order
	doubted []bool // those that an earlier attempt may have stored
}

// attempt sends the commands that are open once, and returns how long the plane asks to wait. A command about a thing is
// not sent when one before it about the same thing is not settled: that would change their order.
func (s *sending) attempt(ctx context.Context) (after time.Duration) {
	var left []int
	held := map[uuid.UUID]bool{}
	for len(s.open) > 0 {
		some, body := s.fit(held)
		if len(some) > 0 {
			answer, wait, unsent := s.client.send(ctx, body)
			after = max(after, wait)
			for n, i := range some {
				if !s.learn(i, n, answer, unsent) {
					s.hold(i, held)
					left = append(left, i)
				}
			}
			s.open = s.open[len(some):]
			if answer == nil {
				break // nobody is there: what is left would only wait as well
			}
		}
		// fit stops at a command that is held back.
		for len(s.open) > 0 && held[s.wishes[s.open[0]].Command.Target()] {
			left, s.open = append(left, s.open[0]), s.open[1:]
		}
	}
	s.open = append(left, s.open...)
	return after
}

func (s *sending) hold(i int, held map[uuid.UUID]bool) {
	if target := s.wishes[i].Command.Target(); target != uuid.Nil {
		held[target] = true
	}
}

// fit makes one request of as many commands as it takes, up to the first that is held back.
func (s *sending) fit(held map[uuid.UUID]bool) (some []int, body []byte) {
	size := len(`{"commands":[]}`)
	var parts []string
	for _, i := range s.open {
		if len(some) == commands.BatchMax || held[s.wishes[i].Command.Target()] {
			break
		}
		part := encoded(s.wishes[i])
		if len(some) > 0 && size+len(part)+1 > commands.BatchBytesMax-headerRoom {
			break
		}
		parts, some = append(parts, part), append(some, i)
		size += len(part) + 1
	}
	return some, []byte(`{"commands":[` + strings.Join(parts, ",") + `]}`)
}

// encoded is one command as it stands in a batch.
func encoded(w commands.Wish) string {
	batch, err := commands.EncodeBatch([]commands.Wish{w})
	if err != nil {
		return "null" // the plane says that it is none
	}
	text, _ := strings.CutPrefix(string(batch), `{"commands":[`)
	text, _ = strings.CutSuffix(text, `]}`)
	return text
}

// learn takes what an answer says of a command, the n-th in its request, and reports whether that settles it.
func (s *sending) learn(i, n int, answer *commands.BatchResult, unsent bool) (settled bool) {
	result := commands.Result{Outcome: commands.Unknown}
	switch {
	case answer == nil:
		s.doubted[i] = s.doubted[i] || !unsent
		return false
	case answer.Problem != nil:
		result.Problem = answer.Problem
		if !inDoubt(answer.Problem) {
			result.Outcome = commands.Refused
		}
	case n < len(answer.Results):
		result = answer.Results[n]
	}
	s.doubted[i] = s.doubted[i] || result.Outcome == commands.Unknown
	if s.doubted[i] && result.Outcome == commands.Refused && (answer.Problem != nil || result.Problem == nil || unasked[result.Problem.Code]) {
		result.Outcome = commands.Unknown // this attempt was refused before anybody looked for what the earlier one did
	}
	s.results[i] = result
	return result.Outcome == commands.Accepted || result.Outcome == commands.Refused && (result.Problem == nil || !result.Problem.Retryable)
}

// unasked are the codes of refusals that say nothing about earlier attempts.
var unasked = map[string]bool{
	"unauthorized": true, "invalid_request": true, "invalid_token": true, "insufficient_scope": true, "tenant_suspended": true, "too_many_requests": true,
}

// inDoubt are the codes after which a command may be stored.
func inDoubt(p *commands.Problem) bool { return p.Code == "unavailable" || p.Code == "outcome_unknown" }
