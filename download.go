package cdn

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"example.com/huaweicloud/cdn/internal/atomicfile"
	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/retry"
)

// DownloadOption sets up one [CdnClient.Download] or [CdnClient.DownloadFile].
type DownloadOption func(*downloadOptions)

type downloadOptions struct{ progress func(Progress) }

// Progress is how far a download has come.
type Progress struct {
	// Bytes is how many bytes are written.
	Bytes int64
	// Total is how many there are, or -1 where the store does not say.
	Total int64
}

// WithProgress has report called as the download goes on: at most 10 times a second, and once at its
// end when it has succeeded. It is called by the downloading goroutine, which waits for it.
func WithProgress(report func(Progress)) DownloadOption {
	return func(o *downloadOptions) { o.progress = report }
}

// Download writes the file of a finished task to w, in constant memory, and returns how many bytes it
// has written.
//
// A download whose connection breaks goes on from the byte that it has reached, as long as the file
// is the same; a link that has expired is fetched anew. [RetryPolicy] bounds how many attempts in a row
// may bring nothing, and AttemptTimeout how long one may bring nothing. Redirects are followed up to
// three times, within https. The store gets no signature, cookie or account of this client. A time-out
// of a client given [WithHTTPClient] bounds each attempt.
//
// An error leaves what has been written in w. It wraps [ErrTaskNotFinished], [ErrTaskFailed] or
// [ErrTaskNotFound] where there is no file, and [ErrMalformedResponse] where the link is not https or the
// file is not what the store announced (its length or its Content-MD5 does not match, or it has changed
// meanwhile). It is w's own where w fails, and an [*APIError] where the service or the store answers with
// one; that of the store has the operation Download. An attempt that brings nothing is a time-out, as ctx's
// own end is: ctx tells them apart.
func (c *CdnClient) Download(ctx context.Context, taskID string, w io.Writer, opts ...DownloadOption) (int64, error) {
	const name = "Download"
	if w == nil {
		return 0, fmt.Errorf("cdn: %s: %w", name, invalid("w", nil, "must not be nil"))
	}
	n, err := c.download(ctx, taskID, writerSink{w}, opts)
	if err != nil {
		return n, fmt.Errorf("cdn: %s: %w", name, ofTask(taskID, err))
	}
	return n, nil
}

// DownloadFile downloads the file of a finished task to path, as [CdnClient.Download] does, and
// returns its length in bytes. The file gets its name only when it is complete and on disk: until then
// it is a temporary file beside it, which is removed on failure, and a file that was there before is
// untouched. A new file has the permissions of any file that the program creates, one that is replaced
// keeps its own, and its owner as far as the program may set it. What is not a regular file, such as a pipe or
// /dev/stdout, is written to directly. A file that changes in the store while it is downloaded is started over.
func (c *CdnClient) DownloadFile(ctx context.Context, taskID, path string, opts ...DownloadOption) (int64, error) {
	n, err := c.downloadFile(ctx, taskID, path, opts)
	if err != nil {
		return n, fmt.Errorf("cdn: DownloadFile: %w", ofTask(taskID, err))
	}
	return n, nil
}

func (c *CdnClient) downloadFile(ctx context.Context, taskID, path string, opts []DownloadOption) (int64, error) {
	if ctx == nil {
		return 0, invalid("ctx", nil, "must not be nil")
	}
	file, err := createFile(ctx, path)
	if err != nil {
		return 0, err
	}
	defer file.Discard() // also if a user's function panics
	n, err := c.download(ctx, taskID, fileSink{file}, opts)
	if err == nil {
		err = file.Commit()
	}
	if err == nil {
		return n, nil
	}
	if discardErr := file.Discard(); discardErr != nil {
		err = fmt.Errorf("%w; %w", err, discardErr)
	}
	return 0, err
}

