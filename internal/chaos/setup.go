package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"time"

	"github.com/refold-dev/refold/internal/auth"
)

const (
	tokenLife = 24 * time.Hour
	// tenantsMax bounds the search for tenants in all shards.
	tenantsMax      = 64
	tenantsPerShard = 2
)

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
