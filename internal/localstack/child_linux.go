package localstack

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func dieWithParent(attr *syscall.SysProcAttr, signal syscall.Signal) { attr.Pdeathsig = signal }

// children are the direct children of a process.
func children(pid int) []int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// isPostmaster says whether pid is a living postgres whose data directory is dataDir. A postmaster works inside its
// data directory; a zombie has neither program nor directory.
func isPostmaster(pid int, dataDir string) bool {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || strings.TrimSuffix(filepath.Base(program), " (deleted)") != "postgres" {
		return false
	}
	directory, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	return err == nil && directory == dataDir
}