// createFile creates the file for path. It refuses a path that cannot be a file.
func createFile(ctx context.Context, path string) (*atomicfile.File, error) {
	if path == "" {
		return nil, invalid("path", path, "must not be empty")
	}
	file, err := atomicfile.Create(ctx, path)
	if errors.Is(err, atomicfile.ErrDirectory) {
		return nil, invalid("path", path, "is a directory")
	}
	return file, err
}

type fileSink struct{ *atomicfile.File }

func (s fileSink) restart() error {
	if err := s.Restart(); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return errFileChanged
}

// A sink takes the bytes of a file.
type sink interface {
	io.Writer
	// restart drops what was written, or gives an error where that cannot be done.
	restart() error
}

var errFileChanged = fmt.Errorf("%w: the file has changed since the download began", ErrMalformedResponse)

type writerSink struct{ io.Writer }

func (writerSink) restart() error { return errFileChanged }

func (c *CdnClient) download(ctx context.Context, taskID string, to sink, opts []DownloadOption) (int64, error) {
	if ctx == nil {
		return 0, invalid("ctx", nil, "must not be nil")
	}
	var options downloadOptions
	for i, option := range opts {
		if option == nil {
			return 0, fmt.Errorf("%w: option %d is nil", ErrInvalidParameter, i)
		}
		option(&options)
	}
	d := &download{client: c, store: c.store, taskID: taskID, sink: to, report: options.progress, total: -1}
	err := d.run(ctx)
	if err != nil && d.written > 0 {
		return d.written, fmt.Errorf("at byte %d: %w", d.written, err)
	}
	return d.written, err
}

// store is the way to the object store: the user's transport, and nothing of the API's.
type store struct {
	http         *http.Client
	policy       RetryPolicy
	insecureHTTP bool
	logger       *slog.Logger
}

func newStore(o *options) *store {
	s := &store{policy: o.retryPolicy, insecureHTTP: o.insecureHTTP, logger: o.logger}
	s.http = &http.Client{Transport: redact.Transport{Base: o.transport()}, Timeout: o.httpClient.Timeout, CheckRedirect: s.checkRedirect}
	return s
}

const maxRedirects = 3

func (s *store) checkRedirect(req *http.Request, via []*http.Request) error {
	// net/http names the link that it comes from, and with it the key to the file.
	req.Header.Del("Referer")
	if len(via) > maxRedirects {
		return fmt.Errorf("%w: more than %d redirects", ErrMalformedResponse, maxRedirects)
	}
	if via[0].URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("%w: redirected out of https, to %s", ErrMalformedResponse, redact.Link(req.URL.String()))
	}
	return s.checkLink(req.URL)
}

// checkLink refuses links that are not encrypted, by the rule of endpoints.
func (s *store) checkLink(link *url.URL) error {
	switch {
	case link.Hostname() == "":
		return fmt.Errorf("%w: the download link has no host", ErrMalformedResponse)
	case link.Scheme == "https":
		return nil
	case link.Scheme == "http" && (s.insecureHTTP || isLoopback(link.Hostname())):
		return nil
	}
	return fmt.Errorf("%w: the download link %s is not https: only loopback hosts are reached without encryption, or any WithInsecureHTTP",
		ErrMalformedResponse, redact.Link(link.String()))
}

// download is one file on its way.
type download struct {
	client *CdnClient
	store  *store
	taskID string
	sink   sink
	report func(Progress)

	link     *url.URL
	attempts int
	status   int // of the store's answer to the last attempt; 0 where there was none
	restarts int
	// partEnded is whether the last attempt came to the end of a part of a file of unknown length.
	partEnded bool
	written   int64
	total     int64 // -1 while it is not known
	etag      string
	modified  string
	// sum runs over what is written where the store announced wantMD5.
	sum        hash.Hash
	wantMD5    string
	reportedAt time.Time
	buffer     []byte
}

const (
	// enoughProgress is how many bytes a broken attempt must have brought, so that the next one follows
	// without a pause.
	enoughProgress = 64 << 10
	downloadBuffer = 64 << 10
	reportPause    = 100 * time.Millisecond
)

