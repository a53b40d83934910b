package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/reader"
)

const (
	// recoverMax is how long a fault may keep commands from being accepted and read again, in any shard.
	recoverMax = 2 * time.Minute
	// wholeMax bounds the time until every process does its part again, after what was broken has been mended.
	wholeMax  = 2 * time.Minute
	tokenLife = 24 * time.Hour
	// batchSlower is how much longer a producer waits between two batches than a client between two requests.
	batchSlower = 5
	// tenantsMax bounds the search for tenants in all shards.
	tenantsMax      = 64
	tenantsPerShard = 2
)

// campaign is a plane under load, and what is known of it.
type campaign struct {
	config
	dir       string
	nats      *cluster
	database  *database
	servers   []*server
	refold    refold
	http      *http.Client
	tenants   []tenant
	ledger    ledger
	clients   []*client
	producers []*producer // one for each shard
	probes    []*client   // one for each shard
	report    report
}

type tenant struct {
	ID    string `json:"tenant"`
	Shard int    `json:"shard"`
}

// campaign runs from the first process to the last question; the error says that a promise was broken, or that the
// campaign itself failed.
func (c config) campaign(ctx context.Context, dir string, kinds []faultKind) (err error) {
	if c.seed == 0 {
		c.seed = uint64(time.Now().UnixNano())
	}
	r := &campaign{config: c, dir: dir, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}}}
	r.report.Seed, r.report.Began = c.seed, time.Now()
	c.say("seed %d, data in %s", c.seed, dir)
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return err
	}
	stop := make(chan struct{})
	var load sync.WaitGroup
	for _, client := range r.clients {
		load.Go(func() { client.run(ctx, stop, c.pause) })
	}
	for _, producer := range r.producers {
		load.Go(func() { producer.run(ctx, stop, batchSlower*c.pause) })
	}
	errFaults := r.breakThings(ctx, schedule(kinds, rand.New(rand.NewPCG(c.seed, 1))))
	close(stop)
	c.say("the clients finish what they have begun")
	load.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errFaults != nil {
		r.ledger.violate("not recovered", "%v", errFaults)
	}
	return r.finish(ctx)
}

// open starts everything, makes tenants in all shards, and users.
func (r *campaign) open(ctx context.Context) (err error) {
	r.say("building refold and nats-server")
	built, err := buildPrograms(ctx, r.dir, r.binary)
	if err != nil {
		return err
	}
	r.say("starting %d NATS servers, Postgres with a standby, and %d refold", natsNodes, servers)
	key, err := newIssuer(r.dir)
	if err != nil {
		return err
	}
	if r.nats, err = startCluster(ctx, built.nats, r.dir, key.public); err != nil {
		return err
	}
	if r.database, err = startDatabase(ctx, r.dir); err != nil {
		return err
	}
	r.refold = refold{
		program: built.refold, nats: r.nats.url(natsUser),
		serve: []string{"--nats-producers", r.nats.url(natsProducers), "--nats-issuer-seed", key.seedFile},
	}
	if r.refold.postgres, err = r.database.url(); err != nil {
		return err
	}
	if err := r.serve(ctx); err != nil {
		return err
	}
	if err := r.makeTenants(ctx); err != nil {
		return err
	}
	return r.makeClients(ctx)
}

// serve starts the first process, which makes the plane, and then the others with its keys.
func (r *campaign) serve(ctx context.Context) error {
	ports, err := takePorts(servers)
	if err != nil {
		return err
	}
	for i, port := range ports {
		s := &server{name: fmt.Sprintf("refold-%d", i+1), refold: r.refold, data: filepath.Join(r.dir, fmt.Sprintf("refold-%d", i+1)), port: port}
		if i > 0 {
			if err := shareKeys(r.servers[0].data, s.data); err != nil {
				return err
			}
		}
		if err := s.start(); err != nil {
			return err
		}
		r.servers = append(r.servers, s)
		if err := eventually(ctx, startMax, s.ready); err != nil {
			return err
		}
	}
	return nil
}

// makeTenants makes tenants until each shard has some; in which one a tenant lives is up to refold. Those that a shard
// has too many of stay idle.
func (r *campaign) makeTenants(ctx context.Context) error {
	operator, err := r.client(auth.TokenRequest{Operator: true, Subject: "chaos", Scopes: []string{auth.AdminWrite}}, 0)
	if err != nil {
		return err
	}
	in := make([][]tenant, shards)
	for i, short := 0, shards*tenantsPerShard; short > 0; i++ {
		if i == tenantsMax {
			return fmt.Errorf("%d tenants are spread over the shards like this: %v", i, in)
		}
		a := operator.send(ctx, r.servers[0], http.MethodPost, "/v1/admin/tenants", nil, map[string]string{"tenant": fmt.Sprintf("tenant-%d", i+1)})
		var t tenant
		if a.status != http.StatusCreated || json.Unmarshal(a.body, &t) != nil || t.Shard >= shards {
			return fmt.Errorf("create a tenant: %s", a)
		}
		if len(in[t.Shard]) < tenantsPerShard {
			in[t.Shard] = append(in[t.Shard], t)
			short--
		}
	}
	for i := range tenantsPerShard {
		for shard := range shards {
			r.tenants = append(r.tenants, in[shard][i])
		}
	}
	return nil
}

