package natsapi_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/micro"

	"github.com/refold-dev/refold/events/commands"
)

// TestWhatIsMissingIsNamed: a header that has to be there and is not stands by its name in the answer.
func TestWhatIsMissingIsNamed(t *testing.T) {
	s := serving(t)
	ann := s.producer(t, "a", "ann")
	made := wantAccepted(t, ann.do("k", commands.AddMemory{Content: "c"}))
	for _, c := range []struct {
		subject, body string
		headers       []string
		status        int
		code, says    string
	}{
		{"new", `{"content":"x"}`, []string{commands.HeaderCommand, "memory.add"}, 400, "invalid_header", "missing header: Idempotency-Key"},
		{"new", `{"content":"x"}`, []string{commands.HeaderKey, "k2"}, 400, "invalid_header", "missing header: Refold-Command"},
		{"new", `{"content":"x"}`, nil, 400, "invalid_header", "missing header: Refold-Command"},
		{made.ID.String(), `{"content":"x"}`, []string{commands.HeaderCommand, "memory.change", commands.HeaderKey, "k2"}, 428, "precondition_required", "in the header Refold-Expected-Version"},
	} {
		r, answer := ann.ask("cmd.a.memory."+c.subject, c.body, c.headers...)
		wantProblem(t, r, c.code, c.status)
		if !strings.Contains(r.Problem.Detail, c.says) || !strings.Contains(answer.Header.Get(micro.ErrorHeader), c.says) {
			t.Errorf("%v: %s, want %s", c.headers, r.Problem.Detail, c.says)
		}
	}
}