// run makes attempts until one reaches the end of the file.
func (d *download) run(ctx context.Context) error {
	if err := d.fetchLink(ctx); err != nil {
		return err
	}
	pauses := retry.NewBackoff(d.store.policy.MinBackoff, d.store.policy.MaxBackoff)
	fruitless := 0
	for {
		before := d.written
		err := d.attempt(ctx)
		if err == nil {
			return d.finish()
		}
		d.partEnded = errors.Is(err, errPartEnds)
		brought := d.written - before
		fruitless++
		if brought > 0 {
			fruitless = 0
		}
		switch {
		case ctx.Err() != nil:
			return endOf(ctx)
		case !mayPassForDownload(err):
			return err
		case d.written == d.total:
			return d.finish() // only the end of the answer was lost
		case d.store.policy.MaxAttempts == 1:
			return err
		case fruitless == d.store.policy.MaxAttempts:
			return fmt.Errorf("%w (%d attempts in a row brought nothing)", err, fruitless)
		}
		if err := d.pause(ctx, pauses, brought, err); err != nil {
			return err
		}
		if isExpired(err) || d.linkHasExpired() {
			if err := d.fetchLink(ctx); err != nil {
				return err
			}
		}
	}
}

// pause waits before the next attempt. Where that would be in vain, cause is the end of the download.
func (d *download) pause(ctx context.Context, pauses *retry.Backoff, brought int64, cause error) error {
	pause := pauseAfter(cause, brought, pauses)
	deadline, bounded := ctx.Deadline()
	if pause > maxRetryAfter || bounded && time.Until(deadline) <= pause {
		return cause
	}
	d.store.logger.LogAttrs(ctx, slog.LevelWarn, "cdn: retry",
		slog.String("operation", storeOperation),
		slog.Int("attempt", d.attempts),
		slog.Duration("pause", pause),
		slog.String("reason", cause.Error()))
	if !sleep(ctx, pause) {
		return fmt.Errorf("%w; the last attempt before that: %w", endOf(ctx), cause)
	}
	return nil
}

// pauseAfter is how long to wait after an attempt, which is not at all where it has brought enough.
func pauseAfter(cause error, brought int64, pauses *retry.Backoff) time.Duration {
	var answer *APIError
	switch {
	case errors.As(cause, &answer) && answer.RetryAfter > 0:
		return answer.RetryAfter
	case brought >= enoughProgress, isExpired(cause):
		pauses.Reset()
		return 0
	}
	return pauses.Next()
}

// fetchLink gets the link from the service, and says why where there is none.
func (d *download) fetchLink(ctx context.Context) error {
	task, err := d.client.getTask(ctx, operation{name: "GetExportTask"}, d.taskID)
	if err != nil {
		return inStep("GetExportTask", err)
	}
	switch {
	case task.Status == ExportTaskFail:
		return ErrTaskFailed
	case task.Status != ExportTaskSuccess:
		return fmt.Errorf("%w: it has the status %q", ErrTaskNotFinished, redact.Excerpt(string(task.Status), redact.Short))
	case task.DownloadLink == "":
		return fmt.Errorf("%w: the task is finished and has no download link", ErrMalformedResponse)
	}
	link, err := url.Parse(task.DownloadLink)
	if err != nil {
		return fmt.Errorf("%w: the download link is not a URL", ErrMalformedResponse)
	}
	d.link = link
	return d.store.checkLink(link)
}

// linkHasExpired goes by the link's own parameter, in seconds since 1970, where it has one.
func (d *download) linkHasExpired() bool {
	expires, err := strconv.ParseInt(d.link.Query().Get("Expires"), 10, 64)
	return err == nil && time.Now().Unix() >= expires
}

