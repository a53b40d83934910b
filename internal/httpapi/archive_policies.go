package httpapi

import (
	"context"
	"errors"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/directory"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// ListArchivePolicies answers with a page of archive policies. To a tenant that does not exist, nothing is there.
func (s *server) ListArchivePolicies(ctx context.Context, r api.ListArchivePoliciesRequestObject) (api.ListArchivePoliciesResponseObject, error) {
	count, err := checkLimit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	answer := api.ListArchivePolicies200JSONResponse{Body: api.ArchivePolicyPage{Items: []api.ArchivePolicy{}}}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if errors.Is(err, directory.ErrNoTenant) {
		return answer, nil
	}
	if err != nil {
		return nil, err
	}
	began, behind, err := openCursor[reader.ArchivePolicyMark](s.Sealer, c, "listArchivePolicies", nil, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	reads := c.Reads()
	reads.Edition = began
	page, stamp, err := s.Reader.ArchivePolicies(ctx, reads, fresh, reader.Pages[reader.ArchivePolicyMark]{Behind: behind, Count: count})
	if err != nil {
		return nil, err
	}
	for _, p := range page.Items {
		answer.Body.Items = append(answer.Body.Items, policyOnWire(p))
	}
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listArchivePolicies", nil, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetArchivePolicy answers with one archive policy.
func (s *server) GetArchivePolicy(ctx context.Context, r api.GetArchivePolicyRequestObject) (api.GetArchivePolicyResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	p, stamp, err := s.Reader.ArchivePolicy(ctx, c.Reads(), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.GetArchivePolicy200JSONResponse{Body: policyOnWire(p)}
	tag := etag(uint64(p.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

func policyOnWire(p db.ArchivePolicy) api.ArchivePolicy {
	return api.ArchivePolicy{
		Id: p.ID, Version: p.Version, Criteria: p.Criteria, CriteriaId: p.CriteriaID, Days: int(p.Days),
		CreatedAt: p.CreatedAt.UTC(), UpdatedAt: p.UpdatedAt.UTC(),
	}
}

// CreateArchivePolicy makes an archive policy.
func (s *server) CreateArchivePolicy(ctx context.Context, r api.CreateArchivePolicyRequestObject) (api.CreateArchivePolicyResponseObject, error) {
	done, err := s.changing(ctx, r.Params.IdempotencyKey, nil, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.MakeArchivePolicy(ctx, c, w, commands.MakeArchivePolicy{ArchiveRule: ruleOf(r.Body)})
	})
	location := "/v1/archive-policies/" + done.Body.Id.String()
	return api.CreateArchivePolicy201JSONResponse{Body: done.Body, Headers: api.CreateArchivePolicy201ResponseHeaders{
		ETag: done.Headers.ETag, Location: &location, RefoldPosition: done.Headers.RefoldPosition,
	}}, err
}

// ChangeArchivePolicy replaces what an archive policy says.
func (s *server) ChangeArchivePolicy(ctx context.Context, r api.ChangeArchivePolicyRequestObject) (api.ChangeArchivePolicyResponseObject, error) {
	done, err := s.changing(ctx, r.Params.IdempotencyKey, &r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.ChangeArchivePolicy(ctx, c, w, commands.ChangeArchivePolicy{ID: r.Id, ArchiveRule: ruleOf(r.Body)})
	})
	return api.ChangeArchivePolicy200JSONResponse{AcceptedJSONResponse: done}, err
}

// WithdrawArchivePolicy ends an archive policy.
func (s *server) WithdrawArchivePolicy(ctx context.Context, r api.WithdrawArchivePolicyRequestObject) (api.WithdrawArchivePolicyResponseObject, error) {
	done, err := s.moving(ctx, r.Id, r.Params.IdempotencyKey, r.Params.IfMatch, s.Writer.WithdrawArchivePolicy)
	return api.WithdrawArchivePolicy200JSONResponse{AcceptedJSONResponse: done}, err
}

func ruleOf(r *api.ArchiveRule) commands.ArchiveRule {
	return commands.ArchiveRule{Criteria: r.Criteria, CriteriaID: r.CriteriaId, Days: r.Days}
}
