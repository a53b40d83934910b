package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/refold-dev/refold/internal/postgres/db"
)

// Mark says how far a series has come: up to a number, whose element has a digest. It is kept beside the series, with a
// MAC, so that a series whose end was cut off can be told from one that never went on.
type Mark struct {
	JournalID   string `json:"journal_id,omitempty"`
	Incarnation uint64 `json:"incarnation,omitempty"`
	Number      int64  `json:"number"`
	Digest      string `json:"digest"`
}

// storedMark is a Mark in control.setting.
type storedMark struct {
	Mark
	Key string `json:"key"` // KeyID of the signer
	MAC []byte `json:"mac"`
}

// ErrMark: a mark is not as it was written. The one who changed it may have cut off the series as well.
var ErrMark = errors.New("the mark is not as it was written: it was changed by hand")

// MarkPrefix begins the names of settings that hold marks.
const MarkPrefix = "mark_"

func (s *Signer) macOfMark(name string, m Mark) []byte {
	return s.MAC("control.setting", name, m.JournalID, m.Incarnation, m.Number, m.Digest)
}

// PutMark writes a mark in a transaction that moves its series.
func (s *Signer) PutMark(ctx context.Context, q *db.Queries, name string, m Mark) error {
	text, err := json.Marshal(storedMark{m, KeyID(s.Public()), s.macOfMark(name, m)})
	if err != nil {
		return err
	}
	if err := q.SettingSet(ctx, db.SettingSetParams{Name: MarkPrefix + name, Value: string(text)}); err != nil {
		return fmt.Errorf("mark %s: %w", name, err)
	}
	return nil
}

// GetMark reads a mark; nil where none was written, or by a process with another key. It fails with ErrMark.
func (s *Signer) GetMark(ctx context.Context, q *db.Queries, name string) (*Mark, error) {
	all, err := q.SettingList(ctx)
	if err != nil {
		return nil, fmt.Errorf("mark %s: %w", name, err)
	}
	for _, one := range all {
		if one.Name != MarkPrefix+name {
			continue
		}
		var m storedMark
		if err := json.Unmarshal([]byte(one.Value), &m); err != nil {
			return nil, fmt.Errorf("setting %s: %w", one.Name, ErrMark)
		}
		if m.Key != KeyID(s.Public()) {
			return nil, nil
		}
		if string(m.MAC) != string(s.macOfMark(name, m.Mark)) {
			return nil, fmt.Errorf("setting %s: %w", one.Name, ErrMark)
		}
		return &m.Mark, nil
	}
	return nil, nil
}

// readMark reads a mark from a file; nil where there is none of this journal.
func readMark(file, journalID string) (*Mark, error) {
	if file == "" || journalID == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m Mark
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if m.JournalID != journalID {
		return nil, nil
	}
	return &m, nil
}

// writeMark leaves either the whole file or the one before. A mark that is lost in a crash, or overtaken by another
// process's, makes the file say less, and nothing wrong.
func writeMark(file string, m Mark) error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	_, err = temporary.Write(append(text, '\n'))
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Sync(), temporary.Close())
	if err == nil {
		err = os.Rename(temporary.Name(), file)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
	}
	return err
}
