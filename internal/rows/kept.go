package rows

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
)

// Kept digests say what a projector, or a build, has written: for each edition, shard, tenant and table the count of
// rows and the sum of their hashes, and for each tenant count and sum of the events that were applied. They move in the
// transaction that moves rows and checkpoint, so a scan of the tables in one snapshot with them proves that nobody else
// has written, and that nothing was lost or has rotted, without a replay.
//
// A row's hash is SHA-256 over the element of the row (the form of its table and its tuple, key inside) under a key of
// its tenant; hashes are added in four lanes of 64 bits. To insert is to add, to delete is to subtract, and to update is
// both. The tenant's key comes from a secret of the plane, so the digests of two planes tell nothing of each other, and a
// restored copy, which has the secret as well, compares equal. This is proof against accidents and against whoever does
// not have the secret. Whoever has it can look for rows whose sums cancel: that is what LtHash is for.
//
// A digest knows of values only: a field that is to be forgotten for good has, once its key is gone, one value that
// stands for that, and enters by it as any other value does. It is changed by an event, as all rows are.

// KeptKey is the secret of a plane that keys all kept digests.
type KeptKey [32]byte

// ErrNoKeptKey: this plane has never kept digests; the next build makes its key.
var ErrNoKeptKey = errors.New("this plane keeps no digests yet")

// MakeKeptKey returns the plane's key and makes it when there is none. However many processes call it, all get the same.
func MakeKeptKey(ctx context.Context, tx db.DBTX) (*KeptKey, error) {
	var fresh KeptKey
	rand.Read(fresh[:])
	if err := db.New(tx).KeptKeyMake(ctx, fresh[:]); err != nil {
		return nil, fmt.Errorf("make the key of kept digests: %w", err)
	}
	return ReadKeptKey(ctx, tx)
}

// ReadKeptKey returns the plane's key, or ErrNoKeptKey.
func ReadKeptKey(ctx context.Context, tx db.DBTX) (*KeptKey, error) {
	b, err := db.New(tx).KeptKey(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoKeptKey
	}
	if err != nil {
		return nil, fmt.Errorf("key of kept digests: %w", err)
	}
	key := KeptKey(b)
	return &key, nil
}

// ID tells keys apart and gives nothing away: kept digests are comparable where it is equal.
func (k *KeptKey) ID() string { return hex.EncodeToString(k.derive("refold kept key id v1", "")[:8]) }

func (k *KeptKey) of(tenant string) tallyKey {
	return tallyKey(k.derive("refold kept tenant v1", tenant))
}

func (k *KeptKey) derive(what, of string) []byte {
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(what + "\x00" + of))
	return mac.Sum(nil)
}

// TableID names a table and its columns in the packed form: the first bytes of its fingerprint.
type TableID [8]byte

// ID returns the table's TableID.
func (d *Description) ID() TableID { return TableID(d.fingerprint[:8]) }

// Fingerprint binds digests to the form of the table: name, columns, types.
func (d *Description) Fingerprint() string { return hex.EncodeToString(d.fingerprint[:]) }

// Sum is a count and a 32-byte additive digest. Sums of parts add up to the sum of the whole.
type Sum struct{ tally }

// Count is how many rows or events were added; negative when more were taken than added.
func (s *Sum) Count() int64 { return s.count }

// Digest is the sum in hex.
func (s *Sum) Digest() string { return hex.EncodeToString(s.lanes.bytes()) }

// Merge adds what another sum is of.
func (s *Sum) Merge(other *Sum) { s.merge(&other.tally) }

func (l *lanes) bytes() []byte {
	b := make([]byte, 0, 32)
	for _, lane := range l {
		b = binary.LittleEndian.AppendUint64(b, lane)
	}
	return b
}

func lanesOf(b []byte) (out lanes) {
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out
}

// TenantSums are the kept digests of one tenant. Tables without rows are left out.
type TenantSums struct {
	Events Sum
	Tables map[TableID]Sum
}

