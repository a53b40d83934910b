package main

import (
	"fmt"
	"os/user"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/plane"
	"github.com/spf13/cobra"
)

// operator names who runs this command, for the events it causes.
func operator() string {
	if u, err := user.Current(); err == nil {
		return "operator:" + u.Username
	}
	return "operator"
}

func (c *cli) tenant() *cobra.Command {
	cmd := &cobra.Command{Use: "tenant", Short: "Create, list, limit, suspend and remove tenants"}
	var name string
	create := &cobra.Command{
		Use: "create TENANT", Short: "Create a tenant; one that exists stays as it is", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				t, fresh, err := p.CreateTenant(cmd.Context(), args[0], name, operator())
				if err != nil {
					return err
				}
				v := tenantViewOf(t)
				v.New = &fresh
				return c.show(v, func(w *tabwriter.Writer) {
					if fresh {
						row(w, fmt.Sprintf("tenant %s created in shard %d", t.ID, t.Shard))
					} else {
						row(w, fmt.Sprintf("tenant %s exists, in shard %d", t.ID, t.Shard))
					}
				})
			})
		},
	}
	create.Flags().StringVar(&name, "name", "", "name for people")
	cmd.AddCommand(create, c.tenantList(), c.tenantShow(), c.tenantSuspend(), c.tenantResume(), c.tenantRemove(), c.tenantLimit())
	return group(cmd)
}