// attempt asks for what is missing and writes it. It is cut off when it has waited for the store, and
// not for whoever takes the bytes, for the time of one attempt.
func (d *download) attempt(ctx context.Context) error {
	patience := d.store.policy.AttemptTimeout
	attempt, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := fmt.Errorf("no byte within %v: %w", patience, context.DeadlineExceeded)
	timer := time.AfterFunc(patience, func() { cancel(stalled) })
	defer timer.Stop()

	start, before := time.Now(), d.written
	d.attempts++
	d.status = 0
	err := d.transfer(attempt, timer)
	var answer *APIError
	var ofSink writeError
	if err != nil && ctx.Err() == nil && attempt.Err() != nil && !errors.As(err, &answer) && !errors.As(err, &ofSink) {
		err = stalled
	}
	d.log(ctx, err, d.written-before, time.Since(start))
	return err
}

func (d *download) log(ctx context.Context, err error, bytes int64, duration time.Duration) {
	if !d.store.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("operation", storeOperation),
		slog.Int("attempt", d.attempts),
		slog.Duration("duration", duration),
		slog.Int64("bytes", bytes),
	}
	if d.status != 0 {
		attrs = append(attrs, slog.Int("status", d.status))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	d.store.logger.LogAttrs(ctx, slog.LevelDebug, "cdn: request", attrs...)
}

func (d *download) transfer(ctx context.Context, timer *time.Timer) error {
	resp, err := d.request(ctx)
	if err != nil {
		return err
	}
	timer.Stop()
	defer resp.Body.Close()
	resp.Body = timedBody{resp.Body, timer, d.store.policy.AttemptTimeout}
	d.status = resp.StatusCode
	err = d.accept(resp)
	switch {
	case errors.Is(err, errComplete):
		return nil
	case err != nil:
		return err
	}
	return d.copy(resp.Body)
}

// timedBody has the timer run while it is read, anew each time.
type timedBody struct {
	io.ReadCloser
	timer    *time.Timer
	patience time.Duration
}

func (b timedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.patience)
	defer b.timer.Stop()
	return b.ReadCloser.Read(p)
}

func (d *download) request(ctx context.Context) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.link.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: the download link is not a URL", ErrMalformedResponse)
	}
	req.Header.Set("User-Agent", d.client.userAgent)
	// Ranges count the bytes of the file as it is.
	req.Header.Set("Accept-Encoding", "identity")
	if d.written > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(d.written, 10)+"-")
		if validator := d.validator(); validator != "" {
			req.Header.Set("If-Range", validator)
		}
	}
	resp, err := d.store.http.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		// The link in net/http's error is the key to the file.
		return nil, fmt.Errorf("get %s: %w", redact.Link(d.link.String()), withoutQuery{failed.Err, d.link.RawQuery})
	}
	return resp, err
}

// withoutQuery is the error of a transport, which may quote the link, or one that it was redirected to.
type withoutQuery struct {
	error
	query string
}

func (e withoutQuery) Error() string { return redact.Links(redact.Query(e.error.Error(), e.query)) }
func (e withoutQuery) Unwrap() error { return e.error }

// validator is what tells the file from another version of it; a weak ETag does not, to the byte.
func (d *download) validator() string {
	if d.etag != "" && !strings.HasPrefix(d.etag, "W/") {
		return d.etag
	}
	return d.modified
}

// accept looks at the header of an answer and makes ready to write its body, which begins at d.written.
func (d *download) accept(resp *http.Response) error {
	switch resp.StatusCode {
	case http.StatusOK:
		return d.acceptWhole(resp)
	case http.StatusPartialContent:
		return d.acceptPart(resp)
	case http.StatusRequestedRangeNotSatisfiable:
		return d.acceptNothing(resp)
	}
	return inStep("Download", storeError(resp, d.attempts))
}

// errComplete ends a download of a length that was not known before its end.
var errComplete = errors.New("there is no more")

