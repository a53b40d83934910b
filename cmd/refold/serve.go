package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/refold-dev/refold/internal/activity"
	"github.com/refold-dev/refold/internal/archival"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/changes"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/mcpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/quota"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/versions"
	"github.com/refold-dev/refold/internal/writer"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// drainMax bounds how long requests under way may take at the end.
const drainMax = 10 * time.Second

// limits bound what a tenant can take that has no limits of its own.
var limits = quota.Limits{PerSecond: 2000, Burst: 4000, InFlight: 256, Listeners: 64, Transfers: 4}

// limitsOf puts the plane's limits where a tenant has none of its own.
func limitsOf(own directory.Limits) quota.Limits {
	l := limits
	if own.PerSecond > 0 {
		l.PerSecond, l.Burst = float64(own.PerSecond), own.PerSecond
	}
	l.Burst = cmp.Or(own.Burst, l.Burst)
	l.InFlight = cmp.Or(own.InFlight, l.InFlight)
	return l
}

// quotas are what all edges of a process take from.
func quotas(p *plane.Plane) *quota.Limiter {
	return quota.Each(func(tenant string) quota.Limits { return limitsOf(p.Directory.LimitsOf(tenant)) })
}

func (c *cli) serve() *cobra.Command {
	var cutover, issuers string
	var edges edgeFlags
	deployment := plane.Deployment{}
	var gate gateFlags
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the plane: stores, projectors and HTTP, until interrupted", Args: exactly(0),
		Long: "Run the plane: stores, projectors and HTTP, until interrupted.\n\n" +
			"When the live edition is of another shape, because another version of refold made it, this process is not ready\n" +
			"until it has an edition of its own. With --cutover auto it builds and verifies one, and cuts over once\n" +
			"--cutover-replicas such processes are ready; a version that was live before only stands by (see\n" +
			"`refold edition cutover` and `rollback`). With --cutover manual it waits for `refold edition build` and `verify`." + producersHelp,
	}
	f := cmd.Flags()
	gate.add(f)
	edges.agents.add(f)
	edges.producers.add(f, &c.config)
	f.StringVar(&c.config.PostgresListen, "postgres-listen", "", "loopback host:port where the private PostgreSQL lets SQL readers in, such as 127.0.0.1:5433; default its Unix socket alone")
	f.StringVar(&edges.listen, "listen", "127.0.0.1:8080", "address of the HTTP edge")
	edges.transport.add(f)
	f.StringSliceVar(&edges.origins, "origin", nil, "origins of web pages that may call, such as https://memories.example")
	f.BoolVar(&edges.appsNeedRules, "apps-need-rules", false, "apps without access rules read nothing; else they read all that their user may")
	f.StringVar(&issuers, "issuers", "", "file that says whose tokens are believed, beside the plane's own; see `refold help issuers`")
	f.Var(oneOf(&cutover, cutoverAuto, cutoverAuto, "manual"), "cutover", "auto or manual: who makes a new shape live")
	f.IntVar(&deployment.Replicas, "cutover-replicas", 1, "processes of this version that must be ready before the cutover")
	f.IntVar(&c.config.ScrubRate, "scrub-rate", 0,
		"rows a second of each edition that are held against their kept digests all the time; 0 = 20,000, negative = none")
	f.IntVar(&c.config.ReplicaScrubRate, "replica-scrub-rate", 0,
		"events a second that are read from the single replicas of a replicated journal and compared with their kept digests; 0 = 2,000, negative = none")
	f.DurationVar(&c.config.AuditEvery, "audit-every", 5*time.Minute, "how often the database is audited, see `refold audit`; negative = never")
	f.DurationVar(&c.config.ArchiveEvery, "archive-every", archival.EveryDefault,
		"how often archive policies are applied; negative = never")
	f.DurationVar(&c.config.AccessLogKeep, "access-log-keep", activity.KeepDefault,
		"how long it is known who read what; the access log is no part of what is proven, nor of backups")
	f.DurationVar(&edges.drain, "drain", 2*time.Second, "how long to answer on after SIGTERM while /readyz says no")
	for flag, name := range map[string]string{
		"postgres-listen": "REFOLD_POSTGRES_LISTEN", "listen": "REFOLD_LISTEN", "origin": "REFOLD_ORIGINS", "issuers": "REFOLD_ISSUERS",
		"apps-need-rules": "REFOLD_APPS_NEED_RULES", "cutover": "REFOLD_CUTOVER",
		"cutover-replicas": "REFOLD_CUTOVER_REPLICAS", "scrub-rate": "REFOLD_SCRUB_RATE", "replica-scrub-rate": "REFOLD_REPLICA_SCRUB_RATE", "audit-every": "REFOLD_AUDIT_EVERY", "archive-every": "REFOLD_ARCHIVE_EVERY",
		"access-log-keep": "REFOLD_ACCESS_LOG_KEEP",
	} {
		variable(f, flag, name)
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if deployment.Replicas < 1 {
			return usageError{errors.New("cutover-replicas (--cutover-replicas, REFOLD_CUTOVER_REPLICAS): use 1 or more")}
		}
		if c.config.AccessLogKeep <= 0 {
			return usageError{errors.New("access-log-keep (--access-log-keep, REFOLD_ACCESS_LOG_KEEP): use a duration above zero such as 2160h")}
		}
		if err := edges.transport.check(edges.listen, c.config); err != nil {
			return usageError{err}
		}
		deployment.Auto = cutover == cutoverAuto
		for _, origin := range edges.origins {
			if err := httpapi.CheckOrigin(origin); err != nil {
				return usageError{err}
			}
		}
		if issuers != "" {
			var err error
			if edges.issuers, err = auth.LoadIssuers(issuers); err != nil {
				return usageError{err}
			}
		}
		return c.runServe(cmd.Context(), deployment, gate, edges)
	}
	return cmd
}

