package pace

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// TestPaceTable prints a table of what the pace comes to, and checks it against the goals: 460 requests, which
// is 200 exports' worth, under 20 per minute. Each row is of twelve simulations: with and without refused
// requests counting, one and four requests in flight at most, begun at three moments of a minute.
//
//	go test -run TestPaceTable -v ./internal/pace
func TestPaceTable(t *testing.T) {
	goals := []struct {
		clients                     int
		hints                       hints
		meanTime, worstTime, refuse float64
	}{
		{1, withText, 1.25, 1.25, 0.03},
		{1, withRetryAfter, 1.5, 1.5, 0.10},
		{1, withNothing, 2, 2, 0.20},
		{4, withText, 1.5, 2, 0.15},
		{4, withRetryAfter, 2, 5, 0.30},
		{4, withNothing, 2, 5, 0.30},
	}
	printRow("| clients | a 429 carries | window | time / ideal | worst | refused | worst |\n|---|---|---|---|---|---|---|\n")
	for _, goal := range goals {
		for _, kind := range pacetest.Kinds() {
			var ratios, shares []float64
			for i := range 12 {
				r := load{
					limiter: &pacetest.Limiter{Kind: kind, N: 20, Per: time.Minute, RefusedCount: i%2 == 0},
					hints:   goal.hints, requests: 460, clients: goal.clients, workers: 1 + i/2%2*3, seed: uint64(i),
					after: time.Duration(i/4) * 25 * time.Second,
				}.run(t)
				ratios, shares = append(ratios, r.ratio()), append(shares, r.share())
			}
			printRow("| %d | %v | %v | %.2f | %.2f | %.1f %% | %.1f %% |\n", goal.clients, goal.hints, kind,
				mean(ratios), slices.Max(ratios), 100*mean(shares), 100*slices.Max(shares))
			assert.LessOrEqual(t, mean(ratios), goal.meanTime, "%d clients, %v, %v", goal.clients, goal.hints, kind)
			assert.LessOrEqual(t, slices.Max(ratios), goal.worstTime, "%d clients, %v, %v", goal.clients, goal.hints, kind)
			assert.LessOrEqual(t, slices.Max(shares), goal.refuse, "%d clients, %v, %v", goal.clients, goal.hints, kind)
		}
	}
}

func mean(values []float64) (sum float64) {
	for _, value := range values {
		sum += value / float64(len(values))
	}
	return sum
}

func printRow(format string, values ...any) {
	if testing.Verbose() {
		fmt.Printf(format, values...)
	}
}
