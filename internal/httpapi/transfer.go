package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/journal"
	"github.com/refold-dev/refold/internal/openmemory"
	"github.com/refold-dev/refold/internal/problem"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

const (
	// UploadBytesMax bounds the body of an import. What comes out of the zip is bounded by package openmemory.
	UploadBytesMax = 512 << 20
	// transferIdleMax bounds how long a transfer may stand still because of the caller.
	transferIdleMax = 25 * time.Second
	// progressEvery is how often an import tells how far it is.
	progressEvery = 500 * time.Millisecond

	lineStream = "application/x-ndjson"
)

// patient lets a transfer take the time it needs, and no more than transferIdleMax of it for any one read or write of the
// caller's. The bounds of the server as a whole are for requests that are over in a moment.
func patient(w http.ResponseWriter, r *http.Request) http.ResponseWriter {
	control := http.NewResponseController(w)
	r.Body = &patientBody{r.Body, control}
	return &patientWriter{w, control}
}

type patientBody struct {
	io.ReadCloser
	control *http.ResponseController
}

// Read leaves no deadline behind: the server itself reads on to learn when the caller goes.
func (b *patientBody) Read(p []byte) (int, error) {
	_ = b.control.SetReadDeadline(time.Now().Add(transferIdleMax)) // where there are none, nothing blocks
	n, err := b.ReadCloser.Read(p)
	_ = b.control.SetReadDeadline(time.Time{})
	return n, err
}

type patientWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (w *patientWriter) Write(p []byte) (int, error) {
	_ = w.control.SetWriteDeadline(time.Now().Add(transferIdleMax))
	return w.ResponseWriter.Write(p)
}

