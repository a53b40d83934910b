package main

import (
	"net/http"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/mcpapi"
	"github.com/refold-dev/refold/internal/plane"
)

// mcpFlags say how agents reach the plane.
type mcpFlags struct {
	url     string
	servers []string
	origins []string
}

func (m *mcpFlags) add(f *pflag.FlagSet) {
	f.StringVar(&m.url, "mcp-url", env("REFOLD_MCP_URL", ""),
		"address of the MCP edge as agents know it, such as https://memories.example/mcp; empty = loopback addresses only (REFOLD_MCP_URL)")
	f.StringSliceVar(&m.servers, "mcp-authorization-server", envList("REFOLD_MCP_AUTHORIZATION_SERVERS"),
		"URLs of the issuers that agents may get tokens from, for the metadata of RFC 9728 (REFOLD_MCP_AUTHORIZATION_SERVERS)")
	f.StringSliceVar(&m.origins, "mcp-origin", envList("REFOLD_MCP_ORIGINS"), "origins of web pages that may call the MCP edge (REFOLD_MCP_ORIGINS)")
}

// withMCP puts the edge for agents beside the routes of a server. It stands on the same reader, writer and sealer.
func withMCP(server *http.Server, p *plane.Plane, key *auth.Local, c httpapi.Config, m mcpFlags) error {
	verifier, err := auth.NewVerifier(auth.Config{Issuers: []auth.Issuer{key.IssuerFor(auth.LocalMCPAudience)}})
	if err != nil {
		return err
	}
	edge, err := mcpapi.New(mcpapi.Config{
		Verifier: verifier, Writer: c.Writer, Reader: c.Reader, Sealer: c.Sealer, Limits: c.Limits, Logger: p.Logger, Version: plane.ToolVersion(),
		URL: m.url, AuthorizationServers: m.servers, Origins: m.origins,
	})
	if err != nil {
		return usageError{err}
	}
	mux := http.NewServeMux()
	mux.Handle("/", server.Handler)
	for _, route := range mcpapi.Routes() {
		mux.Handle(route, edge)
	}
	server.Handler = mux
	server.RegisterOnShutdown(edge.Close)
	return nil
}

// envList reads a list, separated by commas; nothing is none.
func envList(name string) []string {
	if v := os.Getenv(name); v != "" {
		return strings.Split(v, ",")
	}
	return nil
}
