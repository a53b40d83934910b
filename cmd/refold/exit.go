package main

import (
	"context"
	"errors"

	"github.com/refold-dev/refold/internal/auth"
	"github.com/refold-dev/refold/internal/backup"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/reconcile"
	"github.com/refold-dev/refold/internal/verify"
	"github.com/spf13/cobra"
)

// The exit codes, for scripts. They are described in `refold help exit-codes`.
const (
	exitOK       = 0
	exitError    = 1
	exitUsage    = 2
	exitMismatch = 3
	exitTimeout  = 4
	exitLocked   = 5
	exitRefused  = 6
)

const exitCodesHelp = `0  done
1  failed; the message says what and what next
2  the command line is wrong
3  a check found something that is not as it must be: rows, a report, a backup, two stores that do not fit
4  lag or time-out: it may be done later
5  the data directory is in use by another process, or there is no plane, or nothing runs, where something must
6  refused: a rule says no, and nothing was changed
`

// errMismatch ends a verification that found differences; they have been printed.
var errMismatch = errors.New("not as it must be")

// usageError is about the command line.
type usageError struct{ error }

func exitCode(err error) int {
	var usage usageError
	var refusal *command.Refusal
	var file *openmemory.FileError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, errMismatch), errors.Is(err, backup.ErrUnreadable), errors.Is(err, plane.ErrNotProven):
		return exitMismatch
	case errors.Is(err, localstack.ErrLocked), errors.Is(err, localstack.ErrNotRunning), errors.Is(err, plane.ErrServing), errors.Is(err, plane.ErrNoPlane):
		return exitLocked
	case errors.As(err, &refusal), errors.As(err, &file), refused(err):
		return exitRefused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, plane.ErrWaiting), errors.Is(err, edition.ErrBehind), errors.Is(err, edition.ErrNeverLevel):
		return exitTimeout
	}
	return exitError
}

func refused(err error) bool {
	for _, refusal := range []error{
		plane.ErrNothingKept, edition.ErrNotVerified, edition.ErrTail, edition.ErrHoldsMore, edition.ErrShape, edition.ErrState, edition.ErrLive,
		edition.ErrCursors, edition.ErrAnswering, edition.ErrDisk, edition.ErrWasLive, edition.ErrNoStandby, edition.ErrNoEdition, directory.ErrNoTenant, directory.ErrSuspended,
		verify.ErrLiveMixed, verify.ErrNoDigests, verify.ErrNotComparable, verify.ErrDigests, postgres.ErrLoginExists, postgres.ErrNoLogin, plane.ErrJournalLost,
		backup.ErrGate, backup.ErrDatabaseInUse, backup.ErrNoBackup, backup.ErrNewerBackup, plane.ErrTenantExists, journal.ErrNotEmpty,
		auth.ErrKeyWaits, auth.ErrKeyStays, auth.ErrNoNextKey, auth.ErrNoPrevious, errTokensLive, edition.ErrPast, journal.ErrFull, journal.ErrNoRoom, plane.ErrBudget, plane.ErrNotRebuilt, postgres.ErrNotDurable, postgres.ErrTransactionPooling, reconcile.ErrRestore, reconcile.ErrServing, reconcile.ErrChanged,
	} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

func exitCodesTopic() *cobra.Command {
	return &cobra.Command{Use: "exit-codes", Short: "What the exit codes mean", Long: exitCodesHelp}
}
