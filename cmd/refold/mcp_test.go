package main

import (
	"errors"
	"testing"

	"github.com/refold-dev/refold/internal/auth"
)

// What an agent shows is good for agents alone, whatever the configuration.
func TestAnAudienceIsOfOneEdge(t *testing.T) {
	m := mcpFlags{url: "https://memories.example/mcp"}
	trusted := []auth.Issuer{{Issuer: "https://login.example", Audience: "refold", Operator: true, Tenants: []string{auth.EveryTenant}}}
	issuers, err := m.issuers(trusted)
	if err != nil || len(issuers) != 1 || issuers[0].Audience != m.url || issuers[0].Operator {
		t.Errorf("issuers of agents %+v, %v", issuers, err)
	}
	if trusted[0].Audience != "refold" || !trusted[0].Operator {
		t.Errorf("the issuers of the other edges were changed: %+v", trusted[0])
	}
	trusted[0].Audience = m.url
	var usage usageError
	if _, err := m.issuers(trusted); !errors.As(err, &usage) {
		t.Errorf("one audience for both edges: %v, want a usage error", err)
	}
}
