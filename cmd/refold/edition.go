package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"text/tabwriter"

	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/httpapi"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

func (c *cli) edition() *cobra.Command {
	cmd := &cobra.Command{Use: "edition", Short: "Build, abort, verify, cut over, roll back and retire editions of the tables"}
	cmd.AddCommand(c.editionList(), c.editionPlan(), c.editionBuild(), c.editionAbort(), c.editionVerify(), c.editionCutover(), c.editionRollback(), c.editionRetire(), c.editionResume())
	return group(cmd)
}

func (c *cli) editionList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the editions", Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.showEditions(cmd.Context(), p) })
		},
	}
}

func (c *cli) showEditions(ctx context.Context, p *plane.Plane) error {
	all, err := p.Editions.List(ctx)
	if err != nil {
		return err
	}
	return c.show(all, func(w *tabwriter.Writer) { editionTable(w, all) })
}

func editionTable(w *tabwriter.Writer, all []edition.Info) {
	row(w, "EDITION", "STATE", "SHARD", "", "PHASE", "CHECKPOINT", "VERIFIED AT", "HELD", "SHAPE")
	for _, e := range all {
		for _, s := range e.Shards {
			live, verified, shape := "", "-", e.Shape
			if s.Live {
				live = "LIVE"
			}
			if s.VerifiedSeq != nil {
				verified = strconv.FormatInt(*s.VerifiedSeq, 10)
			}
			if !e.Ours {
				shape += " (of another binary)"
			}
			row(w, e.Number, e.State, s.Shard, live, s.State, s.Seq, verified, s.Held, shape)
		}
		if len(e.Shards) == 0 {
			row(w, e.Number, e.State, "-", "", "begun", 0, "-", 0, e.Shape)
		}
	}
}

func (c *cli) editionVerify() *cobra.Command {
	return &cobra.Command{
		Use: "verify EDITION", Short: "Hold an edition's rows against the journal, before a cutover", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := editionNumber(args[0])
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error { return c.verifyEdition(cmd.Context(), p, number, verify.Config{}) })
		},
	}
}

func editionNumber(s string) (int64, error) {
	number, err := strconv.ParseInt(s, 10, 64)
	if err != nil || number < 1 {
		return 0, usageError{fmt.Errorf("edition %q is no number; see `refold edition list`", s)}
	}
	return number, nil
}

func (c *cli) editionCutover() *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use: "cutover EDITION", Short: "Make a verified edition live, or let one tenant read it", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := editionNumber(args[0])
			if err != nil {
				return err
			}
			return c.flips(cmd.Context(), func(p *plane.Plane) ([]edition.Flip, error) {
				if tenant == "" {
					return p.Editions.Cutover(cmd.Context(), number)
				}
				t, err := p.Directory.Tenant(cmd.Context(), tenant)
				if err != nil {
					return nil, err
				}
				return one(p.Editions.CutoverTenant(cmd.Context(), number, t.Shard, t.ID))
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant; all others stay where they are (back: `rollback --tenant`)")
	return cmd
}

func (c *cli) editionRollback() *cobra.Command {
	var tenant string
	var holdMore bool
	cmd := &cobra.Command{
		Use: "rollback", Short: "Make the previously live edition live again", Args: exactly(0),
		Long: "Make the previously live edition live again. It is done with the binary of that edition, and refused with a list\n" +
			"when the journal holds kinds of events by now which that binary cannot fold.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return c.flips(cmd.Context(), func(p *plane.Plane) ([]edition.Flip, error) {
				p.Editions.HoldMore = holdMore
				if tenant == "" {
					return c.rollback(cmd.Context(), p)
				}
				t, err := p.Directory.Tenant(cmd.Context(), tenant)
				if err != nil {
					return nil, err
				}
				return one(p.Editions.RollbackTenant(cmd.Context(), t.Shard, t.ID))
			})
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only this tenant: it follows its shard again")
	cmd.Flags().BoolVar(&holdMore, "hold-more", false, "go back although entities will be held back; that is recorded")
	return cmd
}

// rollback lets the standby edition come level first: nobody may have kept it so since its binary ended.
func (c *cli) rollback(ctx context.Context, p *plane.Plane) ([]edition.Flip, error) {
	number, err := p.Editions.Standby(ctx)
	if err != nil {
		return nil, err
	}
	if p.Live.Serves(0, number) {
		bar := c.progress()
		err = p.Editions.CatchUp(ctx, number, bar.build)
		bar.end()
	}
	if err != nil {
		return nil, err
	}
	return p.Editions.Rollback(ctx)
}

func one(flip *edition.Flip, err error) ([]edition.Flip, error) {
	if flip == nil {
		return nil, err
	}
	return []edition.Flip{*flip}, err
}

// flips shows what was flipped, also when not all of it was.
func (c *cli) flips(ctx context.Context, do func(*plane.Plane) ([]edition.Flip, error)) error {
	return c.with(ctx, func(p *plane.Plane) error {
		flips, err := do(p)
		if err != nil && len(flips) == 0 {
			return err
		}
		return errors.Join(c.showFlips(flips), err)
	})
}

func (c *cli) showFlips(flips []edition.Flip) error {
	if flips == nil {
		flips = []edition.Flip{}
	}
	return c.show(flips, func(w *tabwriter.Writer) {
		for _, f := range flips {
			if f.Tenant != "" {
				row(w, fmt.Sprintf("tenant %s: edition %d from sequence %d on, before it was %d", f.Tenant, f.Edition, f.Seq, f.Previous))
				continue
			}
			row(w, fmt.Sprintf("shard %d: edition %d is live from sequence %d on, edition %d stands by", f.Shard, f.Edition, f.Seq, f.Previous))
		}
		if len(flips) == 0 {
			row(w, "nothing changed")
		}
	})
}

func (c *cli) editionRetire() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "retire EDITION", Short: "Remove an edition for good", Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := editionNumber(args[0])
			if err != nil {
				return err
			}
			life := httpapi.CursorLifetime
			if now {
				life = 0
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.Editions.Retire(cmd.Context(), number, life); err != nil {
					return err
				}
				return c.show(map[string]int64{"retired": number}, func(w *tabwriter.Writer) { row(w, fmt.Sprintf("edition %d is retired", number)) })
			})
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "do not wait until cursors into it have expired")
	return cmd
}

func (c *cli) editionResume() *cobra.Command {
	return &cobra.Command{
		Use: "resume EDITION STATE", Short: "Let a stopped edition go on, by the name of its stop state (see status)", Args: exactly(2),
		Long: "Let a stopped edition go on, by the name of its stop state (see `refold status`). The state comes back as long as it\n" +
			"holds. After a restore of NATS or Postgres use `refold reconcile` instead, which says what fits and what is lost.",
		RunE: func(cmd *cobra.Command, args []string) error {
			number, err := editionNumber(args[0])
			if err != nil {
				return err
			}
			return c.with(cmd.Context(), func(p *plane.Plane) error {
				if err := p.Editions.Resume(cmd.Context(), number, args[1]); err != nil {
					return err
				}
				return c.show(map[string]any{"resumed": number, "state": args[1]}, func(w *tabwriter.Writer) {
					row(w, fmt.Sprintf("edition %d goes on; a state that still holds will come back", number))
				})
			})
		},
	}
}
