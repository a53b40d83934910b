package postgres

import (
	"context"
	"io/fs"
)

// MigrateFiles is MigrateWith for a binary that has other files.
func (d *DB) MigrateFiles(ctx context.Context, files fs.FS, columns string, o MigrateOptions) error {
	return d.migrate(ctx, controlSet{files, columns}, o.withDefaults())
}

// HoldControlLock takes the lock of control migrations, as another process would.
func (d *DB) HoldControlLock(ctx context.Context) (release func(), err error) {
	handle := d.sqlDB("pg_catalog")
	conn, err := handle.Conn(ctx)
	if err != nil {
		return nil, err
	}
	locker := &pollLocker{db: d, name: controlLock}
	return func() {
		_ = locker.SessionUnlock(context.WithoutCancel(ctx), conn)
		_ = conn.Close()
		_ = handle.Close()
	}, locker.SessionLock(ctx, conn)
}
