package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

// tenantLimits are a tenant's own; 0 = what the plane gives every tenant.
type tenantLimits struct {
	PerSecond int `json:"per_second"`
	Burst     int `json:"burst"`
	InFlight  int `json:"in_flight"`
}

type tenantView struct {
	Tenant   string             `json:"tenant"`
	Name     string             `json:"name"`
	Standing directory.Standing `json:"standing"`
	Shard    int                `json:"shard"`
	Created  time.Time          `json:"created"`
	Limits   tenantLimits       `json:"limits"`
	Size     *directory.Size    `json:"size,omitempty"`
	New      *bool              `json:"new,omitempty"`
}

func tenantViewOf(t directory.Tenant) tenantView {
	return tenantView{
		Tenant: t.ID, Name: t.Name, Standing: t.Standing, Shard: t.Shard, Created: t.Created, Limits: tenantLimits(t.Limits),
	}
}

func (v tenantView) rows() (n int64) {
	if v.Size != nil {
		for _, count := range v.Size.Rows {
			n += count
		}
	}
	return n
}

// tenantViews are all tenants with their sizes, or the one that is named.
func tenantViews(ctx context.Context, p *plane.Plane, only string) ([]tenantView, error) {
	all, err := p.Directory.List(ctx)
	if err != nil {
		return nil, err
	}
	sizes, err := p.TenantSizes(ctx)
	if err != nil {
		return nil, err
	}
	views := []tenantView{}
	for _, t := range all {
		if only != "" && t.ID != only {
			continue
		}
		v := tenantViewOf(t)
		if size, ok := sizes[t.ID]; ok {
			v.Size = &size
		}
		views = append(views, v)
	}
	if only != "" && len(views) == 0 {
		return nil, fmt.Errorf("tenant %s: %w", only, directory.ErrNoTenant)
	}
	return views, nil
}

func (c *cli) tenantList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the tenants with what they hold", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				views, err := tenantViews(cmd.Context(), p, "")
				if err != nil {
					return err
				}
				return c.show(views, func(w *tabwriter.Writer) { tenantTable(w, views) })
			})
		},
	}
}

func tenantTable(w *tabwriter.Writer, views []tenantView) {
	row(w, "TENANT", "NAME", "STANDING", "SHARD", "EVENTS", "ROWS", "POSITION", "CREATED")
	for _, v := range views {
		size := directory.Size{}
		if v.Size != nil {
			size = *v.Size
		}
		row(w, v.Tenant, v.Name, v.Standing, v.Shard, size.Events, v.rows(), size.Position, v.Created.Format(time.RFC3339))
	}
}

func (c *cli) tenantShow() *cobra.Command {
	return &cobra.Command{
		Use: "show TENANT", Short: "Show a tenant: standing, limits, rows by table", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				views, err := tenantViews(cmd.Context(), p, args[0])
				if err != nil {
					return err
				}
				return c.show(views[0], func(w *tabwriter.Writer) {
					tenantTable(w, views)
					row(w)
					limitRows(w, views[0].Limits)
					if views[0].Size == nil {
						return
					}
					row(w)
					row(w, "TABLE", "ROWS")
					for _, table := range slices.Sorted(maps.Keys(views[0].Size.Rows)) {
						row(w, table, views[0].Size.Rows[table])
					}
				})
			})
		},
	}
}

func limitRows(w *tabwriter.Writer, own tenantLimits) {
	l := limitsOf(directory.Limits(own))
	row(w, "LIMIT", "OWN", "IN FORCE")
	row(w, "requests a second", own.PerSecond, l.PerSecond)
	row(w, "burst", own.Burst, l.Burst)
	row(w, "in flight", own.InFlight, l.InFlight)
}

// change is a command that changes one tenant and shows what it is then.
func (c *cli) tenantChange(use, short, long string, change func(context.Context, *plane.Plane, string) (directory.Tenant, error)) *cobra.Command {
	return &cobra.Command{
		Use: use + " TENANT", Short: short, Long: long, Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				t, err := change(cmd.Context(), p, args[0])
				if err != nil {
					return err
				}
				return c.show(tenantViewOf(t), func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("tenant %s is %s", t.ID, t.Standing))
					if t.Limits != (directory.Limits{}) {
						limitRows(w, tenantLimits(t.Limits))
					}
				})
			})
		},
	}
}

func (c *cli) tenantSuspend() *cobra.Command {
	return c.tenantChange("suspend", "Refuse the commands of a tenant; questions are answered", "Refuse the commands of a tenant; questions are answered.\n\n"+
		"It is stored when this returns. A serving process refuses from when it has read that, milliseconds later; what it had\n"+
		"accepted before stays.",
		func(ctx context.Context, p *plane.Plane, id string) (directory.Tenant, error) {
			return p.SuspendTenant(ctx, id, operator())
		})
}

func (c *cli) tenantResume() *cobra.Command {
	return c.tenantChange("resume", "Take the commands of a suspended tenant again", "",
		func(ctx context.Context, p *plane.Plane, id string) (directory.Tenant, error) {
			return p.ResumeTenant(ctx, id, operator())
		})
}

func (c *cli) tenantRemove() *cobra.Command {
	var yes bool
	cmd := c.tenantChange("remove", "Remove a tenant for ever: its id is never used again", "Remove a tenant for ever.\n\n"+
		"To its users everything is absent from then on, its SQL readers are dropped, and its id is never used again. Its events\n"+
		"stay in the journal, and with them its rows and its part of every backup: a journal never forgets. What a serving\n"+
		"process accepts in the milliseconds until it knows is kept as well, and seen by nobody.",
		func(ctx context.Context, p *plane.Plane, id string) (directory.Tenant, error) {
			if !yes {
				return directory.Tenant{}, usageError{errors.New("a removal cannot be taken back: repeat it with --yes")}
			}
			return p.RemoveTenant(ctx, id, operator())
		})
	cmd.Flags().BoolVar(&yes, "yes", false, "I mean it")
	return cmd
}

func (c *cli) tenantLimit() *cobra.Command {
	var l directory.Limits
	cmd := c.tenantChange("limit", "Set what a tenant may take of the plane; what is not given is as for every tenant", "Set what a tenant may take of the plane; what is not given is as for every tenant.\n\n"+
		"A request with many commands, such as a batch over NATS, a move of many memories or an import, is one request. None of\n"+
		"these limits bounds how many of their commands are worked on at a time: over NATS a process shares its places among the\n"+
		"tenants that want some, and whoever waits too long for one is told to come again.",
		func(ctx context.Context, p *plane.Plane, id string) (directory.Tenant, error) {
			return p.LimitTenant(ctx, id, l, operator())
		})
	f := cmd.Flags()
	f.IntVar(&l.PerSecond, "per-second", 0, "requests a second, over time")
	f.IntVar(&l.Burst, "burst", 0, "requests at once after a quiet time; 0 = --per-second, when that is given")
	f.IntVar(&l.InFlight, "in-flight", 0, "requests at any moment")
	return cmd
}
