package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

func (c *cli) restore() *cobra.Command {
	var at repositoryFlags
	var tenant string
	cmd := &cobra.Command{
		Use: "restore [BACKUP]", Short: "Bring back a whole plane, or one tenant, from a backup (the newest, unless named)", Args: cobra.MaximumNArgs(1),
		Long: "Bring back a whole plane into an empty NATS account and an empty database: the journal with its id and every event at\n" +
			"its sequence, the control tables, and an edition, from its rows or by replay. In the end every row is verified. It may\n" +
			"be interrupted and repeated. Whatever is not empty is refused and left as it is; no other process may run on --data.\n\n" +
			"With --tenant, one tenant is brought into a plane that runs and does not know it: its events are appended to that\n" +
			"plane's journal, with their own times, ids, versions and command ids.\n\n" + backupHelp,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := at.given(); err != nil {
				return err
			}
			if tenant != "" {
				return c.restoreTenant(cmd.Context(), at, tenant, args)
			}
			return c.restorePlane(cmd.Context(), at, args)
		},
	}
	at.add(cmd.Flags(), "from", "repository of the backup")
	cmd.Flags().StringVar(&tenant, "tenant", "", "bring back this tenant alone, into a plane that does not know it")
	return cmd
}

func (c *cli) restorePlane(ctx context.Context, at repositoryFlags, args []string) error {
	r, err := at.alone(c)
	if err != nil {
		return err
	}
	id, err := named(ctx, r, args)
	if err != nil {
		return err
	}
	entry, err := r.Read(ctx, id)
	if err != nil {
		return err
	}
	bar := c.progress()
	out, err := plane.Restore(ctx, c.config, r, entry, plane.RestoreOptions{Progress: bar.stepped, Building: bar.build})
	bar.end()
	if err != nil {
		return err
	}
	return c.show(out, func(w *tabwriter.Writer) {
		row(w, fmt.Sprintf("backup %s is restored: journal %s, %d events, read back and equal; edition %d is live", out.Backup, out.JournalID, out.Events, out.Live))
		for _, v := range out.Verified {
			row(w, fmt.Sprintf("shard %d verified at sequence %d: %d rows are the fold of the journal", v.Shard, v.Seq, v.Rows))
		}
		for _, reader := range out.Readers {
			row(w, fmt.Sprintf("make this SQL reader again: refold sql-reader create %s --tenant %s", reader.Login, reader.Tenant))
		}
		for _, warning := range entry.Warnings {
			row(w, "WARNING", warning)
		}
	})
}

func (c *cli) restoreTenant(ctx context.Context, at repositoryFlags, tenant string, args []string) error {
	return c.with(ctx, func(p *plane.Plane) error {
		r, err := at.of(p)
		if err != nil {
			return err
		}
		id, err := named(ctx, r, args)
		if err != nil {
			return err
		}
		entry, err := r.Read(ctx, id)
		if err != nil {
			return err
		}
		bar := c.progress()
		out, err := p.RestoreTenant(ctx, r, entry, tenant, bar.stepped)
		bar.end()
		if err != nil {
			return err
		}
		return c.show(out, func(w *tabwriter.Writer) {
			row(w, fmt.Sprintf("tenant %s of backup %s is in shard %d of this plane: %d events, %d of them from an attempt before", out.Tenant, out.Backup, out.Shard, out.Events, out.There))
			if len(out.LeftBehind) > 0 {
				row(w, fmt.Sprintf("%d messages under its name are no events and were left behind, the first at %v", len(out.LeftBehind), out.LeftBehind[0]))
			}
			row(w, "next: refold verify")
		})
	})
}

// openTenant reads a tenant through the HTTP edge on a port of its own, with a token that it mints for that.
func openTenant(ctx context.Context, p *plane.Plane, tenant string) (err error) {
	if err := os.MkdirAll(p.DataDir, 0o700); err != nil {
		return err
	}
	parts, err := edgeParts(p)
	if err != nil {
		return err
	}
	server := httpapi.Server(parts)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go func() { _ = server.Serve(listener) }()
	defer func() { err = errors.Join(err, server.Close()) }()
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return err
	}
	token, err := key.Mint(auth.TokenRequest{Tenant: tenant, Subject: "restore-drill", Scopes: []string{auth.MemoriesRead}, TTL: time.Minute})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listener.Addr().String()+"/v1/memories?limit=10", nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 4096))
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET /v1/memories answers %s: %s", response.Status, body)
	}
	return err
}
