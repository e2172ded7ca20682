package pace

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"example.com/huaweicloud/cdn/internal/pace/pacetest"
)

// TestPaceTable prints a table of what the pace comes to, and checks it against the goals: 460 requests, which
// is 200 exports' worth, under 20 per minute. Each row is the worst of twelve simulations: with and without
// refused requests counting, one and four requests in flight at most, begun at three moments of a minute.
//
//	go test -run TestPaceTable -v ./internal/pace
func TestPaceTable(t *testing.T) {
	const never = 100 // the times of clients that share a quota without its text differ widely
	goals := []struct {
		clients        int
		hints          hints
		ratio, refused float64
	}{
		{1, withText, 1.25, 0.03},
		{1, withRetryAfter, 1.5, 0.10},
		{1, withNothing, 2, 0.20},
		{4, withText, 1.5, 0.15},
		{4, withRetryAfter, never, 0.30},
		{4, withNothing, never, 0.30},
	}
	printRow("| clients | a 429 carries | window | time / ideal | refused |\n|---|---|---|---|---|\n")
	for _, goal := range goals {
		for _, kind := range pacetest.Kinds() {
			ratio, refused := 0.0, 0.0
			for _, count := range []bool{true, false} {
				for _, workers := range []int{1, 4} {
					for seed := range uint64(3) {
						r := load{
							limiter: &pacetest.Limiter{Kind: kind, N: 20, Per: time.Minute, RefusedCount: count},
							hints:   goal.hints, requests: 460, clients: goal.clients, workers: workers, seed: seed,
							after: time.Duration(seed) * 25 * time.Second,
						}.run(t)
						ratio, refused = max(ratio, r.ratio()), max(refused, r.share())
					}
				}
			}
			printRow("| %d | %v | %v | %.2f | %.1f %% |\n", goal.clients, goal.hints, kind, ratio, 100*refused)
			assert.LessOrEqual(t, ratio, goal.ratio, "time, %d clients, %v, %v", goal.clients, goal.hints, kind)
			assert.LessOrEqual(t, refused, goal.refused, "refused, %d clients, %v, %v", goal.clients, goal.hints, kind)
		}
	}
}

func printRow(format string, values ...any) {
	if testing.Verbose() {
		fmt.Printf(format, values...)
	}
}
