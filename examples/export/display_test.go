package main

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/vbauerster/mpb/v8"

	"example.com/huaweicloud/cdn"
)

// onScreen is the display of a terminal that shows on w.
func onScreen(w io.Writer) *display {
	return liveDisplay(mpb.WithOutput(w), mpb.ForceTTY(), mpb.WithAutoRefresh(), mpb.WithRefreshRate(time.Millisecond))
}

func TestOnATerminal(t *testing.T) {
	var screen bytes.Buffer
	show := onScreen(&screen)
	waited := show.wait("waiting for\ta task")
	waited()
	show.line("task %s is finished", "1\x1b[2J")
	report, done := show.download("downloading")
	report(cdn.Progress{Bytes: 1 << 20, Total: -1})
	report(cdn.Progress{Bytes: 1 << 20, Total: 4 << 20})
	report(cdn.Progress{Bytes: 3 << 19, Total: 3 << 19}) // the file has changed, and become shorter
	done(true)
	show.close()

	text := screen.String()
	assert.Contains(t, text, ` waiting for\ta task `)
	assert.Contains(t, text, `task 1\x1b[2J is finished`+"\n")
	assert.Contains(t, text, "downloading [==")
	assert.Contains(t, text, "] 1.5 of 1.5 MiB")
}

// A download that fails leaves no bar that never ends.
func TestOnATerminalAfterAFailure(t *testing.T) {
	var screen bytes.Buffer
	show := onScreen(&screen)
	report, done := show.download("downloading")
	report(cdn.Progress{Bytes: 1, Total: 2})
	done(false)
	show.close()
}

func TestTerminalThatIsGone(t *testing.T) {
	show := onScreen(broken{})
	waited := show.wait("waiting")
	show.line("a line")
	waited()
	report, done := show.download("downloading")
	report(cdn.Progress{Bytes: 1, Total: 2})
	done(true)
	show.close()
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestPlainLinesOfALongDownload(t *testing.T) {
	var text strings.Builder
	report, done := (&display{Writer: &text}).download("downloading")
	report(cdn.Progress{Bytes: 1536, Total: -1})
	report(cdn.Progress{Bytes: 1 << 20, Total: 4 << 20})
	done(true)
	assert.Equal(t, "downloading\ndownloading: 1.5 KiB\ndownloading: 1.0 of 4.0 MiB\n", text.String())

	text.Reset()
	report, done = (&display{Writer: &text, pause: time.Hour}).download("downloading")
	for n := range int64(100) {
		report(cdn.Progress{Bytes: n, Total: 100})
	}
	done(true)
	assert.Equal(t, "downloading\n", text.String(), "a quick one has no more than one line")
}
