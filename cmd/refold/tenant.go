package main

import (
	"fmt"
	"os/user"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/auth"
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

func (c *cli) token() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Mint tokens with the plane's own key"}
	var request auth.TokenRequest
	var edge string
	mint := &cobra.Command{
		Use: "mint", Short: "Mint a token for a user of a tenant, or for an operator of the plane", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			scopes := cmd.Flags().Changed("scope")
			if request.Operator {
				request.Tenant = ""
				if !scopes {
					request.Scopes = []string{auth.AdminRead, auth.AdminWrite, auth.BackupRead, auth.BackupWrite}
				}
			}
			if (request.Tenant == "") != request.Operator || request.Subject == "" {
				return usageError{fmt.Errorf("token mint needs --subject, and --tenant or --operator")}
			}
			if err := plane.Has(c.config.DataDir); err != nil {
				return err
			}
			key, err := auth.LocalKey(c.config.DataDir)
			if err != nil {
				return err
			}
			if request.Audience, err = audienceOf(edge); err != nil {
				return err
			}
			token, err := key.Mint(request)
			if err != nil {
				return err
			}
			return c.show(map[string]string{"token": token}, func(w *tabwriter.Writer) { row(w, token) })
		},
	}
	f := mint.Flags()
	f.StringVar(&request.Tenant, "tenant", "", "tenant the token is for")
	variable(f, "tenant", "REFOLD_TENANT")
	f.BoolVar(&request.Operator, "operator", false, "for an operator of the plane, who is of no tenant: /v1/admin; --scope is admin and backup, read and write, then")
	f.StringVar(&request.Subject, "subject", "", "login of the user")
	f.StringSliceVar(&request.Scopes, "scope", []string{auth.MemoriesRead, auth.MemoriesWrite, auth.MemoriesDelete, auth.AppsRead}, "scopes")
	f.DurationVar(&request.TTL, "ttl", time.Hour, "how long the token is valid")
	f.StringVar(&edge, "audience", "api", "api or mcp: what the token is for; each refuses the tokens of the other")
	cmd.AddCommand(mint)
	return group(cmd)
}

func audienceOf(edge string) (string, error) {
	switch edge {
	case "api":
		return auth.LocalAudience, nil
	case "mcp":
		return auth.LocalMCPAudience, nil
	}
	return "", usageError{fmt.Errorf("audience %q: use api or mcp", edge)}
}
