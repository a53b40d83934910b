package httpapi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/journal"
)

// watched hands out connections of readers whose statements are written down and may be changed on their way.
type watched struct{ pool *pgxpool.Pool }

func (w watched) Reader(context.Context, int64) (*pgxpool.Pool, error) { return w.pool, nil }

// watch makes connections as those of readers; rewrite, when not nil, changes each statement on the wire, where no part of
// refold has a say any more.
func watch(t *testing.T, s *stack, path *queryPath, rewrite func(sql string) string) watched {
	t.Helper()
	like, err := s.db.Reader(t.Context(), s.edition)
	check(t, err)
	config := like.Config()
	config.ConnConfig.Tracer = path
	if rewrite != nil {
		dial := config.ConnConfig.DialFunc
		config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			return &rewritten{conn, rewrite}, err
		}
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	check(t, err)
	t.Cleanup(pool.Close)
	return watched{pool}
}

// rewritten changes the statements that a client sends: the text in its messages Parse and Query.
type rewritten struct {
	net.Conn
	rewrite func(string) string
}

func (r *rewritten) Write(b []byte) (int, error) {
	if len(b) == 0 || b[0] == 0 { // the messages of the start have no type
		return r.Conn.Write(b)
	}
	var out []byte
	for rest := b; len(rest) > 0; {
		end := 1 + int(binary.BigEndian.Uint32(rest[1:]))
		out = append(out, r.message(rest[0], rest[5:end])...)
		rest = rest[end:]
	}
	if _, err := r.Conn.Write(out); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (r *rewritten) message(kind byte, body []byte) []byte {
	switch kind {
	case 'P':
		name, rest, _ := bytes.Cut(body, []byte{0})
		sql, rest, _ := bytes.Cut(rest, []byte{0})
		body = bytes.Join([][]byte{name, []byte(r.rewrite(string(sql))), rest}, []byte{0})
	case 'Q':
		sql, _, _ := bytes.Cut(body, []byte{0})
		body = append([]byte(r.rewrite(string(sql))), 0)
	}
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body)+4)), body...)
}

var (
	ofTenant = regexp.MustCompile(`(?:\w+\.)?tenant_id = (\$\d+)(?:::\w+)?`)
	ofUser   = regexp.MustCompile(`(?:\w+\.)?(?:user_id|owner_id) = (\$\d+)(?:::\w+)?`)
)

// withoutPredicates takes out of a statement that the rows are of the tenant and of the user who asks.
func withoutPredicates(sql string) string {
	return ofUser.ReplaceAllString(ofTenant.ReplaceAllString(sql, "$1::text IS NOT NULL"), "$1::uuid IS NOT NULL")
}

// queryPath is what a request asks of the stores: the statements of readers and the reads of the journal, in order.
type queryPath struct {
	mu    sync.Mutex
	steps []string
}

var queryName = regexp.MustCompile(`^-- name: (\w+)`)

func (p *queryPath) step(step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps = append(p.steps, step)
}

func (p *queryPath) statement(sql string) {
	if name := queryName.FindStringSubmatch(sql); name != nil {
		sql = name[1]
	}
	// Whether a shard is open to commands is asked now and then, by a clock; questions ask for the checkpoint always.
	if sql != "CheckpointGet" {
		p.step(sql)
	}
}

// take returns the steps since the last time.
func (p *queryPath) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	steps := strings.Join(p.steps, "; ")
	p.steps = nil
	return steps
}

func (p *queryPath) TraceQueryStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceQueryStartData) context.Context {
	p.statement(d.SQL)
	return ctx
}

func (p *queryPath) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (p *queryPath) TraceBatchStart(ctx context.Context, _ *pgx.Conn, d pgx.TraceBatchStartData) context.Context {
	for _, q := range d.Batch.QueuedQueries {
		p.statement(q.SQL)
	}
	return ctx
}

func (p *queryPath) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (p *queryPath) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

// readJournal writes down what is asked of the journal.
type readJournal struct {
	journal.Shard
	path *queryPath
}

func (j readJournal) Append(ctx context.Context, e *envelope.Event, last uint64) (journal.Receipt, error) {
	j.path.step("append")
	return j.Shard.Append(ctx, e, last)
}

func (j readJournal) History(ctx context.Context, key envelope.Key) ([]envelope.Event, error) {
	j.path.step("history of a " + key.Entity)
	return j.Shard.History(ctx, key)
}

func (j readJournal) Visit(ctx context.Context, key envelope.Key, upTo uint64, visit func(*envelope.Event) error) error {
	j.path.step("visit of a " + key.Entity)
	return j.Shard.Visit(ctx, key, upTo, visit)
}

func (j readJournal) Last(ctx context.Context, key envelope.Key) (*envelope.Event, error) {
	j.path.step("last of a " + key.Entity)
	return j.Shard.Last(ctx, key)
}
