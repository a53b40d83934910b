package httpapi

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

func oldExport(s *server, q *oldRequest) (any, error) {
	var body struct {
		UserID string     `json:"user_id"`
		AppID  *uuid.UUID `json:"app_id"`
		From   *int64     `json:"from_date"`
		To     *int64     `json:"to_date"`
	}
	if _, err := q.decode(&body, &body.UserID); err != nil {
		return nil, err
	}
	filter := reader.ExportFilter{AppID: body.AppID}
	var errFrom, errTo error
	filter.From, errFrom = oldInstant("/from_date", body.From)
	filter.To, errTo = oldInstant("/to_date", body.To)
	if err := errors.Join(errFrom, errTo); err != nil {
		return nil, err
	}
	return oldWritten{}, exported{q.Context(), s, q.c, q.fresh, filter}.VisitExportMemoriesResponse(q.w)
}

func oldImport(s *server, q *oldRequest) (_ any, err error) {
	mode := openmemory.Overwrite
	if text := q.URL.Query().Get("mode"); text != "" {
		mode = openmemory.Mode(text)
	}
	if mode != openmemory.Overwrite && mode != openmemory.Skip {
		return nil, problem.BadRequest("invalid_parameter", "mode must be overwrite or skip")
	}
	form, err := q.MultipartReader()
	if err != nil {
		return nil, problem.Invalid("/file", "is missing: want a form with a part of this name")
	}
	file, err := receive(form, q.sameUser)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if !file.isZip() {
		return nil, problem.BadRequest("invalid_parameter", "Expected a zip file.")
	}
	report, position, err := s.Writer.Import(q.Context(), q.c, writer.Upload{File: file, Size: file.size, Mode: mode})
	var refused *openmemory.FileError
	if errors.As(err, &refused) && refused.Code != openmemory.TooLarge {
		return nil, &problem.Problem{Status: http.StatusBadRequest, Code: "import_refused", Detail: refused.Error()}
	}
	if err != nil {
		return nil, importFailed(err)
	}
	_ = s.shown(q, position)
	return oldMessage{fmt.Sprintf("Imported %d memories", report.Counts[openmemory.KindMemory].Read)}, nil
}