// acceptNothing takes the answer that there are no bytes where the next ones were asked for: because
// all are written, or the file has become shorter.
func (d *download) acceptNothing(resp *http.Response) error {
	if d.written == 0 {
		return fmt.Errorf("%w: status %d for the whole file", ErrMalformedResponse, resp.StatusCode)
	}
	length, err := strconv.ParseInt(strings.TrimPrefix(resp.Header.Get("Content-Range"), "bytes */"), 10, 64)
	switch {
	case err == nil && length == d.written && d.isSame(resp, length):
		return errComplete
	case err != nil && d.partEnded && !d.differs(resp, -1): // it does not say how long the file is
		return errComplete
	}
	if err := d.restart(); err != nil {
		return err
	}
	return errStartOver
}

// acceptWhole takes an answer that begins at the first byte.
func (d *download) acceptWhole(resp *http.Response) error {
	if d.written > 0 && !d.isSame(resp, resp.ContentLength) {
		if err := d.restart(); err != nil {
			return err
		}
	}
	if d.written > 0 {
		// The store does not do ranges. The file is the same: pass over what is written.
		if _, err := io.CopyN(io.Discard, resp.Body, d.written); err != nil {
			return withoutQuery{err, d.link.RawQuery}
		}
		return nil
	}
	d.total, d.etag, d.modified = resp.ContentLength, resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	d.sum, d.wantMD5 = nil, resp.Header.Get("Content-MD5")
	if d.wantMD5 != "" {
		d.sum = md5.New()
	}
	return nil
}

// acceptPart takes an answer that goes on where the last one broke off.
func (d *download) acceptPart(resp *http.Response) error {
	start, total, ok := parseContentRange(resp.Header.Get("Content-Range"))
	if !ok || start != d.written {
		return fmt.Errorf("%w: asked for the bytes from %d on, got Content-Range %q",
			ErrMalformedResponse, d.written, redact.Excerpt(resp.Header.Get("Content-Range"), redact.Short))
	}
	if !d.isSame(resp, total) {
		if err := d.restart(); err != nil {
			return err
		}
		return errStartOver
	}
	if d.total < 0 {
		d.total = total
	}
	if d.etag == "" && d.modified == "" {
		d.etag, d.modified = resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	}
	return nil
}

// errStartOver ends an attempt after which the next one begins at the first byte.
var errStartOver = fmt.Errorf("%w: the file has changed, starting over", ErrMalformedResponse)

// isSame reports whether an answer is about the file that was begun: whatever both say must agree.
func (d *download) isSame(resp *http.Response, total int64) bool {
	etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	known := d.etag != "" && etag != "" || d.modified != "" && modified != ""
	return (known || total >= 0) && !d.differs(resp, total)
}

// differs reports whether an answer contradicts what is known of the file. An ETag that is strong says it
// all; copies of a file may have different dates.
func (d *download) differs(resp *http.Response, total int64) bool {
	etag, modified := resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")
	switch {
	case d.total >= 0 && total >= 0 && d.total != total:
		return true
	case d.etag != "" && etag != "" && (d.etag != etag || !strings.HasPrefix(etag, "W/")):
		return d.etag != etag
	}
	return d.modified != "" && modified != "" && d.modified != modified
}

// restart begins at the first byte of another version of the file, unless there is one each time.
func (d *download) restart() error {
	if d.restarts++; d.restarts > d.store.policy.MaxAttempts {
		return errFileChanged
	}
	if err := d.sink.restart(); err != nil {
		return err
	}
	d.written, d.total, d.etag, d.modified = 0, -1, "", ""
	d.sum, d.wantMD5 = nil, ""
	return nil
}

