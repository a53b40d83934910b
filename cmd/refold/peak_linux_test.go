package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/refold-dev/refold/internal/bench/dataset"
	"github.com/refold-dev/refold/internal/localstack"
	"github.com/refold-dev/refold/internal/plane"
	"github.com/refold-dev/refold/internal/testenv"
)

const mebibyte = 1 << 20

// besideBudget is what a process may take beside --memory.
const besideBudget = 200 * mebibyte

// peaks measures real processes of refold on one journal.
type peaks struct {
	*testing.T
	binary string
	args   []string // of every command: where the stores are
	table  *tabwriter.Writer
}

// peaksWanted is how many events there are, 0 for no measurement, and the binary that is measured: REFOLD_PEAKS and
// REFOLD_PEAKS_BINARY.
func peaksWanted(t *testing.T) (events int, binary string) {
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if other := os.Getenv("REFOLD_PEAKS_BINARY"); other != "" {
		binary = other
	}
	if text := os.Getenv("REFOLD_PEAKS"); text != "" {
		if events, err = strconv.Atoi(text); err != nil {
			t.Fatalf("REFOLD_PEAKS: %v", err)
		}
	}
	return events, binary
}

// process is a running refold.
type process struct {
	*testing.T
	cmd    *exec.Cmd
	stderr bytes.Buffer // belongs to the reader until read is closed
	url    chan string  // where it serves
	read   chan struct{}
	peak   int
	watch  sync.WaitGroup
	ended  chan struct{}
}

// start runs refold with its own environment: nothing of the machine's settings is seen.
func (p *peaks) start(args ...string) *process {
	p.Helper()
	r := &process{T: p.T, url: make(chan string, 1), read: make(chan struct{}), ended: make(chan struct{})}
	r.cmd = exec.Command(p.binary, append(args, p.args...)...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "REFOLD_") && !strings.HasPrefix(v, "DATABASE_URL=") && !strings.HasPrefix(v, "GO") {
			r.cmd.Env = append(r.cmd.Env, v)
		}
	}
	r.cmd.Env = append(r.cmd.Env, childMark+"=1")
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := r.cmd.StderrPipe()
	if err != nil {
		p.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		p.Fatal(err)
	}
	go func() {
		defer close(r.read)
		lines := bufio.NewScanner(output)
		for lines.Scan() {
			fmt.Fprintln(&r.stderr, lines.Text())
			if rest, ok := strings.CutPrefix(lines.Text(), "refold serves "); ok {
				r.url <- strings.Fields(rest)[0]
			}
		}
	}()
	r.watch.Go(r.follow)
	p.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// follow keeps the highest peak: the process takes it away with itself.
func (r *process) follow() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if n := resident(r.cmd.Process.Pid, "VmHWM"); n > 0 {
			r.peak = n
		}
		select {
		case <-r.ended:
			return
		case <-tick.C:
		}
	}
}

// end waits for a process that ends by itself, and returns the bytes that it took at most.
func (r *process) end() int {
	r.Helper()
	<-r.read
	err := r.cmd.Wait()
	close(r.ended)
	r.watch.Wait()
	if err != nil {
		r.Fatalf("%s: %v\n%s", r.cmd, err, r.stderr.String())
	}
	return r.peak
}

// resident reads a line such as VmHWM of the state of a process, in bytes; 0 when it has ended.
func resident(pid int, name string) int {
	body, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			return n << 10
		}
	}
	return 0
}

// forget makes VmHWM begin again (proc(5), clear_refs).
func (r *process) forget() {
	r.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", r.cmd.Process.Pid), []byte("5"), 0); err != nil {
		r.Fatal(err)
	}
}

// serve runs a server until it is ready.
func (p *peaks) serve(args ...string) *process {
	p.Helper()
	r := p.start(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	ctx, cancel := context.WithTimeout(p.Context(), time.Hour)
	defer cancel()
	var url string
	select {
	case url = <-r.url:
	case <-r.read:
		p.Fatalf("serve: %v\n%s", r.cmd.Wait(), r.stderr.String())
	case <-ctx.Done():
		p.Fatal("serve: not listening")
	}
	for {
		if answer, err := http.Get(url + "/readyz"); err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return r
			}
		}
		select {
		case <-ctx.Done():
			p.Fatal("serve: not ready")
		case <-time.After(time.Second):
		}
	}
}

func (r *process) stop() {
	r.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.Fatal(err)
	}
	r.end()
}

