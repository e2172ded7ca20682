package pace

import "time"

// Turn is the permission to send one request. Exactly one of its methods is called, once, when the request
// has its outcome.
type Turn struct {
	pacer  *Pacer
	at     time.Duration // when the turn came
	before time.Duration // when the turn before it came
	free   bool          // given while no quota was known
	event  int           // number of the last refusal when the turn came
	probe  bool          // the request shows whether a block is over
	early  bool          // the window had no room, but nothing was sent for long
}

// Allowed reports that the request was sent and not refused for the quota. It is also called if the response
// was lost: the service may have counted the request.
func (t *Turn) Allowed() { t.pacer.allowed(t) }

// Refused reports that the service refused the request for its quota.
func (t *Turn) Refused(hint Hint) { t.pacer.refused(t, hint) }

// Unsent gives the turn back: the service has not seen the request.
func (t *Turn) Unsent() { t.pacer.unsent(t) }
