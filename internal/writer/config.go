package writer

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/refold-dev/refold/events/commands"
	"github.com/refold-dev/refold/events/jsonb"
	"github.com/refold-dev/refold/internal/command"
	"github.com/refold-dev/refold/internal/config"
	"github.com/refold-dev/refold/internal/reader"
)

// ReplaceConfig puts settings in the place of what stands at a path in the config of the caller's tenant; without a path,
// of all of it. Null takes away what is at a path. Secrets are sealed before they are part of anything. It fails with
// *commands.InvalidError, too.
func (w *Writer) ReplaceConfig(ctx context.Context, c Caller, wish Wish, sealer *reader.Sealer, path []string, settings json.RawMessage) (Done, error) {
	sealed, err := sealedConfig(c, sealer, path, settings)
	if err != nil {
		return Done{}, err
	}
	return w.onConfig(ctx, c, wish, "config.replace", config.Replace{By: c.User, Path: path, Settings: sealed})
}

// MergeConfig changes in the config of the caller's tenant what a JSON Merge Patch (RFC 7396) says. It fails as
// ReplaceConfig does.
func (w *Writer) MergeConfig(ctx context.Context, c Caller, wish Wish, sealer *reader.Sealer, patch json.RawMessage) (Done, error) {
	sealed, err := sealedConfig(c, sealer, nil, patch)
	if err != nil {
		return Done{}, err
	}
	return w.onConfig(ctx, c, wish, "config.merge", config.Merge{By: c.User, Patch: sealed})
}

func sealedConfig(c Caller, sealer *reader.Sealer, path []string, settings json.RawMessage) (json.RawMessage, error) {
	normal, err := jsonb.Normalize(settings)
	if err == nil {
		normal, err = config.Sealed(path, normal, func(text string) string { return sealer.Seal("config", []byte(text), c.Tenant.ID) })
	}
	var fault *config.FaultError
	var unfit *jsonb.Error
	switch {
	case errors.As(err, &fault):
		return nil, &commands.InvalidError{Pointer: "/settings" + fault.Pointer, Reason: fault.Reason}
	case errors.As(err, &unfit):
		return nil, &commands.InvalidError{Pointer: "/settings", Reason: unfit.Error()}
	}
	return normal, err
}

func (w *Writer) onConfig(ctx context.Context, c Caller, wish Wish, name string, cmd config.Command) (Done, error) {
	shard, position, err := w.open(ctx, c)
	if err != nil {
		return Done{}, err
	}
	id := config.ID(c.Tenant.Key, c.Tenant.ID)
	request, err := c.request(wish, config.Entity, id, name, cmd)
	if err != nil {
		return Done{}, err
	}
	outcome, err := command.Execute(ctx, shard, request, config.Evolve, config.Decide, cmd)
	var refusal *command.Refusal
	if errors.As(err, &refusal) && refusal.Code == command.NotFound { // there is a config in any case, if an empty one
		err = command.Refuse(command.PreconditionFailed, "the config is at version 0, not %d", *wish.IfVersion)
	}
	return done(id, outcome, position), err
}
