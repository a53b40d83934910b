package httpapi

import (
	"context"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/internal/httpapi/api"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/reader"
	"github.com/refold-dev/refold/internal/writer"
)

// ListMemoryAccesses answers with a page of the access log of a memory.
func (s *server) ListMemoryAccesses(ctx context.Context, r api.ListMemoryAccessesRequestObject) (api.ListMemoryAccessesResponseObject, error) {
	count, err := checkLimit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	began, behind, err := openCursor[reader.AccessMark](s.Sealer, c, "listMemoryAccesses", r.Id, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	reads := c.Reads()
	reads.Edition = began
	page, stamp, err := s.Reader.AccessLog(ctx, reads, fresh, r.Id, reader.Pages[reader.AccessMark]{Behind: behind, Count: count, Total: true})
	if err != nil {
		return nil, err
	}
	answer := api.ListMemoryAccesses200JSONResponse{Body: api.AccessPage{Items: make([]api.Access, 0, len(page.Items)), Total: page.Total}}
	for _, a := range page.Items {
		answer.Body.Items = append(answer.Body.Items, api.Access{At: a.AccessedAt.UTC(), Kind: a.Kind, UserId: a.UserID, AppId: a.AppID, AppName: a.AppName})
	}
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listMemoryAccesses", r.Id, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListAppAccessed answers with a page of the memories that were accessed through an app.
func (s *server) ListAppAccessed(ctx context.Context, r api.ListAppAccessedRequestObject) (api.ListAppAccessedResponseObject, error) {
	count, err := checkLimit(r.Params.Limit)
	if err != nil {
		return nil, err
	}
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	began, behind, err := openCursor[reader.AccessedMark](s.Sealer, c, "listAppAccessed", r.Id, r.Params.Cursor)
	if err != nil {
		return nil, err
	}
	reads := c.Reads()
	reads.Edition = began
	page, stamp, err := s.Reader.AppAccessed(ctx, reads, fresh, r.Id, reader.Pages[reader.AccessedMark]{Behind: behind, Count: count})
	if err != nil {
		return nil, err
	}
	answer := api.ListAppAccessed200JSONResponse{Body: api.AccessedPage{Items: make([]api.AccessedMemory, 0, len(page.Items))}}
	for _, m := range page.Items {
		answer.Body.Items = append(answer.Body.Items, api.AccessedMemory{Memory: memoryOnWire(m.Memory), AccessCount: m.Count, LastAccessed: m.LastAt.UTC()})
	}
	answer.Body.NextCursor = sealCursor(s.Sealer, c, "listAppAccessed", r.Id, stamp.Edition, page.Next)
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// ListAccessRules answers with all access rules of an app.
func (s *server) ListAccessRules(ctx context.Context, r api.ListAccessRulesRequestObject) (api.ListAccessRulesResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	app, rules, stamp, err := s.Reader.AccessRules(ctx, c.Reads(), fresh, r.Id)
	if err != nil {
		return nil, err
	}
	answer := api.ListAccessRules200JSONResponse{Body: api.AccessRuleList{Items: make([]api.AccessRule, 0, len(rules))}}
	for _, rule := range rules {
		answer.Body.Items = append(answer.Body.Items, ruleOnWire(rule))
	}
	tag := etag(uint64(app.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

// GetAccessRule answers with one access rule.
func (s *server) GetAccessRule(ctx context.Context, r api.GetAccessRuleRequestObject) (api.GetAccessRuleResponseObject, error) {
	c, fresh, err := s.asker(ctx, r.Params.Prefer, r.Params.RefoldPosition)
	if err != nil {
		return nil, err
	}
	app, rule, stamp, err := s.Reader.AccessRule(ctx, c.Reads(), fresh, r.Id, r.Rule)
	if err != nil {
		return nil, err
	}
	answer := api.GetAccessRule200JSONResponse{Body: ruleOnWire(rule)}
	tag := etag(uint64(app.Version))
	answer.Headers.ETag = &tag
	answer.Headers.RefoldEdition, answer.Headers.RefoldPosition, answer.Headers.RefoldAgeMs = s.stamps(c, stamp)
	return answer, nil
}

func ruleOnWire(r db.AppAccessRule) api.AccessRule {
	return api.AccessRule{Id: r.ID, ObjectType: r.ObjectType, ObjectId: r.ObjectID, Effect: api.AccessEffect(r.Effect), CreatedAt: r.CreatedAt.UTC()}
}

// PutAccessRule sets an access rule.
func (s *server) PutAccessRule(ctx context.Context, r api.PutAccessRuleRequestObject) (api.PutAccessRuleResponseObject, error) {
	rule := commands.RuleAccess{ID: r.Id, Rule: r.Rule, ObjectType: r.Body.ObjectType, ObjectID: r.Body.ObjectId, Effect: r.Body.Effect}
	done, err := s.changing(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.RuleAccess(ctx, c, w, rule)
	})
	return api.PutAccessRule200JSONResponse{AcceptedJSONResponse: done}, err
}

// WithdrawAccessRule withdraws an access rule.
func (s *server) WithdrawAccessRule(ctx context.Context, r api.WithdrawAccessRuleRequestObject) (api.WithdrawAccessRuleResponseObject, error) {
	rule := commands.WithdrawAccess{ID: r.Id, Rule: r.Rule}
	done, err := s.changing(ctx, r.Params.IdempotencyKey, r.Params.IfMatch, func(c writer.Caller, w writer.Wish) (writer.Done, error) {
		return s.Writer.WithdrawAccess(ctx, c, w, rule)
	})
	return api.WithdrawAccessRule200JSONResponse{AcceptedJSONResponse: done}, err
}
