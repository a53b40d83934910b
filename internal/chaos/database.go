package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/refold-dev/refold/internal/localstack"
)

// sessionAttributes pick the server that can be written to among those that DATABASE_URL names.
const sessionAttributes = "read-write"

// database is a Postgres primary and a standby that has every commit. After a failover they have changed places.
type database struct {
	dir     string
	ports   []int // of the two places
	primary *localstack.Postgres
	standby *localstack.Postgres
	place   int // of the primary
	rounds  int // of standbys made, each in a folder of its own
}

func startDatabase(ctx context.Context, dir string) (d *database, err error) {
	d = &database{dir: dir}
	if d.ports, err = takePorts(2); err != nil {
		return nil, err
	}
	folder, err := d.folder(0)
	if err != nil {
		return nil, err
	}
	if d.primary, err = localstack.StartPostgres(ctx, folder, localstack.PostgresOptions{}); err != nil {
		return nil, err
	}
	if err := d.follow(ctx); err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

// folder makes the folder of the next server of a place, with its port in it.
func (d *database) folder(place int) (string, error) {
	d.rounds++
	folder := filepath.Join(d.dir, fmt.Sprintf("postgres-%d", d.rounds))
	if err := os.MkdirAll(folder, 0o711); err != nil {
		return "", err
	}
	return folder, os.WriteFile(filepath.Join(folder, "port"), fmt.Appendln(nil, d.ports[place]), 0o600)
}

// follow makes a standby in the place that is free.
func (d *database) follow(ctx context.Context) error {
	folder, err := d.folder(1 - d.place)
	if err != nil {
		return err
	}
	d.standby, err = localstack.StartStandby(ctx, folder, d.primary, localstack.PostgresOptions{})
	return err
}

// url names both places; whoever connects takes the one that can be written to.
func (d *database) url() (string, error) {
	address, err := url.Parse(d.primary.URL())
	if err != nil {
		return "", err
	}
	password, _ := address.User.Password()
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d,127.0.0.1:%d%s?sslmode=disable&target_session_attrs=%s",
		address.User.Username(), password, d.ports[0], d.ports[1], address.Path, sessionAttributes), nil
}

// restart is a crash of the primary and its recovery.
func (d *database) restart(ctx context.Context) error {
	if err := d.primary.Restart(ctx); err != nil {
		return err
	}
	return d.primary.AwaitReplicated(ctx)
}

// failover promotes the standby; the old primary is dead and never started again.
func (d *database) failover(ctx context.Context) error {
	if err := d.primary.Kill(); err != nil {
		return err
	}
	if err := d.primary.Stop(); err != nil {
		return err
	}
	if err := d.standby.Promote(ctx); err != nil {
		return err
	}
	d.primary, d.standby, d.place = d.standby, nil, 1-d.place
	return nil
}

func (d *database) stop() error {
	var faults []error
	for _, server := range []*localstack.Postgres{d.standby, d.primary} {
		if server != nil {
			faults = append(faults, server.Kill(), server.Stop())
		}
	}
	return errors.Join(faults...)
}
