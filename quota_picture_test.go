package cdn

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
	"example.com/huaweicloud/cdn/internal/servicemodel"
)

var drawPictures = flag.Bool("draw", false, "draw docs/images/quota.svg from what TestQuotaPicture measures")

// TestQuotaPicture measures 60 exports at once under 20 requests a minute, with this package and with the official
// SDK in a loop that sleeps and retries, and draws docs/images/quota.svg:
//
//	go test -run TestQuotaPicture -draw .
func TestQuotaPicture(t *testing.T) {
	measure := func(by func(*testing.T, *servicemodel.Service, *CdnClient, string) bool) crowdOutcome {
		limiter := &pacetest.Limiter{Kind: pacetest.Sliding, N: 20, Per: time.Minute, RefusedCount: true}
		return crowd{exports: 60, clients: 1, export: by, quota: servicemodel.Quota{Limiter: limiter, Hint: servicemodel.HintText}}.run(t)
	}
	ours, theirs := measure(byExport), measure(byOfficial)
	assert.Equal(t, 60, ours.succeeded)
	assert.Less(t, ours.refused, 10)
	assert.Greater(t, theirs.refused, 10*ours.refused)
	path := filepath.Join("docs", "images", "quota.svg")
	if *drawPictures {
		require.NoError(t, os.WriteFile(path, []byte(drawQuota(ours, theirs)), 0o644))
	}
	picture, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Contains(t, string(picture), "go test -run TestQuotaPicture -draw .")
}

// curve is cumulative counts over time, in minutes.
type curve struct{ minutes, counts []float64 }

// count returns how many of the requests that match were responded to, over time.
func count(requests []servicemodel.Request, match func(int) bool) curve {
	var c curve
	begin := requests[0].At
	for _, r := range requests {
		if match(r.Status) {
			c.minutes = append(c.minutes, r.At.Sub(begin).Minutes())
			c.counts = append(c.counts, float64(len(c.counts)+1))
		}
	}
	return c
}

// drawQuota returns two panels with one scale: requests accepted and refused over time.
func drawQuota(ours, theirs crowdOutcome) string {
	const width, height, left, top, gap = 400.0, 190.0, 46.0, 58.0, 66.0
	refused := func(status int) bool { return status == http.StatusTooManyRequests }
	accepted := func(status int) bool { return status == http.StatusOK }
	var minutes, counts float64
	for _, o := range []crowdOutcome{ours, theirs} {
		minutes = max(minutes, o.took.Minutes())
		counts = max(counts, float64(o.refused), float64(o.requests-o.refused))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f 306" role="img" aria-labelledby="t d" font-family="system-ui,Segoe UI,Helvetica,Arial,sans-serif">
<title id="t">60 exports at once under a quota of 20 requests a minute</title>
<desc id="d">With this package: %d refused, %d exports succeed. With the official SDK and retries: %d refused, %d succeed. Drawn by: go test -run TestQuotaPicture -draw .</desc>
<style>.h{font-size:15px;font-weight:600;fill:#1b2733}.t{font-size:12px;fill:#44525f}.x{stroke:#a8b2bb;fill:none}.ok{stroke:#3a7d44;stroke-width:2.5;fill:none}.no{stroke:#c0392b;stroke-width:2.5;fill:none}.okt{fill:#3a7d44;font-size:12px}.not{fill:#c0392b;font-size:12px}@media (prefers-color-scheme:dark){.h{fill:#eef2f6}.t{fill:#b7c2cc}.x{stroke:#66727d}.ok{stroke:#6fbf80}.no{stroke:#f0776a}.okt{fill:#6fbf80}.not{fill:#f0776a}}</style>
`, 2*width+left+gap+20, ours.refused, ours.succeeded, theirs.refused, theirs.succeeded)
	panels := []struct {
		title string
		o     crowdOutcome
	}{{"this package", ours}, {"the official SDK in a loop that sleeps and retries", theirs}}
	for i, p := range panels {
		x0 := left + float64(i)*(width+gap)
		fmt.Fprintf(&b, `<text class="h" x="%.0f" y="20">%s</text><text class="t" x="%.0f" y="40">%d of 60 exports succeed, %.1f min, </text><text class="not" x="%.0f" y="40">%d refused</text>`+"\n",
			x0, p.title, x0, p.o.succeeded, p.o.took.Minutes(), x0+222, p.o.refused)
		fmt.Fprintf(&b, `<path class="x" d="M%.0f %.0fv%.0fh%.0f"/><text class="t" x="%.0f" y="%.0f" text-anchor="end">%.0f</text><text class="t" x="%.0f" y="%.0f" text-anchor="end">0</text><text class="t" x="%.0f" y="%.0f" text-anchor="end">%.0f min</text>`+"\n",
			x0, top, height, width, x0-6, top+10, counts, x0-6, top+height, x0+width, top+height+18, minutes)
		line := func(class string, c curve) {
			fmt.Fprintf(&b, `<path class="%s" d="M%.1f %.1f`, class, x0, top+height)
			for j := range c.minutes {
				fmt.Fprintf(&b, "H%.1fV%.1f", x0+c.minutes[j]/minutes*width, top+height-c.counts[j]/counts*height)
			}
			b.WriteString("\"/>\n")
		}
		line("ok", count(p.o.log, accepted))
		line("no", count(p.o.log, refused))
	}
	fmt.Fprintf(&b, `<text class="okt" x="%.0f" y="%.0f">— requests accepted</text><text class="not" x="%.0f" y="%.0f">— requests refused</text>`+"\n</svg>\n",
		left, top+height+38, left+150, top+height+38)
	return b.String()
}

// inOrderOfTime sorts requests by when they came.
func inOrderOfTime(requests []servicemodel.Request) []servicemodel.Request {
	slices.SortFunc(requests, func(a, b servicemodel.Request) int { return a.At.Compare(b.At) })
	return requests
}