const cutoverAuto = "auto"

// edgeFlags say how the plane is reached, and by whom.
type edgeFlags struct {
	listen    string
	transport transportFlags
	origins   []string
	issuers   []auth.Issuer
	// appsNeedRules lets apps without access rules read nothing.
	appsNeedRules bool
	drain         time.Duration
	producers     producerFlags
	agents        mcpFlags
}

// runServe serves until ctx ends. Projectors go on until the last answer is given: readers may be waiting for them.
func (c *cli) runServe(ctx context.Context, deployment plane.Deployment, gate gateFlags, edges edgeFlags) error {
	if os.Getenv("GOGC") == "" { // it has precedence
		debug.SetGCPercent(plane.GCPercent)
	}
	p, err := plane.Open(ctx, c.config)
	if err != nil {
		return err
	}
	if err := c.serving(p); err != nil {
		return errors.Join(err, p.Close())
	}
	if !p.SkipVerifyMigrations {
		if err := p.Editions.Check(ctx); err != nil { // now, and not at the millionth event
			return errors.Join(err, p.Close())
		}
	}
	parts, err := edgeParts(p, edges.issuers...)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	parts.Origins, parts.Writer.AppsNeedRules = edges.origins, edges.appsNeedRules
	forProducers, err := edges.producers.edge(p, parts)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	forAgents, err := edges.agents.edge(p, parts, edges.issuers)
	if err != nil {
		return errors.Join(err, p.Close())
	}
	bar := c.progress()
	defer bar.end()
	deployment.Progress = bar.build
	deployment.Gate = func(ctx context.Context) error { return c.passGate(ctx, p, gate, "cutover to another shape") }
	served, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	group, running := errgroup.WithContext(served)
	group.Go(func() error { return p.Run(running) })
	group.Go(func() error { return p.Deploy(running, deployment) })
	group.Go(func() error { return c.serveProducers(ctx, running, forProducers) })
	listening := make(chan string, 1)
	group.Go(func() error { c.tellReady(running, p, listening, edges.producers.address(p)); return nil })
	group.Go(func() error {
		defer stop()
		return serveHTTP(ctx, running, p, parts, forAgents, edges, func(url string) {
			c.announce(fmt.Sprintf("refold serves %s\n  %s\n  data %s\n  health %s/readyz, contract %s/openapi.yaml, agents %s/mcp", url, p.Stack.Describe(), p.DataDir, url, url, url),
				"refold serves", "url", url, "stores", p.Stack.Describe(), "data", p.DataDir)
			listening <- url
		})
	})
	return errors.Join(group.Wait(), p.Close())
}

// edgeParts are what the edges of a plane stand on.
func edgeParts(p *plane.Plane, issuers ...auth.Issuer) (parts httpapi.Config, err error) {
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return parts, err
	}
	verifier, err := auth.NewVerifier(auth.Config{
		Issuers: append(slices.Clone(issuers), key.Issuer()), Revoked: &p.Tokens.Revoked, Gone: p.Directory.Gone, Logger: p.Logger,
	})
	if err != nil {
		return parts, err
	}
	secret, err := auth.Secret(p.DataDir, "seal.key")
	if err != nil {
		return parts, err
	}
	sealer, err := reader.NewSealer(secret)
	if err != nil {
		return parts, err
	}
	rows, questions := reader.New(p.Live, p.DB), quota.NewQuestions(p.DB.Connections())
	rows.Shares = questions
	feed := changes.New(p.Journal.Shard, rows)
	feed.CatchUps = questions.ReadJournal
	past := versions.New(p.Journal.Shard, rows)
	past.Reading = questions.ReadJournal
	rows.Activity = p.Activity
	return httpapi.Config{
		Verifier: verifier, Writer: writer.New(p.Directory, p.Shard, rows), Reader: rows, Changes: feed, Versions: past,
		Sealer: sealer, Health: p, Operator: p, Limits: quotas(p), Logins: &quota.Logins{}, Logger: p.Logger,
	}, nil
}

// serveHTTP answers until ctx ends, goes on for as long as drain says while Ready says no, and then lets requests under
// way finish. It gives up at once when the rest of the process (running) has ended. ready is called with the URL once
// it listens. forAgents may be nil: then there is no edge for them.
func serveHTTP(ctx, running context.Context, p *plane.Plane, parts httpapi.Config, forAgents *mcpapi.Edge, edges edgeFlags, ready func(url string)) error {
	server := httpapi.Server(parts)
	beside(server, forAgents)
	serve, url, err := edges.transport.listener(running, edges.listen, p.Logger)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- serve(server) }()
	ready(url)
	select {
	case err := <-served:
		return err
	case <-running.Done():
		return server.Close()
	case <-ctx.Done():
	}
	p.Drain()
	select {
	case <-running.Done():
	case <-time.After(edges.drain):
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainMax)
	defer cancel()
	return server.Shutdown(ending)
}