func (w *patientWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ExportMemories answers with all that the caller has.
func (s *server) ExportMemories(ctx context.Context, r api.ExportMemoriesRequestObject) (api.ExportMemoriesResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	filter := reader.ExportFilter{AppID: r.Params.AppId, From: unixMicro(r.Params.From), To: unixMicro(r.Params.To)}
	return exported{ctx, s, c, fresh, filter}, nil
}

// exported answers while it reads: nothing is ever held as a whole.
type exported struct {
	ctx    context.Context
	server *server
	caller writer.Caller
	fresh  reader.Freshness
	filter reader.ExportFilter
}

func (e exported) VisitExportMemoriesResponse(w http.ResponseWriter) error {
	begun := false
	err := e.server.Reader.Export(e.ctx, e.caller.Reads(), e.fresh, e.filter, func(x *reader.Export) error {
		begun = true
		h := w.Header()
		e.server.stamp(h, e.caller, x.Stamp)
		h.Set("Content-Type", "application/zip")
		h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": openmemory.FileName(x.User.Subject)}))
		w.WriteHeader(http.StatusOK)
		return openmemory.Export(w, x, time.Now())
	})
	if err != nil && begun {
		e.server.Logger.WarnContext(e.ctx, "export broken off", "error", err)
		panic(http.ErrAbortHandler) // so that the caller sees that it is not whole
	}
	return err
}

// ImportMemories imports an export for the caller.
func (s *server) ImportMemories(ctx context.Context, r api.ImportMemoriesRequestObject) (_ api.ImportMemoriesResponseObject, err error) {
	u := writer.Upload{Mode: openmemory.Overwrite, Partial: r.Params.Partial != nil && *r.Params.Partial}
	if r.Params.Mode != nil {
		if !r.Params.Mode.Valid() {
			return nil, malformedParameter("mode", "overwrite or skip")
		}
		u.Mode = openmemory.Mode(*r.Params.Mode)
	}
	c, err := s.caller(ctx)
	if err != nil {
		return nil, journal.Unavailable(err)
	}
	file, err := receive(r.Body, nil)
	if err != nil {
		return nil, err
	}
	u.File, u.Size = file, file.size
	if accepts(ctx, lineStream) {
		return importing{ctx, s, c, u, file}, nil
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	report, position, err := s.Writer.Import(ctx, c, u)
	if err != nil {
		return nil, importFailed(err)
	}
	token := s.Sealer.SealPosition(c.Tenant.ID, position)
	return api.ImportMemories200JSONResponse{
		Body: reportOnWire(report), Headers: api.ImportMemories200ResponseHeaders{RefoldPosition: &token},
	}, nil
}

// importFailed is what an import answers: a file that is refused, or a failure after which it may be repeated.
func importFailed(err error) error {
	var refused *openmemory.FileError
	if !errors.As(err, &refused) {
		return problem.Doubtful(err, "")
	}
	p := &problem.Problem{Status: http.StatusUnprocessableEntity, Code: "import_refused", Detail: refused.Reason, Pointer: refused.Path}
	if refused.Code == openmemory.TooLarge {
		p.Status, p.Code = http.StatusRequestEntityTooLarge, "too_large"
	}
	return p
}

func reportOnWire(r *openmemory.Report) api.ImportReport {
	out := api.ImportReport{
		Mode: string(r.Mode), Complete: r.Complete, Refused: r.Refused, Moved: r.Moved, Counts: map[string]api.ImportCounts{},
	}
	for kind, n := range r.Counts {
		out.Counts[string(kind)] = api.ImportCounts{Read: n.Read, Added: n.Added, Changed: n.Changed, Unchanged: n.Unchanged, Refused: n.Refused}
	}
	if len(r.Refusals) > 0 {
		refusals := []api.ImportRefusal{}
		for _, one := range r.Refusals {
			refusals = append(refusals, api.ImportRefusal{Kind: string(one.Kind), Id: &one.ID, Path: one.Path, Reason: one.Reason})
		}
		out.Refusals = &refusals
	}
	return out
}

// importing answers with a line for every step of progress.
type importing struct {
	ctx    context.Context
	server *server
	caller writer.Caller
	upload writer.Upload
	file   *received
}

func (i importing) VisitImportMemoriesResponse(w http.ResponseWriter) error {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", lineStream)
	w.WriteHeader(http.StatusOK)
	tell := func(line map[string]any) {
		_ = json.NewEncoder(w).Encode(line) // the import ends with its context, if the caller has gone
		_ = control.Flush()
	}
	var last time.Time
	var phase openmemory.Phase
	i.upload.Progress = func(p openmemory.Progress) {
		if p.Phase != phase || time.Since(last) >= progressEvery {
			phase, last = p.Phase, time.Now()
			tell(map[string]any{"phase": p.Phase, "done": p.Done, "total": p.Total})
		}
	}
	report, position, err := i.server.Writer.Import(i.ctx, i.caller, i.upload)
	if err = errors.Join(err, i.file.Close()); err != nil {
		tell(map[string]any{"problem": problem.Of(i.ctx, importFailed(err), i.server.Logger).Document()})
		return nil
	}
	tell(map[string]any{"report": reportOnWire(report), "position": i.server.Sealer.SealPosition(i.caller.Tenant.ID, position)})
	return nil
}

// received is an upload on disk. It has no name there as soon as the operating system allows it.
type received struct {
	*os.File
	size int64
	name string // as the caller calls it
	path string // still to be removed
}

func (f *received) isZip() bool { return strings.EqualFold(filepath.Ext(f.name), ".zip") }

// userNameMax bounds what a form says about whose it is.
const userNameMax = 1024

// receive takes in the part "file" of a form, the first of them. user, when not nil, is asked about every part "user_id".
func receive(form *multipart.Reader, user func(string) error) (file *received, err error) {
	defer func() {
		if err != nil && file != nil {
			err = errors.Join(err, file.Close())
			file = nil
		}
	}()
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) && file == nil {
			return nil, problem.Invalid("/file", "is missing: want a form with a part of this name")
		}
		if errors.Is(err, io.EOF) {
			return file, nil
		}
		if err != nil {
			return file, unreadable(err)
		}
		switch {
		case part.FormName() == "file" && file == nil:
			if file, err = spool(part, part.FileName()); err != nil {
				return nil, err
			}
		case part.FormName() == "user_id" && user != nil:
			name, err := io.ReadAll(io.LimitReader(part, userNameMax))
			if err != nil {
				return file, unreadable(err)
			}
			if err := user(string(name)); err != nil {
				return file, err
			}
		}
	}
}

func spool(from io.Reader, name string) (*received, error) {
	file, err := os.CreateTemp("", "refold-import-*.zip")
	if err != nil {
		return nil, fmt.Errorf("keep an upload: %w", err)
	}
	f := &received{File: file, name: name, path: file.Name()}
	if os.Remove(f.path) == nil {
		f.path = ""
	}
	if f.size, err = io.Copy(file, from); err != nil {
		return nil, errors.Join(unreadable(err), f.Close())
	}
	return f, nil
}

func (f *received) Close() error {
	err := f.File.Close()
	if f.path != "" {
		err = errors.Join(err, os.Remove(f.path))
	}
	return err
}

func unreadable(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &problem.Problem{Status: http.StatusRequestEntityTooLarge, Code: "too_large", Detail: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit)}
	}
	return problem.BadRequest("unreadable", "the body could not be read to its end")
}
