// Package failpoint lets tests end the process, or fail, at named steps. Nothing happens unless the environment
// variable REFOLD_FAILPOINTS names the step: "edition.pass-committed=exit", "projector.before-commit=kill@3" (by
// SIGKILL at the third hit), "edition.copying=stop" (by SIGSTOP, as a paused machine: it goes on with SIGCONT),
// "edition.indexed=error". Steps that are named but never exist do nothing.
package failpoint

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// exitCode is what a shell reports for SIGKILL.
const exitCode = 137

type action struct {
	what string
	at   int64 // which hit acts; 0 = every one
	hits atomic.Int64
}

var actions = sync.OnceValue(func() map[string]*action { return parse(os.Getenv("REFOLD_FAILPOINTS")) })

func parse(setting string) map[string]*action {
	out := map[string]*action{}
	for _, part := range strings.FieldsFunc(setting, func(r rune) bool { return r == ',' || r == ';' }) {
		name, what, _ := strings.Cut(strings.TrimSpace(part), "=")
		what, at, _ := strings.Cut(what, "@")
		n, _ := strconv.ParseInt(at, 10, 64)
		out[name] = &action{what: what, at: n}
	}
	return out
}

// Hit is called at a step. It returns nil, an error when the step is to fail, or does not return at all.
func Hit(name string) error {
	a := actions()[name]
	if a == nil {
		return nil
	}
	if n := a.hits.Add(1); a.at != 0 && n != a.at {
		return nil
	}
	switch a.what {
	case "exit":
		fmt.Fprintln(os.Stderr, "failpoint", name, "ends the process")
		os.Exit(exitCode)
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way
	case "stop":
		stop(name)
	case "error":
		return fmt.Errorf("failpoint %s", name)
	}
	return nil
}

// stop returns when the process goes on. The signal may hit another thread first: this one must not go on meanwhile.
func stop(name string) {
	goesOn := make(chan os.Signal, 1)
	signal.Notify(goesOn, syscall.SIGCONT)
	defer signal.Stop(goesOn)
	fmt.Fprintln(os.Stderr, "failpoint", name, "stops the process")
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	<-goesOn
}
