package report_test

import (
	"crypto/ed25519"
	"errors"
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
