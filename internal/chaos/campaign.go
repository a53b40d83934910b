package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	// recoverMax is how long a fault may keep commands from being accepted and read again, in any shard.
	recoverMax = 2 * time.Minute
	// wholeMax bounds the time until every process does its part again, after what was broken has been mended.
	wholeMax = 2 * time.Minute
	// batchSlower is how much longer a producer waits between two batches than a client between two requests.
	batchSlower = 5
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
