package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// lineEvery is how often a running phase says where it is when nobody looks at a terminal.
const lineEvery = 2 * time.Second

// progress shows phases of long work: bars on a terminal, lines elsewhere, nothing when told so. What the total is
// stands from the start of a phase.
type progress struct {
	out   io.Writer
	log   *logWriter
	bars  *mpb.Progress
	bar   *mpb.Bar
	phase string
	said  time.Time
	begun time.Time
	done  int64
	total int64
}

func (c *cli) progress() *progress {
	p := &progress{out: c.stderr, log: c.log}
	if c.noProgress || c.format == "json" && !terminal(c.stderr) {
		p.out = io.Discard
	}
	if terminal(c.stderr) && !c.noProgress && os.Getenv("NO_COLOR") == "" {
		p.bars = mpb.New(mpb.WithOutput(c.stderr), mpb.WithRefreshRate(100*time.Millisecond))
		c.log.above(p.bars)
	}
	return p
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// at tells where a phase is. A phase ends when the next one begins, or with end.
func (p *progress) at(phase string, done, total int64) {
	if phase != p.phase {
		p.finish()
		p.phase, p.begun, p.said = phase, time.Now(), time.Now()
		if p.bars != nil {
			p.bar = p.bars.AddBar(max(total, 1), mpb.PrependDecorators(decor.Name(phase+" ", decor.WCSyncSpaceR), decor.CountersNoUnit("%d / %d")),
				mpb.AppendDecorators(decor.AverageSpeed(0, "%.0f/s"), decor.Name("  "), decor.AverageETA(decor.ET_STYLE_GO)))
		}
	}
	p.done, p.total = done, total
	switch {
	case p.bar != nil:
		p.bar.SetTotal(max(total, 1), false)
		p.bar.SetCurrent(done)
	case time.Since(p.said) >= lineEvery:
		p.line()
		p.said = time.Now()
	}
}

func (p *progress) line() {
	seconds := time.Since(p.begun).Seconds()
	fmt.Fprintf(p.out, "%s: %d of %d, %.0f/s\n", p.phase, p.done, p.total, float64(p.done)/max(seconds, 0.001))
}

// finish completes the current phase.
func (p *progress) finish() {
	switch {
	case p.phase == "":
	case p.bar != nil && p.done < p.total:
		p.bar.Abort(false) // it failed, and shows where
	case p.bar != nil:
		p.bar.SetTotal(p.bar.Current(), true)
	default:
		p.line()
	}
	p.bar, p.phase = nil, ""
}

// end completes everything and gives the terminal back.
func (p *progress) end() {
	p.finish()
	if p.bars != nil {
		p.log.above(nil)
		p.bars.Wait()
	}
}

// logWriter writes lines to a terminal, above the bars while some run: those would paint over them.
type logWriter struct {
	out io.Writer

	mu   sync.Mutex
	bars *mpb.Progress
}

func (l *logWriter) above(bars *mpb.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bars = bars
}

func (l *logWriter) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bars != nil {
		if n, err := l.bars.Write(line); err == nil {
			return n, nil
		}
	}
	return l.out.Write(line)
}
