package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/refold-dev/refold/internal/edition"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// lineEvery is how often a running phase says where it is when nobody looks at a terminal.
const lineEvery = 2 * time.Second

// progress shows phases of long work: bars on a terminal, lines elsewhere, nothing when told so. A phase is shown as done
// only when it is.
type progress struct {
	out   io.Writer
	log   *logWriter
	bars  *mpb.Progress
	bar   *mpb.Bar
	said  time.Time
	phase string
	own   edition.Estimate // of a phase that says no more than what is done
	noted string

	mu sync.Mutex // guards at, which bars read as they paint
	at step
}

// step is where a phase is.
type step struct {
	done, total int64
	part        float64 // of the whole work; < 0: the phase is all of it
	rate        float64 // a second; 0 = not known yet
	left        time.Duration
	heldBack    time.Duration
	note        string
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

// build shows the progress of a build.
func (p *progress) build(at edition.Progress) {
	phase := at.Phase
	if at.Phase == "replay" || at.Phase == "load" {
		phase = fmt.Sprintf("%s shard %d pass %d of %d", at.Phase, at.Shard, at.Pass, at.Passes)
	}
	p.show(phase, step{int64(at.Done), int64(at.Total), at.Part, at.Rate, at.Left, at.HeldBack, at.Note})
}

// tell shows where a phase is that knows no more than that.
func (p *progress) tell(phase string, done, total int64) {
	if phase != p.phase {
		p.own = edition.Estimate{}
	}
	s := step{done: done, total: total, part: -1}
	s.rate, s.left = p.own.At(time.Now(), float64(done), float64(total))
	p.show(phase, s)
}

// work is how much of a whole is done.
type work struct{ done, total int64 }

// tellPart shows where a phase is that is one part of a whole: rate, percentage and time left are of the whole.
func (p *progress) tellPart(phase string, done, total int64, whole work) {
	s := step{done: done, total: total, part: float64(whole.done) / float64(max(whole.total, 1))}
	s.rate, s.left = p.own.At(time.Now(), float64(whole.done), float64(whole.total))
	p.show(phase, s)
}

// show tells where a phase is. A phase ends when the next one begins, or with end.
func (p *progress) show(phase string, s step) {
	begins := phase != p.phase
	if begins {
		p.finish()
	}
	p.mu.Lock()
	p.at = s
	p.mu.Unlock()
	if begins {
		p.phase, p.said = phase, time.Now()
		if p.bars != nil {
			p.bar = p.bars.AddBar(max(s.total, 1), mpb.PrependDecorators(decor.Name(phase+" ", decor.WCSyncSpaceR), decor.CountersNoUnit("%d / %d")),
				mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return p.now().said() })))
		}
	}
	switch {
	case p.bar != nil:
		p.bar.SetTotal(max(s.total, 1), false)
		p.bar.SetCurrent(s.done)
	case s.note != "" && sameNote(s.note) != p.noted:
		p.noted = sameNote(s.note)
		fmt.Fprintf(p.out, "%s: %s\n", p.phase, s.note)
	case time.Since(p.said) >= lineEvery:
		p.line()
		p.said = time.Now()
	}
}

func (p *progress) now() step {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.at
}

// text is what stands behind the counters.
func (s step) text() string {
	var parts []string
	if s.part < 0 {
		parts = append(parts, percent(float64(s.done)/float64(max(s.total, 1))))
	} else {
		parts = append(parts, percent(s.part)+" of all")
	}
	if s.rate > 0 {
		parts = append(parts, fmt.Sprintf("%.0f/s", s.rate))
	}
	if s.left > 0 {
		parts = append(parts, s.left.Round(time.Second).String()+" left")
	}
	if s.heldBack >= time.Second {
		parts = append(parts, "held back "+s.heldBack.Round(time.Second).String()+" by live lag")
	}
	return strings.Join(parts, ", ")
}

// said is all of it, the note included.
func (s step) said() string {
	if s.note == "" {
		return s.text()
	}
	return s.text() + ", " + s.note
}

// sameNote is a note without its numbers: it is said again on a line of its own only when it says something else.
func sameNote(note string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return -1
		}
		return r
	}, note)
}

// percent never says 100 before everything is done.
func percent(part float64) string { return fmt.Sprintf("%d %%", int(math.Floor(part*100))) }

func (p *progress) line() {
	s := p.now()
	fmt.Fprintf(p.out, "%s: %d of %d, %s\n", p.phase, s.done, s.total, s.text())
}

// finish completes the current phase.
func (p *progress) finish() {
	s := p.now()
	switch {
	case p.phase == "":
	case p.bar != nil && s.done < s.total:
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
