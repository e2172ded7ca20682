package transfer

import "time"

// Request describes one request to the store that has ended, with the redirects that it followed.
type Request struct {
	Attempt    int // counts the requests of a copy, from 1
	StatusCode int // 0 if no response came
	// Bytes is how many bytes of the file were written.
	Bytes int64
	// Duration includes the time of the sink.
	Duration time.Duration
	Err      error // nil after a success
}
