package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/isolation"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/natsapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/tenant"
	"github.com/spf13/cobra"
)

// reportIsolation is the kind of the report of a selftest.
const reportIsolation = "selftest.isolation"

type selftestFlags struct {
	url     string
	natsURL string
	scratch bool
	probes  int64
	tenants int
	seed    uint64
}

func (c *cli) selftest() *cobra.Command {
	var f selftestFlags
	isolation := &cobra.Command{
		Use: "isolation", Short: "Attack the plane as users of throw-away tenants; exit code 3 when anything leaks", Args: exactly(0),
		Long: "Attack the plane as users of throw-away tenants.\n\n" +
			"Each user makes things that hold random texts. Then all ask at random about what the others have: with their ids, names,\n" +
			"cursors, positions and tokens, in places where they belong and where they do not, on every route that /openapi.yaml names.\n" +
			"Every byte that comes back is searched for what only another tenant can know, also in hex and base64, and every answer\n" +
			"about what is foreign is held against the answer to the same request about what does not exist.\n\n" +
			"Without flags it attacks edges of its own on the plane's stores, over HTTP, MCP and, where NATS is embedded, NATS; --url and\n" +
			"--nats-url take those of a running process of the same plane. The tenants are removed at the end; what they did stays in the\n" +
			"journal for ever. --scratch makes a plane for it and throws that away.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.probes < 1 || f.tenants < 2 || f.tenants > 50 || f.scratch && f.url+f.natsURL != "" {
				return usageError{errors.New("selftest isolation wants --probes of 1 and more, --tenants of 2 to 50, and not both --scratch and --url or --nats-url")}
			}
			return c.selftestIsolation(cmd.Context(), f)
		},
	}
	flags := isolation.Flags()
	flags.StringVar(&f.url, "url", "", "attack this HTTP and MCP edge, such as http://127.0.0.1:8080; none = one of this process")
	flags.StringVar(&f.natsURL, "nats-url", "", "attack this NATS edge for producers; none = one of this process, unless there is a --url")
	flags.BoolVar(&f.scratch, "scratch", false, "make a plane for it, with an embedded journal and a private Postgres, and throw it away")
	flags.Int64Var(&f.probes, "probes", 100_000, "how many requests")
	flags.IntVar(&f.tenants, "tenants", 3, "how many tenants, with an owner of things and two attackers each, of whom one attacks the owner of his own tenant, too")
	flags.Uint64Var(&f.seed, "seed", 0, "repeat the random choices of an attack; 0 = new ones")
	cmd := &cobra.Command{Use: "selftest", Short: "Attack the plane, to see that it holds"}
	cmd.AddCommand(isolation)
	return group(cmd)
}

func (c *cli) selftestIsolation(ctx context.Context, f selftestFlags) error {
	if f.scratch {
		dir, err := os.MkdirTemp("", "refold-selftest-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := os.Chmod(dir, 0o711); err != nil { // root's Postgres runs as another user
			return err
		}
		c.config.DataDir, c.config.PostgresURL, c.config.NATSURL, c.makes = dir, "", "", true
	}
	if c.logLevel != levelDebug {
		c.config.Logger = slog.New(slog.DiscardHandler) // the server complains of every probe
	}
	if f.url == "" && c.config.NATSListen == "" {
		c.config.NATSListen = "127.0.0.1:0" // for producers, where this process embeds the server
	}
	return c.with(ctx, func(p *plane.Plane) error {
		r, err := c.attack(ctx, p, f)
		if err != nil {
			return err
		}
		if err := c.show(r, func(w *tabwriter.Writer) { isolationTable(w, r) }); err != nil {
			return err
		}
		if !r.Clean() {
			return errMismatch
		}
		return nil
	})
}

// attack makes the tenants, attacks, removes them whatever came of it, and leaves a signed report.
func (c *cli) attack(ctx context.Context, p *plane.Plane, f selftestFlags) (_ *isolation.Report, err error) {
	config := isolation.Config{Probes: f.probes, Seed: f.seed}
	if config.Seed == 0 {
		config.Seed = randomSeed()
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, removeTenants(ending, p, config.Identities))
	}()
	if config.Identities, err = attackers(ctx, p, f.tenants); err != nil {
		return nil, err
	}
	probers, end, err := f.probers(ctx, p, config.Identities[0])
	if err != nil {
		return nil, err
	}
	defer end()
	config.Probers = probers
	bar := c.progress()
	defer bar.end()
	config.Progress = func(done, total int64) { bar.tell("probes", done, total) }
	r, err := isolation.Run(ctx, config)
	if err != nil {
		return nil, err
	}
	_, err = p.Reports.Append(ctx, reportIsolation, r)
	return r, err
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint64(b[:])
}

