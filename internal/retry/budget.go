package retry

import "sync/atomic"

// The size of a budget and the cost of a retry are those of the AWS SDK's standard retryer.
const (
	budgetTokens = 500
	retryCost    = 5
)

// Budget bounds the retries of all calls of a client, which protects a failing service from more load. A retry
// takes 5 of its 500 tokens. The zero value is full. It is safe for concurrent use.
type Budget struct{ spent atomic.Int64 }

// Take pays for a retry. It reports false if too few tokens are left.
func (b *Budget) Take() bool {
	if b.spent.Add(retryCost) <= budgetTokens {
		return true
	}
	b.spent.Add(-retryCost)
	return false
}

// Refund returns the tokens of a successful call's last retry, or one token if the call needed no retry.
func (b *Budget) Refund(retried bool) {
	refund := int64(1)
	if retried {
		refund = retryCost
	}
	for {
		spent := b.spent.Load()
		if spent == 0 || b.spent.CompareAndSwap(spent, max(0, spent-refund)) {
			return
		}
	}
}