func (r *campaign) makeClients(ctx context.Context) error {
	for i := range r.config.clients {
		// Two clients are one user, who shares a memory with himself.
		pair := i / 2
		t := r.tenants[pair%len(r.tenants)]
		client, err := r.user(t, fmt.Sprintf("user-%d", pair+1), i)
		if err != nil {
			return err
		}
		client.name = fmt.Sprintf("%s-%d", client.user, i%2+1)
		r.clients = append(r.clients, client)
		if i%2 == 0 {
			if client.shared = client.create(ctx, nil); client.shared == nil {
				return errors.New("the first memory of a user was not accepted")
			}
			client.notes = nil
			continue
		}
		client.shared, client.position = r.clients[i-1].shared, r.clients[i-1].position
	}
	for i, t := range r.tenants[:shards] { // one of each shard
		probe, err := r.user(t, "probe", len(r.clients)+i)
		if err != nil {
			return err
		}
		r.probes = append(r.probes, probe)
		sender, err := r.user(t, "producer", len(r.clients)+shards+i)
		if err != nil {
			return err
		}
		p := &producer{client: sender}
		if err := p.connect(ctx, r.nats.url("")); err != nil {
			return err
		}
		r.producers = append(r.producers, p)
	}
	return nil
}

// user makes a client of a tenant.
func (r *campaign) user(t tenant, subject string, number int) (*client, error) {
	return r.client(auth.TokenRequest{Tenant: t.ID, Subject: subject, Scopes: auth.AllScopes()}, number)
}

// client makes one with a token that outlasts the campaign.
func (r *campaign) client(request auth.TokenRequest, number int) (*client, error) {
	local, err := auth.LocalKey(r.servers[0].data)
	if err != nil {
		return nil, err
	}
	request.TTL = r.span + tokenLife
	token, err := local.Mint(request)
	return &client{
		tenant: request.Tenant, user: request.Subject, name: request.Subject, token: token, servers: r.servers, http: r.http, ledger: &r.ledger,
		random: rand.New(rand.NewPCG(r.seed, uint64(number+2))),
	}, err
}

// breakThings injects faults until there were enough. It fails when the plane does not recover from one.
func (r *campaign) breakThings(ctx context.Context, next func() fault) error {
	began := time.Now()
	for i := 0; i < r.faults || time.Since(began) < r.span; i++ {
		f := next()
		done, err := r.breakOne(ctx, f)
		if err != nil {
			done.Failure = err.Error()
		}
		r.report.Faults = append(r.report.Faults, done)
		if err != nil {
			return fmt.Errorf("fault %d, %s: %w", i+1, f.kind.name, err)
		}
		r.say("fault %d: %-20s served again after %6s, whole after %6s; %d commands accepted", i+1, done.Kind, done.Recovered.round(), done.Whole.round(), r.ledger.acceptedCount())
	}
	return nil
}

func (r *campaign) breakOne(ctx context.Context, f fault) (done faultReport, err error) {
	done = faultReport{Kind: f.kind.name, At: time.Now()}
	if err := r.awaitLoad(ctx, f.after); err != nil {
		return done, err
	}
	began := time.Now()
	done.At = began
	mend, err := f.kind.inject(ctx, r, f)
	if err != nil {
		return done, err
	}
	err = r.probeShards(ctx, nil, recoverMax)
	done.Recovered = seconds(time.Since(began))
	mended := time.Now()
	if mend != nil {
		err = errors.Join(err, mend(ctx)) // also after a failure: the audit needs everything
	}
	if err != nil {
		return done, err
	}
	err = r.awaitWhole(ctx)
	done.Whole = seconds(time.Since(mended))
	return done, err
}

// awaitLoad returns when so many more commands were accepted.
func (r *campaign) awaitLoad(ctx context.Context, count int) error {
	wanted := r.ledger.acceptedCount() + count
	return eventually(ctx, wholeMax, func() error {
		if got := r.ledger.acceptedCount(); got < wanted {
			return fmt.Errorf("%d commands were accepted, %d are waited for", got, wanted)
		}
		return nil
	})
}

// probeShards returns when each shard has accepted a command and shown what came of it.
func (r *campaign) probeShards(ctx context.Context, only *server, limit time.Duration) error {
	faults := make([]error, len(r.probes))
	var all sync.WaitGroup
	for i, probe := range r.probes {
		all.Go(func() { faults[i] = probe.probe(ctx, only, limit) })
	}
	all.Wait()
	return errors.Join(faults...)
}

// awaitWhole returns when every process does its part.
func (r *campaign) awaitWhole(ctx context.Context) error {
	if err := r.nats.awaitHealthy(ctx); err != nil {
		return err
	}
	for _, s := range r.servers {
		if err := eventually(ctx, wholeMax, s.ready); err != nil {
			return err
		}
		if err := r.probeShards(ctx, s, wholeMax); err != nil {
			return fmt.Errorf("by way of %s: %w", s.name, err)
		}
	}
	return nil
}

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
	r.say("refold verify")
	_, text, err := r.refold.run(ctx, r.servers[0].data, "verify")
	if err != nil {
		found.add("verify", "%v", err)
	}
	r.report.Verify = text
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

// close ends every process.
func (r *campaign) close() error {
	var faults []error
	for _, s := range r.servers {
		faults = append(faults, s.stop())
	}
	if r.nats != nil {
		faults = append(faults, r.nats.stop())
	}
	if r.database != nil {
		faults = append(faults, r.database.stop())
	}
	return errors.Join(faults...)
}

// write puts the report into a file.
func (r *campaign) write(path string) error {
	body, err := json.MarshalIndent(r.report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(body, '\n'), 0o644)
}
