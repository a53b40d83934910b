package openmemory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
)

// importer holds what checking and importing have in common.
type importer struct {
	config    Config
	catalogue *catalogue
	spool     *spool
	ledger    *ledger
	userID    uuid.UUID // of the user for whom records are imported, in this tenant
	memories  int       // good ones
	bad       marks     // memories that check refused, by their index in the file
	// known is true while the last command met something that was there: then history is read first, which is
	// what a repeated import wants. A first import reads nothing.
	known atomic.Bool
}

// check follows all references and asks the rules of the entities about every command, before the first is sent.
func (im *importer) check(ctx context.Context) error {
	if err := im.checkCatalogue(); err != nil {
		return err
	}
	p := &pace{tell: im.config.Progress, phase: Checking, total: int64(2 * len(im.spool.partitions))}
	for _, f := range im.spool.historyIDs {
		if err := checkHistoryIDs(f); err != nil {
			return err
		}
		p.add(1)
	}
	for _, f := range im.spool.partitions {
		if err := ctx.Err(); err != nil {
			return err
		}
		bundles, err := loadPartition(f, im.catalogue, im.ledger.refuse)
		if err != nil {
			return err
		}
		for _, b := range bundles {
			if bad := im.checkMemory(b); bad != nil {
				im.bad.set(b.index)
				im.ledger.refuse(Refusal{KindMemory, b.memory.id.String(), fmt.Sprintf("/memories/%d%s", b.index, bad.path), bad.reason})
				continue
			}
			im.memories++
		}
		p.add(1)
	}
	p.end()
	if n := im.ledger.refused(); n > 0 && !im.config.Partial {
		return refuseFile(RecordsRefused, "", "%d records are refused, the first: %s", n, im.ledger.first())
	}
	return nil
}

// run sends the commands: what is referred to first.
func (im *importer) run(ctx context.Context) error {
	c := im.catalogue
	p := &pace{tell: im.config.Progress, phase: Importing}
	p.total = int64(1 + len(c.categories) + len(c.apps) + len(c.rules) + im.memories)
	for _, step := range []func(context.Context, *pace) error{im.runUser, im.runCategories, im.runApps, im.runMemories} {
		err := step(ctx, p)
		if err == nil {
			err = ctx.Err() // a step that saw it first may have ended without an error
		}
		if err != nil {
			return fmt.Errorf("stopped after %d of %d records, repeat the import to go on: %w", p.done, p.total, err)
		}
	}
	p.end()
	return nil
}

func (im *importer) group(ctx context.Context) (*errgroup.Group, context.Context) {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(im.config.Workers)
	return g, ctx
}

func (im *importer) runUser(ctx context.Context, p *pace) error {
	return im.settle(p, Refusal{Kind: KindUser, ID: im.catalogue.user.id.String(), Path: "/user"}, func() (effect, error) {
		return im.sendUser(ctx)
	})
}

func (im *importer) runCategories(ctx context.Context, p *pace) error {
	g, ctx := im.group(ctx)
	for _, category := range inOrder(im.catalogue.categories) {
		g.Go(func() error {
			r := Refusal{Kind: KindCategory, ID: category.record.id.String(), Path: fmt.Sprintf("/categories/%d", category.index)}
			return im.settle(p, r, func() (effect, error) { return im.sendCategory(ctx, category.record) })
		})
	}
	return g.Wait()
}

// runApps imports the apps at once and the rules of each one after another: they are events of the app.
func (im *importer) runApps(ctx context.Context, p *pace) error {
	rules := map[uuid.UUID][]placed[ruleRecord]{}
	for _, rule := range inOrder(im.catalogue.rules) {
		rules[rule.record.appID] = append(rules[rule.record.appID], rule)
	}
	g, ctx := im.group(ctx)
	for _, app := range inOrder(im.catalogue.apps) {
		g.Go(func() error {
			r := Refusal{Kind: KindApp, ID: app.record.id.String(), Path: fmt.Sprintf("/apps/%d", app.index)}
			if err := im.settle(p, r, func() (effect, error) { return im.sendApp(ctx, app.record) }); err != nil {
				return err
			}
			for _, rule := range rules[app.record.id] {
				r := Refusal{Kind: KindAccessRule, ID: rule.record.id.String(), Path: fmt.Sprintf("/access_controls/%d", rule.index)}
				if err := im.settle(p, r, func() (effect, error) { return im.sendRule(ctx, app.record, rule.record) }); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

func (im *importer) runMemories(ctx context.Context, p *pace) error {
	g, ctx := im.group(ctx)
	for _, f := range im.spool.partitions {
		bundles, err := loadPartition(f, im.catalogue, func(Refusal) {}) // told when it was checked
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		for _, b := range bundles {
			if ctx.Err() != nil {
				return g.Wait()
			}
			if im.bad.has(b.index) {
				continue
			}
			g.Go(func() error {
				r := Refusal{Kind: KindMemory, ID: b.memory.id.String(), Path: fmt.Sprintf("/memories/%d", b.index)}
				return im.settle(p, r, func() (effect, error) { return im.sendMemory(ctx, b) })
			})
		}
	}
	return g.Wait()
}

// marks is a set of indexes: a bit for each.
type marks []uint64

func (m *marks) set(i int) {
	for len(*m) <= i/64 {
		*m = append(*m, 0)
	}
	(*m)[i/64] |= 1 << (i % 64)
}

func (m marks) has(i int) bool { return i/64 < len(m) && m[i/64]&(1<<(i%64)) != 0 }

func inOrder[T any](records map[uuid.UUID]placed[T]) []placed[T] {
	out := make([]placed[T], 0, len(records))
	for _, record := range records {
		out = append(out, record)
	}
	slices.SortFunc(out, func(x, y placed[T]) int { return cmp.Compare(x.index, y.index) })
	return out
}