// job runs a command to its end, alone or beside a server, and holds its peak against what it was given. memory is
// what --memory says, in bytes; 0 = the default of 1 GiB.
func (p *peaks) job(server *process, memory int, args ...string) {
	p.Helper()
	if memory > 0 {
		args = append(args, "--memory", strconv.Itoa(memory))
	} else {
		memory = 1 << 30
	}
	if server != nil {
		server.forget()
	}
	began := time.Now()
	peak, took := p.start(args...).end(), time.Since(began)
	beside := "-"
	if server != nil {
		beside = strconv.Itoa(resident(server.cmd.Process.Pid, "VmHWM") / mebibyte)
	}
	p.row(strings.Join(args, " "), strconv.Itoa(peak/mebibyte), strconv.Itoa((memory+besideBudget)/mebibyte), beside, took.Round(100*time.Millisecond))
	if peak > memory+besideBudget {
		p.Errorf("%s took %d MiB, more than the %d it was given and %d", strings.Join(args, " "), peak/mebibyte, memory/mebibyte, besideBudget/mebibyte)
	}
}

func (p *peaks) row(cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(p.table, strings.Join(text, "\t"))
	_ = p.table.Flush()
}

func (p *peaks) title(what string) {
	p.row()
	p.row(strings.ToUpper(what), "PEAK MIB", "BOUND", "SERVE'S PEAK", "TOOK")
}

// jobs verifies and builds with each budget (0 = the default). A build that is not wanted is given up.
func (p *peaks) jobs(server *process, budgets ...int) {
	for _, memory := range budgets {
		p.job(server, memory, "verify")
		p.job(server, memory, "edition", "build", "--unthrottled")
		p.abort()
	}
}

// abort gives up the newest edition, which is not live.
func (p *peaks) abort() {
	p.Helper()
	r := exec.Command(p.binary, append([]string{"edition", "list", "-o", "json"}, p.args...)...)
	r.Env = append(os.Environ(), childMark+"=1")
	body, err := r.Output()
	if err != nil {
		p.Fatal(err)
	}
	newest := int64(0)
	for _, e := range into[[]struct {
		Number int64 `json:"edition"`
	}](p.T, string(body)) {
		newest = max(newest, e.Number)
	}
	p.start("edition", "abort", fmt.Sprint(newest)).end()
}

// TestPeakMemory: a job takes what --memory gives it and 200 MiB, on embedded and on external stores, beside a server and
// alone. What servers take meanwhile is shown.
func TestPeakMemory(t *testing.T) {
	events, binary := peaksWanted(t)
	p := &peaks{T: t, binary: binary, table: tabwriter.NewWriter(os.Stderr, 0, 4, 2, ' ', 0)}
	if events == 0 {
		t.Skip("takes many minutes: make memory runs it")
	}
	dir := os.Getenv("REFOLD_PEAKS_DIR") // a journal that is there is used again
	if dir == "" {
		dir = testenv.Dir(t)
	}
	at := filepath.Join(dir, "embedded")
	if _, err := os.Stat(at); err != nil {
		fillPlane(t, plane.Config{DataDir: at, Durability: localstack.DurabilityRelaxed}, events)
	}
	p.args = []string{"--data", at, "--durability", "relaxed", "--no-progress"}
	p.title("embedded")
	p.beside()
	p.title("embedded, alone")
	p.jobs(nil, smallBudget)

	nats := testenv.StartNATSProcess(t, localstack.NATSOptions{StoreDir: filepath.Join(at, "nats"), Durability: localstack.DurabilityRelaxed})
	postgres := testenv.PostgresCluster(t, filepath.Join(dir, "pg"), localstack.PostgresOptions{Fast: true})
	p.args = []string{"--data", filepath.Join(dir, "external"), "--postgres", postgres.URL(), "--nats", nats.URL(), "--no-progress"}
	p.title("external")
	p.beside()
}

func fillPlane(t *testing.T, config plane.Config, events int) {
	t.Helper()
	p, err := plane.Open(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	err = dataset.Fill(t.Context(), p, dataset.Set{Events: events, Tenants: 200, Seed: 1, History: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
}

const smallBudget = 256 * mebibyte

// beside runs jobs beside a server.
func (p *peaks) beside() {
	server := p.serve()
	p.row("serve, with its first build", "", "", resident(server.cmd.Process.Pid, "VmHWM")/mebibyte, "")
	p.jobs(server, 0, smallBudget)
	server.stop()
}
