package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/fold"
	"github.com/refold-dev/refold/internal/memory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/user"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// build makes an edition by replay and waits until it is level.
func (s *story) build(ctx context.Context) (int64, error) {
	bar := s.progress()
	number, err := s.plane.Editions.Build(ctx, bar.build)
	if err == nil {
		err = s.plane.Editions.CatchUp(ctx, number, bar.build)
	}
	bar.end()
	return number, err
}

// prove verifies an edition and says what was found.
func (s *story) prove(ctx context.Context, number int64) (*verify.Report, error) {
	reports, err := verifyAll(ctx, s.plane, number, verify.Config{}, &progress{out: s.stderr})
	if err != nil {
		return nil, err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 4, 2, ' ', 0)
	row(w, "   verify")
	reportTable(w, reports)
	return reports[0], w.Flush()
}

// next builds an edition, proves it and cuts over to it.
func (s *story) next(ctx context.Context) error {
	number, err := s.build(ctx)
	if err != nil {
		return err
	}
	report, err := s.prove(ctx, number)
	if err != nil {
		return err
	}
	if !report.Clean {
		return fmt.Errorf("edition %d: %w", number, errMismatch)
	}
	flips, err := s.plane.Editions.Cutover(ctx, number)
	if err != nil {
		return err
	}
	for _, f := range flips {
		s.say("cut over to edition %d at sequence %d, edition %d stands by", f.Edition, f.Seq, f.Previous)
	}
	s.edition = number
	return s.plane.Live.Refresh(ctx, s.plane.DB)
}

// migrate builds, verifies and cuts over while a writer and a reader go on.
func (s *story) migrate(ctx context.Context) error {
	s.title("2. A migration: edition 2 is built by replay while writes go on")
	t, err := s.traffic(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.next(ctx), t.end(s))
}

// tamper changes one row behind refold's back and lets verify find it.
func (s *story) tamper(ctx context.Context) error {
	s.title("3. Somebody changes a row behind refold's back")
	id, out, err := s.add(ctx, s.acme, "row-to-tamper-with")
	if err != nil {
		return err
	}
	owner := user.ID(s.acme.Key, s.acme.ID, demoSubject)
	if _, err := s.execute(ctx, s.acme, id, "pause-it", false, memory.Pause{By: owner}); err != nil {
		return err
	}
	if err := s.plane.Editions.CatchUp(ctx, s.edition, nil); err != nil {
		return err
	}
	pool, err := s.plane.DB.Owner(ctx)
	if err != nil {
		return err
	}
	statement := fmt.Sprintf("UPDATE %s.memory SET content = 'nobody ever said this' WHERE tenant_id = '%s' AND id = '%s'", postgres.SchemaName(s.edition), s.acme.ID, id)
	tag, err := pool.Exec(ctx, statement)
	if err != nil || tag.RowsAffected() != 1 {
		return fmt.Errorf("tamper: %d rows: %w", tag.RowsAffected(), err)
	}
	s.say("%s", statement)
	report, err := s.prove(ctx, s.edition)
	if err != nil {
		return err
	}
	if len(report.Differences) != 1 || len(report.Differences[0].Columns) != 1 || report.Differences[0].Columns[0].Seq != out.Seq {
		return fmt.Errorf("the tampering was not named as it is: %+v", report.Differences)
	}
	s.say("explain memory %s", id)
	steps, err := verify.Explain(ctx, s.plane.Journal.Shard(s.acme.Shard), fold.Tables, fold.Apply, envelope.Key{Tenant: s.acme.ID, Entity: "memory", ID: id.String()}, 0)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(s.stdout, 0, 4, 2, ' ', 0)
	explainTable(w, steps)
	return w.Flush()
}

// recover rebuilds, rolls back and retires.
func (s *story) recover(ctx context.Context) error {
	s.title("4. Rebuild from the journal, roll back, retire; kill a projector")
	if err := s.next(ctx); err != nil {
		return err
	}
	if _, err := s.plane.Editions.Rollback(ctx); !errors.Is(err, edition.ErrNotVerified) {
		return fmt.Errorf("a rollback to the tampered edition was not refused: %w", err)
	}
	s.say("a rollback to the tampered edition is refused")
	if err := s.next(ctx); err != nil {
		return err
	}
	flips, err := s.plane.Editions.Rollback(ctx)
	if err != nil {
		return err
	}
	s.edition = flips[0].Edition
	s.say("rolled back to edition %d: one row, no waiting", s.edition)
	for _, old := range []int64{1, 2} {
		if err := s.plane.Editions.Retire(ctx, old, 0); err != nil {
			return err
		}
		s.say("edition %d is retired", old)
	}
	return nil
}

const killCommands = 300

// kill lets another process project, which SIGKILL ends in the middle of a batch, and shows that all is well.
func (s *story) kill(ctx context.Context) error {
	s.stop()
	if err := <-s.done; err != nil {
		return err
	}
	s.stop = nil
	victim, err := s.projectorProcess(ctx, "REFOLD_FAILPOINTS=projector.before-commit=kill@3")
	if err != nil {
		return err
	}
	for i := range killCommands {
		if _, _, err := s.add(ctx, s.blue, fmt.Sprint("under-fire-", i)); err != nil {
			return err
		}
	}
	err = victim.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() {
		return fmt.Errorf("the projector was not killed by a signal: %w", err)
	}
	s.say("a projector process was ended by %q with a batch written and not committed, %d commands went on", exit.String(), killCommands)
	if err := s.start(ctx); err != nil {
		return err
	}
	if err := s.plane.Editions.CatchUp(ctx, s.edition, nil); err != nil {
		return err
	}
	report, err := s.prove(ctx, s.edition)
	if err != nil {
		return err
	}
	if !report.Clean {
		return errMismatch
	}
	s.say("nothing lost, nothing doubled")
	return nil
}

// projectorProcess starts this program once more, as a projector of the same stack and nothing else.
func (s *story) projectorProcess(ctx context.Context, environment ...string) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, "project", "--data", s.config.DataDir)
	cmd.Env = append(append(os.Environ(), childMark+"=1"), environment...)
	cmd.Stderr = s.stderr
	cmd.WaitDelay = 10 * time.Second
	return cmd, cmd.Start()
}

// childMark tells a test binary that it was started as refold itself.
const childMark = "REFOLD_AS_CHILD"

// project runs the projectors beside a stack that another process owns.
func (c *cli) project() *cobra.Command {
	return &cobra.Command{
		Use: "project", Short: "Run projectors only, beside a process that owns the stack", Args: exactly(0), Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			config := c.existing()
			config.Join = true
			p, err := plane.Open(cmd.Context(), config)
			if err != nil {
				return err
			}
			return errors.Join(p.Run(cmd.Context()), p.Close())
		},
	}
}
