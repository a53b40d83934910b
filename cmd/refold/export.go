package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/user"
)

type exportView struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`
	Edition int64  `json:"edition"`
	Seq     uint64 `json:"seq"` // the rows are of this sequence
}

func (c *cli) exports() *cobra.Command {
	cmd := &cobra.Command{Use: "export", Short: "Take data out in the form of another system"}
	var tenant, login, app, from, to, out string
	one := &cobra.Command{
		Use: "openmemory", Args: exactly(0),
		Short: "Write all that one user has as an export of OpenMemory",
		Long: "Write all that one user has as a zip of version 1, as OpenMemory does: user, apps, categories, memories in whatever\n" +
			"state, status history and access rules, of one moment. `refold import openmemory` takes it back.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			filter, err := exportFilter(app, from, to)
			if err == nil && (tenant == "" || login == "") {
				err = errors.New("export needs --tenant and --user")
			}
			if err != nil {
				return usageError{err}
			}
			if out == "" {
				out = openmemory.FileName(login)
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := c.level(cmd.Context(), p, tenant); err != nil {
					return err
				}
				view, err := exportTo(cmd.Context(), p, tenant, login, filter, out)
				if err != nil {
					return fmt.Errorf("export of %s in tenant %s: %w", login, tenant, err)
				}
				return c.show(view, func(w *tabwriter.Writer) { row(w, view.File, fmt.Sprintf("%d bytes", view.Bytes)) })
			})
		},
	}
	f := one.Flags()
	f.StringVar(&tenant, "tenant", "", "tenant of the user")
	variable(f, "tenant", "REFOLD_TENANT")
	f.StringVar(&login, "user", "", "login whose memories are wanted")
	f.StringVar(&app, "app", "", "id of an app: only its memories")
	f.StringVar(&from, "from", "", "only memories created at this time or later, such as 2025-01-31T00:00:00Z")
	f.StringVar(&to, "to", "", "only memories created at this time or earlier")
	f.StringVar(&out, "out", "", "file to write; there must be none yet. Empty = memories_export_<user>.zip")
	cmd.AddCommand(one)
	return group(cmd)
}

// level brings the rows of a tenant up to the journal, as far as nobody else is doing so.
func (c *cli) level(ctx context.Context, p *plane.Plane, tenantID string) error {
	tenant, err := p.Directory.Tenant(ctx, tenantID)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", tenantID, err)
	}
	live, ok := p.Live.Edition(tenant.Shard, tenant.ID)
	if !ok {
		return reader.ErrNoEdition
	}
	bar := c.progress()
	defer bar.end()
	return p.Editions.CatchUp(ctx, live, bar.build)
}

func exportFilter(app, from, to string) (reader.ExportFilter, error) {
	var f reader.ExportFilter
	var faults []error
	if app != "" {
		id, err := uuid.Parse(app)
		f.AppID = &id
		faults = append(faults, err)
	}
	for text, bound := range map[string]**time.Time{from: &f.From, to: &f.To} {
		if text != "" {
			at, err := time.Parse(time.RFC3339, text)
			*bound = &at
			faults = append(faults, err)
		}
	}
	return f, errors.Join(faults...)
}

// exportTo writes the export beside its name, so that what has the name is whole.
func exportTo(ctx context.Context, p *plane.Plane, tenantID, login string, filter reader.ExportFilter, name string) (view exportView, err error) {
	tenant, err := p.Directory.Tenant(ctx, tenantID)
	if err != nil {
		return view, err
	}
	if _, err := os.Lstat(name); err == nil {
		return view, fmt.Errorf("%s is there already", name)
	}
	file, err := os.OpenFile(name+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return view, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name+".part"))
		}
	}()
	caller := reader.Caller{Tenant: tenant.ID, Shard: tenant.Shard, User: user.ID(tenant.Key, tenant.ID, login)}
	err = reader.New(p.Live, p.DB).Export(ctx, caller, reader.Freshness{}, filter, func(x *reader.Export) error {
		view = exportView{File: name, Edition: x.Stamp.Edition, Seq: x.Stamp.Position.Seq}
		return openmemory.Export(file, x, time.Now())
	})
	if err == nil {
		view.Bytes, err = file.Seek(0, io.SeekCurrent)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return view, err
	}
	return view, os.Rename(name+".part", name)
}