// packedV1 begins the packed form: then, ordered by id, for each table its id, its count and its sum.
const packedV1 = 1

// ErrPacked: the packed form of kept digests does not decode; somebody has tampered with it.
var ErrPacked = errors.New("malformed kept digests")

// PackTables encodes the sums of tables.
func PackTables(sums map[TableID]Sum) []byte {
	b := []byte{packedV1}
	ids := slices.SortedFunc(maps.Keys(sums), func(a, b TableID) int { return bytes.Compare(a[:], b[:]) })
	for _, id := range ids {
		sum := sums[id]
		b = appendPacked(b, id, &sum.tally)
	}
	return b
}

func appendPacked(b []byte, id TableID, t *tally) []byte {
	if *t == (tally{}) {
		return b
	}
	b = append(b, id[:]...)
	b = binary.AppendVarint(b, t.count)
	for _, lane := range t.lanes {
		b = binary.LittleEndian.AppendUint64(b, lane)
	}
	return b
}

// UnpackTables decodes what PackTables has made and nothing else: every set of sums has one form.
func UnpackTables(b []byte) (map[TableID]Sum, error) {
	out := map[TableID]Sum{}
	var last TableID
	if len(b) == 0 || b[0] != packedV1 {
		return nil, ErrPacked
	}
	for rest := b[1:]; len(rest) > 0; {
		var id TableID
		if len(rest) < len(id) {
			return nil, ErrPacked
		}
		rest = rest[copy(id[:], rest):]
		count, n := binary.Varint(rest)
		if n <= 0 || n != len(binary.AppendVarint(nil, count)) || len(rest)-n < 32 {
			return nil, ErrPacked
		}
		sum := Sum{tally{lanesOf(rest[n:]), count}}
		rest = rest[n+32:]
		if sum == (Sum{}) || len(out) > 0 && bytes.Compare(last[:], id[:]) >= 0 {
			return nil, ErrPacked
		}
		out[id], last = sum, id
	}
	return out, nil
}

// UnpackTenant decodes a stored row of kept digests.
func UnpackTenant(events int64, digest, tables []byte) (TenantSums, error) {
	if len(digest) != 32 {
		return TenantSums{}, ErrPacked
	}
	unpacked, err := UnpackTables(tables)
	return TenantSums{Sum{tally{lanesOf(digest), events}}, unpacked}, err
}

// keeper adds up digests of one edition and shard. A nil keeper keeps nothing.
type keeper struct {
	schema  *Schema // nil = events are added up, and no rows
	key     *KeptKey
	edition int64
	shard   int32
	tenants map[string]*keptTenant
	touched []*keptTenant // since they were written last
	element []byte
}

// keptTenant is what is kept of a tenant; before it is loaded, what is to be added to that.
type keptTenant struct {
	name    string
	key     tallyKey
	loaded  bool
	touched bool
	events  tally
	tables  []tally // by index
}

// keptTenantsMax bounds how many tenants a live set remembers.
const keptTenantsMax = 20_000

func newKeeper(s *Schema, key *KeptKey, edition int64, shard int32) *keeper {
	return &keeper{schema: s, key: key, edition: edition, shard: shard, tenants: map[string]*keptTenant{}}
}

func (k *keeper) tenant(name string) *keptTenant {
	t := k.tenants[name]
	if t == nil {
		t = &keptTenant{name: name, key: k.key.of(name)}
		if k.schema != nil {
			t.tables = make([]tally, len(k.schema.all))
		}
		k.tenants[name] = t
	}
	if !t.touched {
		t.touched = true
		k.touched = append(k.touched, t)
	}
	return t
}

func (k *keeper) forget() {
	clear(k.tenants)
	k.touched = k.touched[:0]
}

func (k *keeper) hash(t *keptTenant, d *Description, tuple []byte) lanes {
	k.element = d.element(k.element, tuple)
	return hashElement(&t.key, k.element)
}

// put adds a row that is written.
func (k *keeper) put(t *keptTenant, d *Description, tuple []byte) *lanes {
	h := k.hash(t, d, tuple)
	t.tables[d.index].put(&h)
	return &h
}

