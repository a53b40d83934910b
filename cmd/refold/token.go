package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/tokens"
	"github.com/spf13/cobra"
)

func (c *cli) token() *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Mint, list and revoke tokens, and rotate the plane's own key"}
	cmd.AddCommand(c.tokenMint(), c.tokenList(), c.tokenRevoke(), c.tokenRotate())
	return group(cmd)
}

// scopesTable lists the scopes for a help text.
func scopesTable() string {
	var out strings.Builder
	for _, s := range auth.Scopes() {
		fmt.Fprintf(&out, "  %-17s %s\n", s.Name, s.Doc)
	}
	return out.String()
}

// operatorScopes are what an operator's token has when none are asked for.
var operatorScopes = []string{auth.AdminRead, auth.AdminWrite, auth.BackupRead, auth.BackupWrite}

func (c *cli) tokenMint() *cobra.Command {
	var request auth.TokenRequest
	var edge string
	cmd := &cobra.Command{
		Use: "mint", Short: "Mint a token for a user of a tenant, or for an operator of the plane", Args: exactly(0),
		Long: "Mint a token for a user of a tenant, or for an operator of the plane. It is shown once and kept nowhere; what is\n" +
			"recorded is its id, for whom it is, its scopes and its times.\n\n" +
			"With --app the token is that app alone: its access rules bind every question and command, whatever the client\n" +
			"calls itself. Such a token takes only these scopes: " + strings.Join(auth.AppScopes(), ", ") + ".\n\nScopes:\n" + scopesTable(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if request.Operator {
				request.Tenant = ""
				if !cmd.Flags().Changed("scope") {
					request.Scopes = operatorScopes
				}
			}
			if err := checkMint(request); err != nil {
				return usageError{err}
			}
			var err error
			if request.Audience, err = audienceOf(edge); err != nil {
				return err
			}
			if err := plane.Has(c.config.DataDir); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.mint(cmd.Context(), p, request) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&request.Tenant, "tenant", "", "tenant the token is for")
	variable(f, "tenant", "REFOLD_TENANT")
	f.BoolVar(&request.Operator, "operator", false, "for an operator of the plane, who is of no tenant: /v1/admin; --scope is admin and backup, read and write, then")
	f.StringVar(&request.Subject, "subject", "", "login of the user")
	f.StringVar(&request.App, "app", "", "app that the token is bound to; none = any app that the client names")
	f.StringSliceVar(&request.Scopes, "scope", []string{auth.MemoriesRead, auth.MemoriesWrite, auth.MemoriesDelete, auth.AppsRead}, "scopes, see above")
	f.DurationVar(&request.TTL, "ttl", time.Hour, "how long the token is valid, at most 2160h (90 days)")
	f.StringVar(&edge, "audience", "api", "api or mcp: what the token is for; each refuses the tokens of the other")
	c.completes(cmd)
	return cmd
}

// checkMint says what is wrong with a request, beside what only the plane knows.
func checkMint(r auth.TokenRequest) error {
	var faults []error
	if (r.Tenant == "") != r.Operator || r.Subject == "" {
		faults = append(faults, errors.New("token mint needs --subject, and --tenant or --operator"))
	}
	for _, scope := range r.Scopes {
		if !slices.Contains(auth.AllScopes(), scope) {
			faults = append(faults, fmt.Errorf("--scope: there is no scope %q; the nearest is %s, see `refold token mint --help`", scope, nearest(scope, auth.AllScopes())))
		} else if r.App != "" && !slices.Contains(auth.AppScopes(), scope) {
			faults = append(faults, fmt.Errorf("--scope: a token with --app cannot have %s; use of %s", scope, strings.Join(auth.AppScopes(), ", ")))
		}
	}
	if r.TTL <= 0 || r.TTL > auth.LifetimeMax {
		faults = append(faults, fmt.Errorf("--ttl is %s: use more than zero, and at most %s", r.TTL, auth.LifetimeMax))
	}
	if r.App != "" && (r.Operator || !auth.ValidApp(r.App)) {
		faults = append(faults, fmt.Errorf("--app %q: use 1 to 200 characters without control characters, and no --operator", r.App))
	}
	return errors.Join(faults...)
}

// nearest is the word that is most like another.
func nearest(word string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return distance(word, a) - distance(word, b) })
}

type mintedView struct {
	Token   string `json:"token"`
	ID      string `json:"id"`
	Expires string `json:"expires"`
}

func (c *cli) mint(ctx context.Context, p *plane.Plane, request auth.TokenRequest) error {
	if !request.Operator {
		if err := mustHaveTenant(ctx, p, request.Tenant, p.Directory.Tenant); err != nil {
			return err
		}
	}
	key, err := auth.LocalKey(p.DataDir)
	if err != nil {
		return err
	}
	minted, err := p.Tokens.Mint(ctx, key, request, operator())
	if err != nil {
		return err
	}
	view := mintedView{minted.Token, minted.ID, minted.Expires.UTC().Format(time.RFC3339)}
	return c.show(view, func(w *tabwriter.Writer) { row(w, view.Token) })
}

