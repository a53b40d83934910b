package localstack

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// servantNames are the users root runs Postgres as, in this order; Postgres refuses to run as root.
var servantNames = []string{"postgres", "nobody"}

// servant is the user Postgres runs as when this process is root: the owner of the cluster when there is one, else
// the first of servantNames. Nil when this process is not root and Postgres runs as the same user.
func servant(dataDir string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	if info, err := os.Stat(dataDir); err == nil {
		if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 {
			return &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}, nil
		}
	}
	for _, name := range servantNames {
		if credential, err := credentialOf(name); err == nil {
			return credential, nil
		}
	}
	return nil, fmt.Errorf("postgres refuses to run as root and there is none of the users %v: run refold as another user", servantNames)
}

func credentialOf(name string) (*syscall.Credential, error) {
	account, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(account.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(account.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// directoryMode is for directories above a cluster: root's must let the servant pass through, and list nothing.
func directoryMode() fs.FileMode {
	if os.Geteuid() == 0 {
		return 0o711
	}
	return 0o700
}

// reachable refuses a directory that the servant could not enter, naming the ancestor that bars the way. Without it
// Postgres' own message is a bare "permission denied".
func reachable(dir string, credential *syscall.Credential) error {
	if credential == nil {
		return nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err == nil && !mayEnter(info, credential) {
			return fmt.Errorf("postgres runs as user %d because it refuses root, and that user may not enter %s (mode %s): choose a data directory elsewhere, such as /var/lib/refold, or run refold as another user",
				credential.Uid, at, info.Mode().Perm())
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

func mayEnter(info fs.FileInfo, credential *syscall.Credential) bool {
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case owner.Uid == credential.Uid:
		return info.Mode()&0o100 != 0
	case owner.Gid == credential.Gid:
		return info.Mode()&0o010 != 0
	default:
		return info.Mode()&0o001 != 0
	}
}

// giveTo hands one path to the servant; nothing to do when there is none.
func giveTo(path string, credential *syscall.Credential) error {
	if credential == nil {
		return nil
	}
	return os.Chown(path, int(credential.Uid), int(credential.Gid))
}