// appliedPrefix tells events from rows.
const appliedPrefix = "refold applied v1\x00"

// count adds an event that was applied.
func (k *keeper) count(e *envelope.Event, digest *envelope.Digest) {
	t := k.tenant(e.Tenant)
	var room tallyKey
	b := append(k.element[:0], room[:]...)
	b = append(b, appliedPrefix...)
	b = binary.BigEndian.AppendUint64(b, e.Seq)
	k.element = append(b, digest[:]...)
	t.events.add(&t.key, k.element)
}

// load adds what is stored to the tenants that were touched and not loaded yet.
func (k *keeper) load(ctx context.Context, q *db.Queries) error {
	var missing []string
	for _, t := range k.touched {
		if !t.loaded {
			missing = append(missing, t.name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	stored, err := q.KeptDigestOfTenants(ctx, db.KeptDigestOfTenantsParams{Edition: k.edition, Shard: k.shard, TenantIds: missing})
	if err != nil {
		return fmt.Errorf("load kept digests: %w", err)
	}
	for _, row := range stored {
		if err := k.tenants[row.TenantID].addStored(k.schema, row); err != nil {
			return fmt.Errorf("kept digests of tenant %s in edition %d: %w", row.TenantID, k.edition, err)
		}
	}
	for _, name := range missing {
		k.tenants[name].loaded = true
	}
	return nil
}

func (t *keptTenant) addStored(s *Schema, row db.KeptDigestOfTenantsRow) error {
	sums, err := UnpackTenant(row.Events, row.EventDigest, row.Tables)
	if err != nil {
		return err
	}
	t.events.merge(&sums.Events.tally)
	for i, table := range s.all {
		sum := sums.Tables[table.describe().ID()]
		t.tables[i].merge(&sum.tally)
		delete(sums.Tables, table.describe().ID())
	}
	if len(sums.Tables) > 0 {
		return fmt.Errorf("%w: a table of another form", ErrPacked)
	}
	return nil
}

// packed are the touched tenants as parameters of a statement.
type packed struct {
	tenants       []string
	events        []int64
	digests, sums [][]byte
}

func (k *keeper) pack(touched []*keptTenant) (p packed) {
	for _, t := range touched {
		b := []byte{packedV1}
		for _, i := range k.schema.byID {
			b = appendPacked(b, k.schema.all[i].describe().ID(), &t.tables[i])
		}
		p.tenants, p.events = append(p.tenants, t.name), append(p.events, t.events.count)
		p.digests, p.sums = append(p.digests, t.events.lanes.bytes()), append(p.sums, b)
	}
	return p
}

func (k *keeper) written() {
	for _, t := range k.touched {
		t.touched = false
	}
	k.touched = k.touched[:0]
}

// Keep makes a live set keep the digests of an edition's shard: Count is to be called for each event that was applied,
// FlushKept after each Flush.
func (l *Live) Keep(key *KeptKey, edition int64, shard int32) {
	l.keeper = newKeeper(l.schema, key, edition, shard)
}

// Count adds an event that was applied to the kept digests of its tenant.
func (l *Live) Count(e *envelope.Event, digest *envelope.Digest) {
	if l.keeper != nil {
		l.keeper.count(e, digest)
	}
}

// ErrKeptMoved: the kept digests are not of the sequence this projector has left them at, so somebody else has written
// them. Nothing is kept by halves: the batch fails, and whoever runs next finds them void.
var ErrKeptMoved = errors.New("the kept digests were moved by somebody else")

// FlushKept writes the digests of what Flush has written, in the same transaction, and moves them from one sequence to
// another. It does nothing for a set that keeps none. When it fails the caller must Discard the set.
func (l *Live) FlushKept(ctx context.Context, tx pgx.Tx, from, to int64) error {
	k := l.keeper
	if k == nil {
		return nil
	}
	q := db.New(tx)
	if err := k.load(ctx, q); err != nil {
		return err
	}
	p := k.pack(k.touched)
	n, err := q.KeptDigestMove(ctx, db.KeptDigestMoveParams{
		TenantIds: p.tenants, Events: p.events, EventDigests: p.digests, Tables: p.sums,
		Edition: k.edition, Shard: k.shard, OldSeq: from, NewSeq: to,
	})
	if err != nil {
		return fmt.Errorf("write kept digests: %w", err)
	}
	if int(n) != len(p.tenants) {
		return fmt.Errorf("%w: edition %d shard %d, from %d", ErrKeptMoved, k.edition, k.shard, from)
	}
	k.written()
	if len(k.tenants) > keptTenantsMax {
		k.forget()
	}
	return nil
}

// Keep makes a loader add up digests of the rows it loads. It must be called before the first row.
func (l *Loader) Keep(key *KeptKey, edition int64, shard int32) {
	l.kept, l.applied = newKeeper(l.schema, key, edition, shard), newKeeper(nil, key, edition, shard)
}

// Count adds an event that was applied.
func (l *Loader) Count(e *envelope.Event, digest *envelope.Digest) { l.applied.count(e, digest) }

// keep adds a chunk of rows. It runs beside the COPY of the chunk.
func (l *Loader) keep(d *Description, chunk []byte) (err error) {
	var fields Fields
	var tenant *keptTenant
	for rest := chunk; len(rest) > 0; {
		next, complete, err := fields.parse(rest)
		if err != nil || !complete {
			return errTuple
		}
		if tenant == nil || tenant.name != string(fields[0]) {
			tenant = l.kept.tenant(string(fields[0]))
		}
		h := l.kept.hash(tenant, d, rest[:len(rest)-len(next)])
		tenant.tables[d.index].put(&h)
		rest = next
	}
	return nil
}

// keptPerStatement is how many tenants are written at once.
const keptPerStatement = 2000

// FlushKept adds the digests of what was loaded to those of the passes before, in the transaction that loaded it. Call
// it after Close.
func (l *Loader) FlushKept(ctx context.Context, tx db.DBTX) error {
	k := l.kept
	for name, applied := range l.applied.tenants {
		k.tenant(name).events.merge(&applied.events)
	}
	q := db.New(tx)
	slices.SortFunc(k.touched, func(a, b *keptTenant) int { return bytes.Compare([]byte(a.name), []byte(b.name)) })
	for some := range slices.Chunk(slices.Clone(k.touched), keptPerStatement) {
		k.touched = some
		if err := k.load(ctx, q); err != nil {
			return err
		}
		p := k.pack(some)
		n, err := q.KeptDigestPut(ctx, db.KeptDigestPutParams{
			Edition: k.edition, Shard: k.shard, TenantIds: p.tenants, Events: p.events, EventDigests: p.digests, Tables: p.sums,
		})
		if err != nil {
			return fmt.Errorf("write kept digests: %w", err)
		}
		if int(n) != len(some) {
			return fmt.Errorf("write kept digests: %d of %d were taken", n, len(some))
		}
	}
	return nil
}

// ReplaceKept sets what is kept of the tables of one tenant to what was found in them and proven, as after a repair. It
// must run in the transaction that has changed the rows, and that has claimed the checkpoint of the shard: a projector
// remembers what it keeps, and must be fenced to forget it. It does nothing where no digests are kept of the tenant.
func ReplaceKept(ctx context.Context, tx db.DBTX, edition int64, shard int32, tenant string, tables map[TableID]Sum) error {
	_, err := db.New(tx).KeptDigestReplaceTables(ctx, db.KeptDigestReplaceTablesParams{
		Tables: PackTables(tables), Edition: edition, Shard: shard, TenantID: tenant,
	})
	if err != nil {
		return fmt.Errorf("replace kept digests of tenant %s in edition %d: %w", tenant, edition, err)
	}
	return nil
}

// Subtract takes away what another sum is of.
func (s *Sum) Subtract(other *Sum) {
	s.lanes.subtract(&other.lanes)
	s.count -= other.count
}
