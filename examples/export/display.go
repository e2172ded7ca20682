package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

// A display shows what the program is doing: with a line that moves where there is a terminal, with
// plain lines otherwise. What is written to it are whole lines.
type display struct {
	io.Writer
	bars  *mpb.Progress // nil where there is no terminal
	pause time.Duration // between two plain lines about one download
}

func newDisplay(stderr io.Writer) *display {
	if file, ok := stderr.(*os.File); ok {
		// What is no terminal has no size, and some of those that run programs for others have no width.
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
			return liveDisplay(mpb.WithOutput(stderr))
		}
	}
	return &display{Writer: stderr, pause: 10 * time.Second}
}

func liveDisplay(options ...mpb.ContainerOption) *display {
	bars := mpb.New(options...)
	return &display{Writer: bars, bars: bars}
}

// close leaves the terminal to others.
func (d *display) close() {
	if d.bars != nil {
		d.bars.Wait()
	}
}

// line shows a line that stays.
func (d *display) line(format string, args ...any) {
	_, _ = fmt.Fprintln(d, cli.Printable(fmt.Sprintf(format, args...)))
}

// wait shows that the program waits, and for how long, until done is called.
func (d *display) wait(what string) (done func()) {
	what = cli.Printable(what)
	if d.bars == nil {
		d.line("%s", what)
		return func() {}
	}
	spinner, err := d.bars.Add(0, mpb.SpinnerStyle().Build(), mpb.BarWidth(1), mpb.BarFillerTrim(),
		mpb.AppendDecorators(decor.Name(" "+what+" "), decor.Elapsed(decor.ET_STYLE_MMSS)))
	if err != nil {
		return func() {} // the terminal is gone, which is no reason to stop
	}
	return func() { spinner.Abort(true) }
}

// download shows how far a download has come, as report is told, until done is called.
func (d *display) download(what string) (report func(cdn.Progress), done func(complete bool)) {
	if d.bars == nil {
		d.line("%s", what)
		return d.reportLines(what), func(bool) {}
	}
	// The length is not known yet.
	bar, err := d.bars.Add(0, mpb.BarStyle().Build(),
		mpb.PrependDecorators(decor.Name(what)),
		mpb.AppendDecorators(decor.Any(func(s decor.Statistics) string {
			return sizes(cdn.Progress{Bytes: s.Current, Total: s.Total})
		}), decor.AverageSpeed(decor.SizeB1024(0), "  % .1f")))
	if err != nil {
		return func(cdn.Progress) {}, func(bool) {}
	}
	report = func(p cdn.Progress) {
		bar.SetTotal(max(0, p.Total), false)
		bar.SetCurrent(p.Bytes)
	}
	return report, func(complete bool) {
		if complete {
			bar.SetTotal(-1, true) // what there is, is all
		} else {
			bar.Abort(true)
		}
	}
}

func (d *display) reportLines(what string) func(cdn.Progress) {
	next := time.Now().Add(d.pause)
	return func(p cdn.Progress) {
		if now := time.Now(); !now.Before(next) {
			next = now.Add(d.pause)
			d.line("%s: %s", what, sizes(p))
		}
	}
}

// sizes is how much there is of how much, where that is known.
func sizes(p cdn.Progress) string {
	unit, name := 1024.0, "KiB"
	if max(p.Bytes, p.Total) >= 1<<20 {
		unit, name = 1<<20, "MiB"
	}
	if p.Total <= 0 {
		return fmt.Sprintf("%.1f %s", float64(p.Bytes)/unit, name)
	}
	return fmt.Sprintf("%.1f of %.1f %s", float64(p.Bytes)/unit, float64(p.Total)/unit, name)
}
