package fold

import (
	"bytes"
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/refold-dev/refold/events"
	"github.com/refold-dev/refold/events/envelope"
	"github.com/refold-dev/refold/internal/postgres/db"
	"github.com/refold-dev/refold/internal/rows"
)

// The tables of an edition: columns as in schema/projection, in the same order. Start-up and a test hold them
// against the catalogue.

var users = &rows.Table[rows.One, db.UserAccount]{
	Description: rows.Description{
		Name: "user_account", Entity: "user", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "subject", Type: "text", NotNull: true},
			{Name: "name", Type: "text"}, {Name: "email", Type: "text"}, {Name: "metadata", Type: "jsonb", NotNull: true},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.UserAccount) envelope.Key { return rows.Owner(r.TenantID, "user", r.ID) },
	OwnerOf: rows.OwnedBy("user"),
	Sub:     one[db.UserAccount], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.UserAccount) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.Text(r.Subject)
		t.TextOrNull(r.Name)
		t.TextOrNull(r.Email)
		t.JSONB(r.Metadata)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.UserAccount, error) {
		tenants, ids := split(keys)
		return db.New(tx).UserAccountOfEntities(ctx, db.UserAccountOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var apps = &rows.Table[rows.One, db.App]{
	Description: rows.Description{
		Name: "app", Entity: "app", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "owner_id", Type: "uuid", NotNull: true},
			{Name: "name", Type: "text", NotNull: true}, {Name: "description", Type: "text"},
			{Name: "metadata", Type: "jsonb", NotNull: true}, {Name: "is_active", Type: "bool", NotNull: true},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.App) envelope.Key { return rows.Owner(r.TenantID, "app", r.ID) },
	OwnerOf: rows.OwnedBy("app"),
	Sub:     one[db.App], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.App) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.UUID(r.OwnerID)
		t.Text(r.Name)
		t.TextOrNull(r.Description)
		t.JSONB(r.Metadata)
		t.Bool(r.IsActive)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.App, error) {
		tenants, ids := split(keys)
		return db.New(tx).AppOfEntities(ctx, db.AppOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var accessRules = &rows.Table[uuid.UUID, db.AppAccessRule]{
	Description: rows.Description{
		Name: "app_access_rule", Entity: "app", KeyColumns: 3,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "app_id", Type: "uuid", NotNull: true},
			{Name: "id", Type: "uuid", NotNull: true}, {Name: "version", Type: "int8", NotNull: true},
			{Name: "object_type", Type: "text", NotNull: true}, {Name: "object_id", Type: "uuid"},
			{Name: "effect", Type: "text", NotNull: true}, {Name: "created_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.AppAccessRule) envelope.Key { return rows.Owner(r.TenantID, "app", r.AppID) },
	OwnerOf: rows.OwnedBy("app"),
	Sub:     func(r *db.AppAccessRule) uuid.UUID { return r.ID },
	SubOf:   thirdOf, Compare: compareIDs,
	Encode: func(t *rows.Tuple, r *db.AppAccessRule) {
		t.Text(r.TenantID)
		t.UUID(r.AppID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.Text(r.ObjectType)
		t.UUIDOrNull(r.ObjectID)
		t.Text(r.Effect)
		t.Time(r.CreatedAt)
	},
	Check: func(r *db.AppAccessRule) error {
		if e := events.Effect(r.Effect); e != events.Allow && e != events.Deny {
			return fmt.Errorf("effect %q is not allow or deny", r.Effect)
		}
		return nil
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.AppAccessRule, error) {
		tenants, ids := split(keys)
		return db.New(tx).AppAccessRuleOfEntities(ctx, db.AppAccessRuleOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var categories = &rows.Table[rows.One, db.Category]{
	Description: rows.Description{
		Name: "category", Entity: "category", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "name", Type: "text", NotNull: true},
			{Name: "description", Type: "text"},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.Category) envelope.Key { return rows.Owner(r.TenantID, "category", r.ID) },
	OwnerOf: rows.OwnedBy("category"),
	Sub:     one[db.Category], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.Category) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.Text(r.Name)
		t.TextOrNull(r.Description)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.Category, error) {
		tenants, ids := split(keys)
		return db.New(tx).CategoryOfEntities(ctx, db.CategoryOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var memories = &rows.Table[rows.One, db.Memory]{
	Description: rows.Description{
		Name: "memory", Entity: "memory", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "user_id", Type: "uuid", NotNull: true},
			{Name: "app_id", Type: "uuid"}, {Name: "content", Type: "text", NotNull: true},
			{Name: "metadata", Type: "jsonb", NotNull: true}, {Name: "state", Type: "text", NotNull: true},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
			{Name: "archived_at", Type: "timestamptz"}, {Name: "deleted_at", Type: "timestamptz"},
		},
	},
	Owner:   func(r *db.Memory) envelope.Key { return rows.Owner(r.TenantID, "memory", r.ID) },
	OwnerOf: rows.OwnedBy("memory"),
	Sub:     one[db.Memory], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.Memory) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.UUID(r.UserID)
		t.UUIDOrNull(r.AppID)
		t.Text(r.Content)
		t.JSONB(r.Metadata)
		t.Text(r.State)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
		t.TimeOrNull(r.ArchivedAt)
		t.TimeOrNull(r.DeletedAt)
	},
	Check: func(r *db.Memory) error { return checkState(r.State) },
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.Memory, error) {
		tenants, ids := split(keys)
		return db.New(tx).MemoryOfEntities(ctx, db.MemoryOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var memoryCategories = &rows.Table[uuid.UUID, db.MemoryCategory]{
	Description: rows.Description{
		Name: "memory_category", Entity: "memory", KeyColumns: 3,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "memory_id", Type: "uuid", NotNull: true},
			{Name: "category_id", Type: "uuid", NotNull: true}, {Name: "version", Type: "int8", NotNull: true},
		},
	},
	Owner:   func(r *db.MemoryCategory) envelope.Key { return rows.Owner(r.TenantID, "memory", r.MemoryID) },
	OwnerOf: rows.OwnedBy("memory"),
	Sub:     func(r *db.MemoryCategory) uuid.UUID { return r.CategoryID },
	SubOf:   thirdOf, Compare: compareIDs,
	Encode: func(t *rows.Tuple, r *db.MemoryCategory) {
		t.Text(r.TenantID)
		t.UUID(r.MemoryID)
		t.UUID(r.CategoryID)
		t.Int8(r.Version)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.MemoryCategory, error) {
		tenants, ids := split(keys)
		return db.New(tx).MemoryCategoryOfEntities(ctx, db.MemoryCategoryOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var memoryStatuses = &rows.Log[db.MemoryStatus]{
	Description: rows.Description{
		Name: "memory_status", Entity: "memory", KeyColumns: 4, AppendOnly: true,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "memory_id", Type: "uuid", NotNull: true},
			{Name: "seq", Type: "int8", NotNull: true}, {Name: "ordinal", Type: "int4", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "changed_by", Type: "uuid", NotNull: true}, {Name: "old_state", Type: "text", NotNull: true},
			{Name: "new_state", Type: "text", NotNull: true}, {Name: "changed_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.MemoryStatus) envelope.Key { return rows.Owner(r.TenantID, "memory", r.MemoryID) },
	OwnerOf: rows.OwnedBy("memory"),
	Encode: func(t *rows.Tuple, r *db.MemoryStatus) {
		t.Text(r.TenantID)
		t.UUID(r.MemoryID)
		t.Int8(r.Seq)
		t.Int4(r.Ordinal)
		t.Int8(r.Version)
		t.UUID(r.ID)
		t.UUID(r.ChangedBy)
		t.Text(r.OldState)
		t.Text(r.NewState)
		t.Time(r.ChangedAt)
	},
	Check: func(r *db.MemoryStatus) error {
		if err := checkState(r.OldState); err != nil {
			return err
		}
		return checkState(r.NewState)
	},
}

var archivePolicies = &rows.Table[rows.One, db.ArchivePolicy]{
	Description: rows.Description{
		Name: "archive_policy", Entity: "archive-policy", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "owner_id", Type: "uuid", NotNull: true},
			{Name: "criteria", Type: "text", NotNull: true}, {Name: "criteria_id", Type: "uuid"},
			{Name: "days", Type: "int8", NotNull: true},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.ArchivePolicy) envelope.Key { return rows.Owner(r.TenantID, "archive-policy", r.ID) },
	OwnerOf: rows.OwnedBy("archive-policy"),
	Sub:     one[db.ArchivePolicy], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.ArchivePolicy) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.UUID(r.OwnerID)
		t.Text(r.Criteria)
		t.UUIDOrNull(r.CriteriaID)
		t.Int8(r.Days)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
	},
	Check: func(r *db.ArchivePolicy) error {
		if c := events.Criteria(r.Criteria); !c.Valid() || (c == events.Global) != (r.CriteriaID == nil) || r.Days < 1 {
			return fmt.Errorf("criteria %q with id %v after %d days make no policy", r.Criteria, r.CriteriaID, r.Days)
		}
		return nil
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.ArchivePolicy, error) {
		tenants, ids := split(keys)
		return db.New(tx).ArchivePolicyOfEntities(ctx, db.ArchivePolicyOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

var configs = &rows.Table[rows.One, db.Config]{
	Description: rows.Description{
		Name: "config", Entity: "config", KeyColumns: 2,
		Columns: []rows.Column{
			{Name: "tenant_id", Type: "text", NotNull: true}, {Name: "id", Type: "uuid", NotNull: true},
			{Name: "version", Type: "int8", NotNull: true}, {Name: "settings", Type: "jsonb", NotNull: true},
			{Name: "changed_by", Type: "uuid", NotNull: true},
			{Name: "created_at", Type: "timestamptz", NotNull: true}, {Name: "updated_at", Type: "timestamptz", NotNull: true},
		},
	},
	Owner:   func(r *db.Config) envelope.Key { return rows.Owner(r.TenantID, "config", r.ID) },
	OwnerOf: rows.OwnedBy("config"),
	Sub:     one[db.Config], SubOf: oneOf, Compare: rows.CompareOne,
	Encode: func(t *rows.Tuple, r *db.Config) {
		t.Text(r.TenantID)
		t.UUID(r.ID)
		t.Int8(r.Version)
		t.JSONB(r.Settings)
		t.UUID(r.ChangedBy)
		t.Time(r.CreatedAt)
		t.Time(r.UpdatedAt)
	},
	Load: func(ctx context.Context, tx db.DBTX, keys []envelope.Key) ([]db.Config, error) {
		tenants, ids := split(keys)
		return db.New(tx).ConfigOfEntities(ctx, db.ConfigOfEntitiesParams{TenantIds: tenants, Ids: ids})
	},
}

func checkState(s string) error {
	if !events.State(s).Valid() {
		return fmt.Errorf("state %q is not active, paused, archived or deleted", s)
	}
	return nil
}

func one[R any](*R) rows.One          { return rows.One{} }
func oneOf(rows.Fields) rows.One      { return rows.One{} }
func thirdOf(f rows.Fields) uuid.UUID { return f.UUID(2) }
func compareIDs(a, b uuid.UUID) int   { return bytes.Compare(a[:], b[:]) }

// split turns keys into the parameters of a load. Ids that are no uuid in its canonical form have no rows: another
// form would load those of the entity that has the canonical one.
func split(keys []envelope.Key) (tenants []string, ids []uuid.UUID) {
	for _, k := range keys {
		if id, err := uuid.Parse(k.ID); err == nil && id.String() == k.ID {
			tenants, ids = append(tenants, k.Tenant), append(ids, id)
		}
	}
	return tenants, ids
}
