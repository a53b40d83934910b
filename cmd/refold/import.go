package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

type importView struct {
	File   string             `json:"file"`
	Error  string             `json:"error,omitempty"`
	Report *openmemory.Report `json:"report"`
}

func (c *cli) imports() *cobra.Command {
	cmd := &cobra.Command{Use: "import", Short: "Bring in the data of another system"}
	var tenant, mode, subject string
	var partial bool
	one := &cobra.Command{
		Use: "openmemory FILE...", Short: "Import exports of OpenMemory; may be repeated, and resumed by repeating",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errors.New("import openmemory needs at least one FILE")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, files []string) error {
			if tenant == "" {
				return usageError{errors.New("import needs --tenant")}
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				t, err := p.Directory.Tenant(cmd.Context(), tenant)
				if err != nil {
					return fmt.Errorf("tenant %s: %w (create it: refold tenant create %s)", tenant, err, tenant)
				}
				views := []importView{}
				var failed []error
				for _, file := range files {
					bar := c.progress()
					report, err := openmemory.Import(cmd.Context(), openmemory.Config{
						Path: file, Tenant: t, Shard: p.Shard(t.Shard), Mode: openmemory.Mode(mode), Subject: subject, Actor: operator(),
						Partial: partial, Progress: func(at openmemory.Progress) { bar.tell(fmt.Sprint(at.Phase), at.Done, at.Total) },
					})
					bar.end()
					v := importView{File: file, Report: report}
					if err != nil {
						v.Error = err.Error()
						failed = append(failed, fmt.Errorf("%s: %w", file, err))
					}
					views = append(views, v)
				}
				if live, ok := p.Live.Edition(t.Shard, t.ID); ok && len(failed) == 0 {
					bar := c.progress()
					failed = append(failed, p.Editions.CatchUp(cmd.Context(), live, bar.build)) // what was imported can be read
					bar.end()
				}
				return errors.Join(c.show(views, func(w *tabwriter.Writer) { importTable(w, views) }), errors.Join(failed...))
			})
		},
	}
	f := one.Flags()
	f.StringVar(&tenant, "tenant", "", "tenant to import into")
	variable(f, "tenant", "REFOLD_TENANT")
	f.Var(oneOf(&mode, string(openmemory.Overwrite), string(openmemory.Skip), string(openmemory.Overwrite)), "mode", "skip: leave what is there; overwrite: replace it")
	f.StringVar(&subject, "subject", "", "login to import for; empty = the export's own user")
	f.BoolVar(&partial, "partial", false, "import the good records of a file that has bad ones")
	cmd.AddCommand(one)
	return group(cmd)
}

func importTable(w *tabwriter.Writer, views []importView) {
	row(w, "FILE", "KIND", "READ", "ADDED", "CHANGED", "UNCHANGED", "REFUSED")
	for _, v := range views {
		for _, kind := range []openmemory.Kind{openmemory.KindUser, openmemory.KindApp, openmemory.KindAccessRule, openmemory.KindCategory, openmemory.KindMemory, openmemory.KindLink, openmemory.KindHistory} {
			if n, ok := v.Report.Counts[kind]; ok && n.Read > 0 {
				row(w, v.File, kind, n.Read, n.Added, n.Changed, n.Unchanged, n.Refused)
			}
		}
		for _, r := range v.Report.Refusals {
			row(w, v.File, "REFUSED", r.Kind, r.ID, r.Path, r.Reason)
		}
	}
}
