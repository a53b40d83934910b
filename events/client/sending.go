package client

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/events/commands"
)

const (
	// headerRoom leaves place for the headers, which a server counts as payload.
	headerRoom = 16 << 10
	// head and tail stand around the commands of a batch.
	head, tail = `{"commands":[`, `]}`
	// parcelMax bounds one command.
	parcelMax = commands.BatchBytesMax - headerRoom - len(head+tail)
)

// parcel is a valid command as it stands in a batch.
type parcel struct {
	target uuid.UUID
	text   string
}

// pack fails with *commands.InvalidError.
func pack(w commands.Wish) (parcel, error) {
	if err := commands.CheckKey(w.Key); err != nil {
		return parcel{}, err
	}
	if w.Command == nil {
		return parcel{}, &commands.InvalidError{Reason: "there is no command"}
	}
	if err := w.Command.Validate(); err != nil {
		return parcel{}, err
	}
	batch, err := commands.EncodeBatch([]commands.Wish{w})
	if err != nil {
		return parcel{}, &commands.InvalidError{Reason: err.Error()}
	}
	p := parcel{w.Command.Target(), strings.TrimSuffix(strings.TrimPrefix(string(batch), head), tail)}
	if len(p.text) > parcelMax {
		return parcel{}, &commands.InvalidError{Reason: fmt.Sprintf("the command has %d bytes as JSON, at most %d fit into a request", len(p.text), parcelMax)}
	}
	return p, nil
}

// sending is some commands on their way to results.
type sending struct {
	client  *Client
	parcels []parcel
	results []commands.Result
	open    []int  // those that may become something else, in their order
	doubted []bool // those that an earlier attempt may have stored
	sent    bool   // something may have reached the plane
}

func newSending(c *Client, parcels []parcel) *sending {
	s := &sending{client: c, parcels: parcels, results: make([]commands.Result, len(parcels)), doubted: make([]bool, len(parcels))}
	for i := range parcels {
		s.results[i], s.open = commands.Result{Outcome: commands.Refused, Problem: notSent()}, append(s.open, i)
	}
	return s
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
			s.sent = s.sent || !unsent
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
		for len(s.open) > 0 && held[s.parcels[s.open[0]].target] {
			left, s.open = append(left, s.open[0]), s.open[1:]
		}
	}
	s.open = append(left, s.open...)
	return after
}

func (s *sending) hold(i int, held map[uuid.UUID]bool) {
	if target := s.parcels[i].target; target != uuid.Nil {
		held[target] = true
	}
}

// fit makes one request of as many commands as it takes, up to the first that is held back.
func (s *sending) fit(held map[uuid.UUID]bool) (some []int, body []byte) {
	room := min(commands.BatchBytesMax, int(s.client.conn.MaxPayload())) - headerRoom - len(head+tail)
	var texts []string
	size := 0
	for _, i := range s.open {
		p := s.parcels[i]
		if len(some) == commands.BatchMax || held[p.target] || len(some) > 0 && size+len(p.text)+1 > room {
			break
		}
		texts, some = append(texts, p.text), append(some, i)
		size += len(p.text) + 1
	}
	return some, []byte(head + strings.Join(texts, ",") + tail)
}

// learn takes what an answer says of a command, the n-th in its request, and reports whether that settles it. What an
// attempt has left in doubt is settled by a later one that was accepted, or refused for good, and by nothing else.
func (s *sending) learn(i, n int, answer *commands.BatchResult, unsent bool) (settled bool) {
	result := commands.Result{Outcome: commands.Unknown}
	switch {
	case answer == nil && unsent:
		return false
	case answer == nil:
	case answer.Problem != nil:
		result.Problem = answer.Problem
		if !inDoubt(answer.Problem) {
			result.Outcome = commands.Refused
		}
	case n < len(answer.Results):
		result = answer.Results[n]
	}
	final := result.Outcome == commands.Accepted || result.Outcome == commands.Refused && (result.Problem == nil || !result.Problem.Retryable)
	s.doubted[i] = s.doubted[i] || result.Outcome != commands.Accepted && result.Outcome != commands.Refused
	if s.doubted[i] && result.Outcome != commands.Accepted && (!final || answer.Problem != nil || result.Problem == nil || unasked[result.Problem.Code]) {
		// This attempt was refused before anybody looked for what the earlier one did.
		result.Outcome, final = commands.Unknown, false
	}
	s.results[i] = result
	return final
}

// unasked are the codes of refusals that say nothing about earlier attempts, beside those that are for now.
var unasked = map[string]bool{
	"unauthorized": true, "invalid_request": true, "invalid_token": true, "insufficient_scope": true, "tenant_suspended": true,
}

// inDoubt are the codes after which a command may be stored.
func inDoubt(p *commands.Problem) bool { return p.Code == "unavailable" || p.Code == "outcome_unknown" }
