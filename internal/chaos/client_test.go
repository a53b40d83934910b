package main

import "testing"

// TestAnswersInDoubt: what leaves a command open, and what leaves it perhaps stored as well.
func TestAnswersInDoubt(t *testing.T) {
	for name, c := range map[string]struct {
		answer             answer
		definite, doubtful bool
	}{
		"none":        {answer{}, false, true},
		"unknown":     {answer{status: 503, body: []byte(`{"code":"outcome_unknown"}`)}, false, true},
		"unavailable": {answer{status: 503, body: []byte(`{"code":"unavailable"}`)}, false, true},
		"not stored":  {answer{status: 503, body: []byte(`{"code":"not_stored"}`)}, false, false},
		"too many":    {answer{status: 429}, false, false},
		"refused":     {answer{status: 409}, true, false},
		"accepted":    {answer{status: 201}, true, false},
	} {
		if definite, doubtful := c.answer.definite(), c.answer.doubtful(); definite != c.definite || doubtful != c.doubtful {
			t.Errorf("%s: definite %v, doubtful %v, want %v, %v", name, definite, doubtful, c.definite, c.doubtful)
		}
	}
}
