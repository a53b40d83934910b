//go:build unix && !linux

package localstack

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func dieWithParent(*syscall.SysProcAttr, syscall.Signal) {}

// children are not needed here: orphaned backends notice by themselves that the postmaster is gone.
func children(int) []int { return nil }

// isPostmaster says whether pid is a living postgres started with dataDir, by its command line.
func isPostmaster(pid int, dataDir string) bool {
	line, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return false
	}
	program, arguments, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
	return filepath.Base(program) == "postgres" && strings.Contains(arguments, dataDir)
}
