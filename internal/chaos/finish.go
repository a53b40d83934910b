package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
)

// finish asks all oracles and says what they found.
func (r *campaign) finish(ctx context.Context) error {
	var found violations
	found.take(r.ledger.violations)
	if err := r.coldStart(ctx); err != nil {
		found.add("not recovered", "after all nodes were started again: %v", err)
	}
	r.say("reading the journal from each node")
	copies, err := r.nats.readJournal(ctx)
	if err != nil {
		found.add("journal unreadable", "%v", err)
	}
	v, compared := auditReplicas(copies)
	found.take(v)
	r.report.Replicas, r.report.Nodes = compared, natsNodes
	open, err := r.opener()
	if err != nil {
		return err
	}
	v, r.report.Lost, r.report.Doubled = auditJournal(r.ledger.commands, longest(copies), open)
	found.take(v)
	rows, v := fold(r.ledger.commands)
	found.take(v)
	for _, s := range r.servers {
		r.say("reading every row from %s", s.name)
		got, err := r.rows(ctx, s)
		if err != nil {
			found.add("rows unreadable", "%v", err)
			continue
		}
		found.take(auditRows(rows, got))
		r.report.Rows += len(got)
	}
	for _, command := range [][]string{{"verify"}, {"journal", "check", "--each-replica"}} {
		r.say("refold %s", strings.Join(command, " "))
		_, text, err := r.refold.run(ctx, r.servers[0].data, command...)
		if err != nil {
			found.add(command[0], "%v", err)
		}
		r.report.Checks = append(r.report.Checks, text)
	}
	for _, s := range r.servers {
		r.report.Ended = append(r.report.Ended, s.surprises()...)
	}
	r.report.Counts, r.report.Violations, r.report.Took = r.ledger.counts, found, seconds(time.Since(r.report.Began))
	return r.tell()
}

// coldStart kills all nodes, so that what is read afterwards comes from their disks.
func (r *campaign) coldStart(ctx context.Context) error {
	r.say("starting all nodes again, so that they read from their disks")
	if err := r.nats.crash(func(int) bool { return true }); err != nil {
		return err
	}
	return r.awaitWhole(ctx)
}

// opener reads the positions that callers cannot, by the key of the plane.
func (r *campaign) opener() (func(tenant, position string) (place, error), error) {
	secret, err := auth.Secret(r.servers[0].data, "seal.key")
	if err != nil {
		return nil, err
	}
	sealer, err := reader.NewSealer(secret)
	if err != nil {
		return nil, err
	}
	return func(tenant, position string) (place, error) {
		at, err := sealer.OpenPosition(tenant, position)
		return place{at.Shard, at.Seq}, err
	}, nil
}

// rows reads all memories of all users by way of one server.
func (r *campaign) rows(ctx context.Context, from *server) (map[key]memory, error) {
	rows := map[key]memory{}
	var all []*client
	for i := 0; i < len(r.clients); i += 2 { // the other one of a pair is the same user
		all = append(all, r.clients[i])
	}
	for _, p := range r.producers {
		all = append(all, p.client)
	}
	for _, c := range append(all, r.probes...) {
		cursor := ""
		for {
			path := "/v1/memories?limit=100&state=active&state=paused&state=archived"
			if cursor != "" {
				path += "&cursor=" + url.QueryEscape(cursor)
			}
			a := c.send(ctx, from, http.MethodGet, path, map[string]string{positionName: c.position, "Prefer": waitPrefer}, nil)
			var page struct {
				Items []memory `json:"items"`
				Next  string   `json:"next_cursor"`
			}
			if a.status != http.StatusOK || json.Unmarshal(a.body, &page) != nil {
				return nil, fmt.Errorf("list of %s/%s by way of %s: %s", c.tenant, c.user, from.name, a)
			}
			for _, m := range page.Items {
				rows[key{c.tenant, m.ID}] = m
			}
			if cursor = page.Next; cursor == "" {
				break
			}
		}
	}
	return rows, nil
}