// parseContentRange reads "bytes START-END/TOTAL", with * for a total that is not known, then -1.
func parseContentRange(value string) (start, total int64, ok bool) {
	bounds, ok := strings.CutPrefix(value, "bytes ")
	if !ok {
		return 0, 0, false
	}
	bounds, of, ok := strings.Cut(bounds, "/")
	first, _, dash := strings.Cut(bounds, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !ok || !dash || err != nil || start < 0 {
		return 0, 0, false
	}
	if of == "*" {
		return start, -1, true
	}
	total, err = strconv.ParseInt(of, 10, 64)
	return start, total, err == nil && total >= 0
}

// writeError is the sink's error.
type writeError struct{ error }

func (e writeError) Unwrap() error { return e.error }

func (d *download) copy(body io.Reader) error {
	if d.buffer == nil {
		d.buffer = make([]byte, downloadBuffer)
	}
	for {
		n, err := body.Read(d.buffer)
		if n > 0 {
			if err := d.write(d.buffer[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return d.checkLength()
		case err != nil:
			return withoutQuery{err, d.link.RawQuery}
		}
	}
}

func (d *download) write(chunk []byte) error {
	if d.total >= 0 && d.written+int64(len(chunk)) > d.total {
		return fmt.Errorf("%w: more than the %d bytes that the store announced", ErrMalformedResponse, d.total)
	}
	n, err := d.sink.Write(chunk)
	d.written += int64(n)
	switch {
	case err != nil:
		return writeError{err}
	case n < len(chunk):
		return writeError{io.ErrShortWrite}
	}
	if d.sum != nil {
		d.sum.Write(chunk)
	}
	if d.report != nil && time.Since(d.reportedAt) >= reportPause {
		d.reportedAt = time.Now()
		d.report(Progress{d.written, d.total})
	}
	return nil
}

// errPartEnds is at the end of a part of a file whose length is not known: there may be more.
var errPartEnds = fmt.Errorf("a part of a file of unknown length: %w", io.ErrUnexpectedEOF)

// checkLength is at the end of an answer: one that was asked for in full, and ended early without an
// error, may be a store's limit on ranges, and is gone on with.
func (d *download) checkLength() error {
	switch {
	case d.total >= 0 && d.written < d.total:
		return fmt.Errorf("%d of %d bytes: %w", d.written, d.total, io.ErrUnexpectedEOF)
	case d.total < 0 && d.status == http.StatusPartialContent:
		return errPartEnds
	}
	return nil
}

// finish checks the whole file.
func (d *download) finish() error {
	if d.sum != nil {
		if got := base64.StdEncoding.EncodeToString(d.sum.Sum(nil)); got != d.wantMD5 {
			return fmt.Errorf("%w: the file's MD5 is %s, and the store announced %s", ErrMalformedResponse, got, redact.Excerpt(d.wantMD5, redact.Short))
		}
	}
	if d.report != nil {
		d.report(Progress{d.written, d.total})
	}
	return nil
}

// mayPassForDownload reports whether another attempt may do better.
func mayPassForDownload(err error) bool {
	var ofSink writeError
	var answer *APIError
	switch {
	case errors.As(err, &ofSink):
		return false
	case errors.Is(err, errStartOver):
		return true
	case errors.As(err, &answer):
		return isTransientResponse(answer) || isExpired(err)
	case isOwn(err):
		return false
	}
	return retry.IsTransient(err)
}

// isExpired reports whether the store refused the link.
func isExpired(err error) bool {
	var answer *APIError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		return true
	}
	return false
}

// storeError is the error for an answer of the object store, which reports errors in XML. Nothing else
// of the body is shown: it may repeat the link.
func storeError(resp *http.Response, attempts int) error {
	var body struct {
		Code      string
		Message   string
		RequestID string `xml:"RequestId"`
	}
	if err := xml.NewDecoder(io.LimitReader(resp.Body, trustedLength)).Decode(&body); err != nil {
		body.Code, body.Message = "", ""
	}
	return &APIError{
		Operation:  storeOperation,
		StatusCode: resp.StatusCode,
		RequestID:  redact.Excerpt(firstOf(body.RequestID, resp.Header.Get("X-Obs-Request-Id"), resp.Header.Get("X-Request-Id")), maxRequestID),
		ErrMsg:     ErrMsg{ErrorCode: redact.Links(redact.Excerpt(body.Code, redact.Short)), ErrorMsg: redact.Links(redact.Excerpt(body.Message, redact.Short))},
		RetryAfter: retry.After(resp.Header, time.Now()),
		Attempts:   attempts,
	}
}