// attackers makes tenants, and tokens of two users of each. What they may take is not to be what they meet.
func attackers(ctx context.Context, p *plane.Plane, tenants int) (all []isolation.Identity, err error) {
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return nil, err
	}
	run := strings.ToLower(rand.Text()[:8])
	for n := range tenants {
		id := fmt.Sprintf("selftest-%s-%d", run, n+1)
		if _, _, err := p.CreateTenant(ctx, id, "Selftest", operator()); err != nil {
			return all, err
		}
		for _, user := range []string{"owner", "attacker-1", "attacker-2"} {
			scopes, neighbours := auth.AllScopes(), user == "attacker-2"
			if neighbours { // who may not see what the others of the tenant do
				scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == auth.TenantRead })
			}
			token, err := p.Tokens.Mint(ctx, key, auth.TokenRequest{Tenant: id, Subject: user, Scopes: scopes, TTL: 24 * time.Hour}, operator())
			if err != nil {
				return all, err
			}
			agent, err := p.Tokens.Mint(ctx, key, auth.TokenRequest{Tenant: id, Subject: user, Scopes: scopes, TTL: 24 * time.Hour, Audience: auth.LocalMCPAudience}, operator())
			if err != nil {
				return all, err
			}
			all = append(all, isolation.Identity{Tenant: id, User: user, Token: token.Token, AgentToken: agent.Token, Attacks: user != "owner", Neighbours: neighbours})
		}
		limits := directory.Limits{PerSecond: tenant.LimitMax, Burst: tenant.LimitMax, InFlight: tenant.LimitMax}
		if _, err := p.LimitTenant(ctx, id, limits, operator()); err != nil {
			return all, err
		}
	}
	return all, nil
}

func removeTenants(ctx context.Context, p *plane.Plane, all []isolation.Identity) error {
	var faults []error
	done := map[string]bool{}
	for _, one := range all {
		if !done[one.Tenant] {
			done[one.Tenant] = true
			_, err := p.RemoveTenant(ctx, one.Tenant, operator())
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

// probers attack the edges that the flags name, and else edges of this process.
func (f selftestFlags) probers(ctx context.Context, p *plane.Plane, as isolation.Identity) (_ []isolation.Prober, end func(), err error) {
	end = func() {}
	defer func() {
		if err != nil {
			end()
		}
	}()
	address, natsURL := f.url, f.natsURL
	if address == "" {
		own, err := ownEdges(ctx, p)
		if err != nil {
			return nil, end, err
		}
		end = own.end
		if address = own.url; natsURL == "" {
			natsURL = own.natsURL
		}
	}
	overHTTP, err := isolation.NewHTTP(ctx, address, slices.Collect(maps.Keys(httpapi.OldRoutes()))...)
	if err != nil {
		return nil, end, err
	}
	overMCP, err := isolation.NewMCP(ctx, address, as)
	if err != nil {
		return nil, end, err
	}
	beneath := end
	probers, end := []isolation.Prober{overHTTP, overMCP}, func() { overMCP.Close(); beneath() }
	if natsURL != "" {
		overNATS, before := &isolation.NATS{URL: natsURL}, end
		if f.natsURL == "" {
			overNATS.Options = p.Stack.ClientOptions()
		}
		probers, end = append(probers, overNATS), func() { overNATS.Close(); before() }
	}
	return probers, end, nil
}

// edges are those of this process, on ports of their own.
type edges struct {
	url, natsURL string // the second is empty where producers have none
	end          func()
}

func ownEdges(ctx context.Context, p *plane.Plane) (own edges, err error) {
	parts, err := edgeParts(p)
	if err != nil {
		return own, err
	}
	agents, err := mcpFlags{}.edge(p, parts, nil)
	if err != nil {
		return own, err
	}
	producers := producerFlags{account: localstack.ProducersAccount}
	commands, err := producers.edge(p, parts)
	if err != nil {
		return own, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return own, err
	}
	server := httpapi.Server(parts)
	beside(server, agents)
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	var done sync.WaitGroup
	done.Go(func() { _ = server.Serve(listener) }) // until Close
	done.Go(func() { _ = p.Tokens.Run(serving) })  // what was revoked must not grow old, whoever else follows it
	own = edges{url: "http://" + listener.Addr().String(), end: func() { stop(); _ = server.Close(); done.Wait() }}
	if commands == nil {
		return own, nil
	}
	own.natsURL = p.Stack.NATSURL()
	ready, failed := make(chan struct{}), make(chan error, 1)
	done.Go(func() { failed <- natsapi.Serve(serving, *commands, func() { close(ready) }) })
	select {
	case <-ready:
		return own, nil
	case err := <-failed:
		own.end()
		return own, err
	}
}

func isolationTable(w *tabwriter.Writer, r *isolation.Report) {
	row(w, "probes", fmt.Sprintf("%d on %d operations, as users of %d tenants, in %.1f s", r.Probes, len(r.Operations), len(r.Tenants), float64(r.Milliseconds)/1000))
	row(w, "searched", fmt.Sprintf("%d bytes for %d forms of what others have", r.BytesSearched, r.Canaries))
	row(w, "leaks", r.LeakCount)
	row(w, "told apart", fmt.Sprintf("%d answers about what is foreign and what is absent", r.DifferCount))
	row(w, "seed", r.Seed)
	for _, f := range r.Leaks {
		row(w, "LEAK", fmt.Sprintf("%s %s as %s: %s of %s (seed %s)", f.Protocol, f.Operation, f.As, f.What, f.Of, f.Seed))
	}
	for _, f := range r.Differences {
		row(w, "TOLD APART", fmt.Sprintf("%s %s as %s, of %s: %s (seed %s)", f.Protocol, f.Operation, f.As, f.Of, f.What, f.Seed))
	}
}
