package report_test

import (
	"crypto/ed25519"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/refold-dev/refold/internal/postgres"
	"github.com/refold-dev/refold/internal/report"
	"github.com/refold-dev/refold/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

type note struct {
	N int `json:"n"`
}

func newLog(t *testing.T) *report.Log {
	t.Helper()
	db, err := postgres.Open(t.Context(), testenv.Postgres(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	signer, err := report.NewSigner(make([]byte, ed25519.SeedSize))
	if err != nil {
		t.Fatal(err)
	}
	return &report.Log{DB: db, Signer: signer}
}

func (l series) documents(t *testing.T) (out [][]byte) {
	t.Helper()
	err := l.From(t.Context(), 1, "", func(r report.Recorded) error {
		out = append(out, r.Document)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type series struct{ *report.Log }

func TestManyWritersMakeOneSeries(t *testing.T) {
	log := newLog(t)
	const writers, each = 8, 5
	var group errgroup.Group
	for range writers {
		group.Go(func() error {
			for n := range each {
				if _, err := log.Append(t.Context(), "note", note{n}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	checked, err := report.CheckSeries(series{log}.documents(t), log.Signer.Public())
	if err != nil || len(checked) != writers*each || checked[0].Number != 1 {
		t.Fatalf("%d reports, %v", len(checked), err)
	}
	newest, err := log.Newest(t.Context(), "note", 3)
	if err != nil || len(newest) != 3 || newest[0].Number != writers*each || newest[0].Digest != checked[len(checked)-1].Digest() {
		t.Fatalf("newest are %+v, %v", newest, err)
	}
}

// Damage finds what can be told without reading the documents, Check finds everything, and neither finds anything in a
// series that was left alone. The newest report is named beside the series, and in a file.
func TestASeriesIsCheckedInPlace(t *testing.T) {
	const broken = "UPDATE control.report SET document = set_byte(document, 20, get_byte(document, 20) # 1) WHERE number = 2"
	for what, c := range map[string]struct {
		change, damage, fault string
		after                 string // of Damage, once one more is recorded
	}{
		"nothing":                {"", "", "", ""},
		"the newest removed":     {"DELETE FROM control.report WHERE number = 4", "report 4 is missing: the newest ones were removed", "", "report 4 is missing"},
		"the newest two removed": {"DELETE FROM control.report WHERE number > 2", "reports 3 to 4 are missing: the newest ones were removed", "", "reports 3 to 4 are missing"},
		"all removed":            {"DELETE FROM control.report", "reports 1 to 4 are missing: the newest ones were removed", "", "reports 1 to 4 are missing"},
		"one removed":            {"DELETE FROM control.report WHERE number = 2", "report 2 is missing", "", "report 2 is missing"},
		"the first removed":      {"DELETE FROM control.report WHERE number = 1", "report 1 is missing", "", "report 1 is missing"},
		"one changed":            {broken, "", "report 2: ", ""},
		"the mark changed":       {`UPDATE control.setting SET value = replace(value, '"number":4', '"number":3') WHERE name = 'mark_reports'`, "setting mark_reports: ", "", ""},
		"the mark removed with the newest": {"DELETE FROM control.setting WHERE name = 'mark_reports'; DELETE FROM control.report WHERE number = 4",
			"report 4 is missing: the newest ones were removed", "", "report 4 is missing"},
		"the newest replaced": {"UPDATE control.report SET document = o.document, digest = o.digest FROM control.report o WHERE o.number = 3 AND control.report.number = 4",
			"report 4 is not the one that was recorded", "report 4: its row does not say", ""},
	} {
		t.Run(what, func(t *testing.T) {
			log := newLog(t)
			log.JournalID, log.MarkFile = "journal", filepath.Join(t.TempDir(), "newest")
			for n := range 4 {
				_, err := log.Append(t.Context(), "note", note{n})
				check(t, err)
			}
			pool, err := log.DB.Owner(t.Context())
			check(t, err)
			_, err = pool.Exec(t.Context(), c.change)
			check(t, err)
			damage, err := log.Damage(t.Context())
			check(t, err)
			if got := strings.Join(damage, "; "); c.damage == "" && got != "" || !strings.HasPrefix(got, c.damage) {
				t.Errorf("damage %q, want %q", got, c.damage)
			}
			found, err := log.Check(t.Context())
			check(t, err)
			got := strings.Join(found.Faults, "; ")
			if clean := c.damage == "" && c.fault == ""; clean != (got == "") || !strings.Contains(got, c.damage) || !strings.Contains(got, c.fault) {
				t.Errorf("faults %q, want %q and %q", got, c.damage, c.fault)
			}
			_, err = log.Append(t.Context(), "note", note{5})
			check(t, err)
			damage, err = log.Damage(t.Context())
			check(t, err)
			if got := strings.Join(damage, "; "); what != "the newest replaced" && got != c.after {
				t.Errorf("once one more is recorded: damage %q, want %q", got, c.after)
			}
		})
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Whoever may write to the database can change the table, but not so that the check passes.
func TestATamperedSeriesIsFound(t *testing.T) {
	for what, change := range map[string]string{
		"a byte changed":     "UPDATE control.report SET document = set_byte(document, 20, get_byte(document, 20) # 1) WHERE number = 2",
		"one removed":        "DELETE FROM control.report WHERE number = 2",
		"one replaced":       "UPDATE control.report SET document = (SELECT document FROM control.report WHERE number = 1) WHERE number = 2",
		"two changed about":  "UPDATE control.report SET document = (SELECT o.document FROM control.report o WHERE o.number = 5 - control.report.number) WHERE number IN (2, 3)",
		"one cut short":      "UPDATE control.report SET document = substring(document FROM 1 FOR 50) WHERE number = 3",
		"one emptied":        "UPDATE control.report SET document = '' WHERE number = 3",
		"numbers moved down": "DELETE FROM control.report WHERE number = 2; UPDATE control.report SET number = number - 1 WHERE number > 2",
	} {
		t.Run(what, func(t *testing.T) {
			log := newLog(t)
			for n := range 4 {
				if _, err := log.Append(t.Context(), "note", note{n}); err != nil {
					t.Fatal(err)
				}
			}
			pool, err := log.DB.Owner(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := pool.Exec(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			checked, err := report.CheckSeries(series{log}.documents(t), log.Signer.Public())
			if !errors.Is(err, report.ErrForged) && !errors.Is(err, report.ErrBroken) && !errors.Is(err, report.ErrMalformed) {
				t.Fatalf("%d accepted, %v", len(checked), err)
			}
		})
	}
}