// mustHaveTenant names the tenant that may be meant when there is none of this id.
func mustHaveTenant(ctx context.Context, p *plane.Plane, id string, find func(context.Context, string) (directory.Tenant, error)) error {
	_, err := find(ctx, id)
	if !errors.Is(err, directory.ErrNoTenant) {
		return err
	}
	all, listErr := p.Directory.List(ctx)
	var known []string
	for _, t := range all {
		if t.Standing != directory.Removed {
			known = append(known, t.ID)
		}
	}
	if listErr != nil || len(known) == 0 {
		return fmt.Errorf("tenant %s: %w: `refold tenant create` makes one", id, err)
	}
	return fmt.Errorf("tenant %s: %w; the nearest is %s, see `refold tenant list`", id, err, nearest(id, known))
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

type revocationView struct {
	Tenant    string    `json:"tenant,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	ID        string    `json:"id,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"` // of those that are no single token
	Until     time.Time `json:"until"`
	Revoked   time.Time `json:"revoked"`
	By        string    `json:"by"`
	Living    *int      `json:"living,omitempty"` // recorded tokens that it has ended, which had not expired
}

func revocationViewOf(r tokens.Revocation) revocationView {
	v := revocationView{Tenant: r.Tenant, Subject: r.Subject, ID: r.TokenID, Until: r.Until, Revoked: r.At, By: r.By}
	if r.TokenID == "" {
		v.NotBefore = r.NotBefore
	}
	return v
}

type keyView struct {
	auth.LocalKeyInfo
	Living int64 `json:"living"` // recorded tokens that have not expired
}

type tokensView struct {
	Tokens      []tokens.Token   `json:"tokens"`
	Revocations []revocationView `json:"revocations"`
	Keys        []keyView        `json:"keys"`
}

func (c *cli) tokenList() *cobra.Command {
	var filter tokens.Filter
	var operators bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the tokens that were minted here, what was revoked, and the plane's own keys", Args: exactly(0),
		Long: "List the tokens that were minted here and have not expired, newest first; what was revoked, also of other issuers; and\n" +
			"the plane's own keys. What has expired is forgotten after 30 days.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if filter.Tenant, err = ofOperators(filter.Tenant, operators); err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				v, err := tokensOf(cmd.Context(), p, filter)
				if err != nil {
					return err
				}
				return c.show(v, func(w *tabwriter.Writer) { tokensTable(w, v) })
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&filter.Tenant, "tenant", "", "only those of a tenant")
	f.BoolVar(&operators, "operator", false, "only those of operators")
	f.StringVar(&filter.Subject, "subject", "", "only those of a login")
	f.BoolVar(&filter.Expired, "expired", false, "those that have expired as well")
	c.completes(cmd)
	return cmd
}

func tokensOf(ctx context.Context, p *plane.Plane, f tokens.Filter) (v tokensView, err error) {
	if v.Tokens, err = p.Tokens.List(ctx, f); err != nil {
		return v, err
	}
	revocations, err := p.Tokens.Revocations(ctx)
	if err != nil {
		return v, err
	}
	v.Revocations = []revocationView{}
	for _, r := range revocations {
		if (f.Tenant == "" || r.Tenant == "" || r.Tenant == f.Tenant) && (f.Subject == "" || r.Subject == "" || r.Subject == f.Subject) {
			v.Revocations = append(v.Revocations, revocationViewOf(r))
		}
	}
	keys, err := auth.LocalKeys(p.DataDir)
	if err != nil {
		return v, err
	}
	for _, key := range keys {
		living, err := p.Tokens.Living(ctx, key.ID)
		if err != nil {
			return v, err
		}
		v.Keys = append(v.Keys, keyView{key, living})
	}
	return v, nil
}

func tokensTable(w *tabwriter.Writer, v tokensView) {
	row(w, "ID", "TENANT", "SUBJECT", "APP", "AUDIENCE", "KEY", "ISSUED", "EXPIRES", "STATE", "SCOPES")
	now := time.Now()
	for _, t := range v.Tokens {
		state := "valid"
		switch {
		case t.Revoked:
			state = "revoked"
		case !now.Before(t.Expires):
			state = "expired"
		}
		row(w, t.ID, t.Tenant, t.Subject, t.App, t.Audience, t.Key, t.Issued.Format(time.RFC3339), t.Expires.Format(time.RFC3339), state, strings.Join(t.Scopes, ","))
	}
	if len(v.Tokens) == tokens.ListMax {
		row(w, "there are more: narrow the list with --tenant and --subject")
	}
	if len(v.Revocations) > 0 {
		row(w)
		row(w, "REVOKED", "TENANT", "SUBJECT", "ISSUED UNTIL", "AT", "BY")
		for _, r := range v.Revocations {
			what, until := r.ID, "any time"
			if what == "" {
				what, until = "all", r.NotBefore.Format(time.RFC3339)
			}
			row(w, what, r.Tenant, r.Subject, until, r.Revoked.Format(time.RFC3339), r.By)
		}
	}
	row(w)
	keysTable(w, v.Keys)
}

func keysTable(w *tabwriter.Writer, keys []keyView) {
	row(w, "KEY", "ROLE", "LIVING TOKENS")
	for _, key := range keys {
		row(w, key.ID, key.Role, key.Living)
	}
}

func (c *cli) tokenRevoke() *cobra.Command {
	var what auth.Revocation
	var operators bool
	var before string
	cmd := &cobra.Command{
		Use: "revoke", Short: "Take tokens back before they expire, of whatever issuer", Args: exactly(0),
		Long: "Take tokens back before they expire, of whatever issuer: one by its id (jti), or all that were issued until now, or until\n" +
			"--before, to a login or for a tenant. Those that are issued later are good.\n\n" +
			"It is stored when this returns. Every serving process refuses them within 5 seconds and ends what they have open: streams,\n" +
			"long polls, sessions of agents, connections of producers.",
		Example: "  refold token revoke --id 4K2V7ZQ3...\n  refold token revoke --tenant acme --subject ann\n  refold token revoke --tenant acme --before 2026-01-31T12:00:00Z\n  refold token revoke --operator --subject olga",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if what.Tenant, err = ofOperators(what.Tenant, operators); err != nil {
				return err
			}
			switch {
			case what.TokenID == "" && what.Tenant == "", what.Subject != "" && what.Tenant == "":
				return usageError{errors.New("token revoke needs --id, or --tenant or --operator, which --subject needs as well")}
			case what.TokenID != "" && before != "":
				return usageError{errors.New("token revoke --id takes no --before: one token is revoked, whenever it was issued")}
			}
			if before != "" {
				at, err := time.Parse(time.RFC3339, before)
				if err != nil {
					return usageError{fmt.Errorf("--before %q: use a time such as 2026-01-31T12:00:00Z", before)}
				}
				what.NotBefore = at
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.revoke(cmd.Context(), p, what) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&what.TokenID, "id", "", "id of one token; with --tenant only a token of that tenant")
	f.StringVar(&what.Tenant, "tenant", "", "tokens of a tenant, or with --subject of one of its logins")
	f.BoolVar(&operators, "operator", false, "tokens of operators, or with --subject of one of them")
	f.StringVar(&what.Subject, "subject", "", "tokens of a login")
	f.StringVar(&before, "before", "", "those that were issued until this time; none = until now")
	c.completes(cmd)
	return cmd
}

// ofOperators puts the plane's own tenant in the place of a tenant.
func ofOperators(tenant string, operators bool) (string, error) {
	switch {
	case operators && tenant != "":
		return "", usageError{errors.New("--tenant and --operator: use one of them, an operator is of no tenant")}
	case operators:
		return envelope.PlaneTenant, nil
	}
	return tenant, nil
}

func (c *cli) revoke(ctx context.Context, p *plane.Plane, what auth.Revocation) error {
	if what.Tenant != "" && what.Tenant != envelope.PlaneTenant {
		if err := mustHaveTenant(ctx, p, what.Tenant, p.Directory.Find); err != nil {
			return err
		}
	}
	before, err := p.Tokens.List(ctx, tokens.Filter{Tenant: what.Tenant, Subject: what.Subject, ID: what.TokenID})
	if err != nil {
		return err
	}
	made, err := p.Tokens.Revoke(ctx, what, operator())
	if errors.Is(err, tokens.ErrFuture) {
		return usageError{fmt.Errorf("--before: %w: tokens that are issued later cannot be taken back now", err)}
	}
	if err != nil {
		return err
	}
	v, living := revocationViewOf(made), 0
	for _, t := range before {
		if !t.Revoked && (what.TokenID != "" || !t.Issued.After(made.NotBefore)) {
			living++
		}
	}
	v.Living = &living
	return c.show(v, func(w *tabwriter.Writer) {
		row(w, fmt.Sprintf("revoked: %d of the tokens that were minted here, and those of other issuers that fit", living))
		if what.TokenID != "" && living == 0 {
			row(w, "no token of this id that could still be used was minted here")
		}
	})
}

func (c *cli) tokenRotate() *cobra.Command {
	var prepare, finish, yes bool
	cmd := &cobra.Command{
		Use: "rotate", Short: "Sign with another key; the tokens of the old one stay good until it is removed", Args: exactly(0),
		Long: "Sign with another key. The keys are in the file token.key of the data folder, which running processes follow.\n\n" +
			"  refold token rotate            makes a key, waits until all processes of this folder believe it, and signs with it\n" +
			"  refold token rotate --finish   removes the old key: its tokens end\n\n" +
			"With data folders on several machines: `refold token rotate --prepare` makes the key, copy token.key to all machines (write\n" +
			"it beside the old file, then rename it), and run `refold token rotate` on the machine where tokens are minted. After --finish copy it once more.\n\n" +
			"A key that somebody else has read: rotate, --finish --yes, mint anew.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := c.config.DataDir
			if prepare && finish || yes && !finish {
				return usageError{errors.New("token rotate: --prepare and --finish are two steps, and --yes is for --finish")}
			}
			if err := plane.Has(dir); err != nil {
				return err
			}
			if prepare {
				if err := auth.PrepareKey(dir); err != nil {
					return err
				}
			} else if finish {
				if err := c.endKey(cmd.Context(), yes); err != nil {
					return err
				}
			} else if err := rotate(cmd.Context(), dir); err != nil {
				return err
			}
			keys, err := auth.LocalKeys(dir)
			if err != nil {
				return err
			}
			return c.show(map[string]any{"keys": keys}, func(w *tabwriter.Writer) {
				row(w, "KEY", "ROLE")
				for _, key := range keys {
					row(w, key.ID, key.Role)
				}
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&prepare, "prepare", false, "only make the key that signs next")
	f.BoolVar(&finish, "finish", false, "remove the key that signed before")
	f.BoolVar(&yes, "yes", false, "with --finish: also while tokens of that key have not expired")
	return cmd
}

// rotate makes a key, unless one was prepared, and signs with it once every process of the folder has read it.
func rotate(ctx context.Context, dir string) error {
	err := auth.PrepareKey(dir)
	if err != nil && !errors.Is(err, auth.ErrKeyWaits) {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(3 * auth.KeysFresh):
	}
	return auth.PromoteKey(dir)
}

// errTokensLive: the key is needed.
var errTokensLive = errors.New("they would end")

// endKey removes the previous key. Only with yes while its tokens live; then no store is asked, so that it also works when
// none answers.
func (c *cli) endKey(ctx context.Context, yes bool) error {
	keys, err := auth.LocalKeys(c.config.DataDir)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(keys, func(k auth.LocalKeyInfo) bool { return k.Role == auth.Previous })
	if i >= 0 && !yes {
		err := c.with(ctx, func(p *plane.Plane) error {
			living, err := p.Tokens.Living(ctx, keys[i].ID)
			if err == nil && living > 0 {
				err = fmt.Errorf("%d tokens that have not expired are signed by %s: %w; wait (`refold token list`), or repeat this with --yes", living, keys[i].ID, errTokensLive)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return auth.EndKey(c.config.DataDir)
}

// completes offers values of --scope, --tenant and --app to shells. What only the plane knows is asked of one that runs;
// nothing is started.
func (c *cli) completes(cmd *cobra.Command) {
	offer := func(flag string, values func(context.Context) []string) {
		if cmd.Flags().Lookup(flag) == nil {
			return
		}
		_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
			ctx := cmd.Context()
			if ctx == nil {
				ctx = context.Background()
			}
			ctx, cancel := context.WithTimeout(ctx, completionMax)
			defer cancel()
			return values(ctx), cobra.ShellCompDirectiveNoFileComp
		}) // it fails only for a flag that is not there
	}
	offer("scope", func(context.Context) []string {
		var out []string
		for _, s := range auth.Scopes() {
			out = append(out, s.Name+"\t"+s.Doc)
		}
		return out
	})
	offer("tenant", func(ctx context.Context) (out []string) {
		c.ofRunning(ctx, func(p *plane.Plane) error {
			all, err := p.Directory.List(ctx)
			for _, t := range all {
				if t.Standing != directory.Removed {
					out = append(out, t.ID+"\t"+t.Name)
				}
			}
			return err
		})
		return out
	})
	offer("app", func(ctx context.Context) (out []string) {
		tenant, _ := cmd.Flags().GetString("tenant")
		c.ofRunning(ctx, func(p *plane.Plane) (err error) {
			out, err = p.Tokens.Apps(ctx, tenant)
			return err
		})
		return out
	})
}

// completionMax bounds how long a shell waits.
const completionMax = 3 * time.Second

// ofRunning asks a plane that runs. Completion says nothing about what fails.
func (c *cli) ofRunning(ctx context.Context, ask func(*plane.Plane) error) {
	config := c.existing()
	config.Join, config.Logger = true, nil
	p, err := plane.Open(ctx, config)
	if err != nil {
		return
	}
	_ = ask(p)
	_ = p.Close()
}
