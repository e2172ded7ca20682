package cdn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"

	"example.com/huaweicloud/cdn/internal/atomicfile"
	"example.com/huaweicloud/cdn/internal/redact"
	"example.com/huaweicloud/cdn/internal/transfer"
)

// DownloadOption sets up one [CdnClient.Download] or [CdnClient.DownloadFile].
type DownloadOption func(*downloadOptions) error

type downloadOptions struct {
	progress func(Progress)
	link     *url.URL
	// served reports whether the link is the service's, so that a fault of it is not the caller's.
	served bool
}

// Progress is how far a download has come.
type Progress struct {
	// Bytes is how many bytes are written. It begins again at 0 if the file is started over.
	Bytes int64
	// Total is the length of the file in bytes, or -1 if the store does not say.
	Total int64
}

// WithProgress calls report while the download makes progress: at most 10 times a second, and once at its end if
// it has succeeded. The downloading goroutine calls it and waits for it.
func WithProgress(report func(Progress)) DownloadOption {
	return func(o *downloadOptions) error {
		o.progress = report
		return nil
	}
}

// WithLink starts the download with link, the DownloadLink of the finished task: the service is not asked for it
// again. A new link is fetched only if the store refuses this one, or if it has expired. The link must be https, as
// the service's links are; its host is not checked.
func WithLink(link string) DownloadOption {
	return func(o *downloadOptions) error {
		parsed, err := url.Parse(link)
		if err != nil || link == "" {
			return invalid("Link", redact.Link(link), "is not a URL")
		}
		o.link = parsed
		return nil
	}
}

// Download writes the file of a finished task to w, in constant memory, and returns how many bytes it has written.
//
// A download whose connection breaks is resumed only if the rest provably belongs to what is written: the store
// must give a strong ETag, which is sent as If-Match and must come back. Otherwise the download fails, as it does
// if the file has changed. A file is complete if its announced length was reached, or if a chunked or HTTP/2
// body ended properly; a body that merely ends with its connection is refused. A body with Content-Encoding gzip,
// which is never asked for, is decoded; other encodings are refused.
//
// A link that has expired or that the store refuses is fetched anew, once without progress. [RetryPolicy] bounds
// how many attempts in a row may bring nothing, and AttemptTimeout how long the store may bring nothing.
// Redirects are followed up to three times, within https. The store gets no signature, cookie or account of
// this client. The timeout of a client given [WithHTTPClient] bounds each attempt.
//
// An error leaves what has been written in w. It wraps [ErrTaskNotFinished], [ErrTaskFailed] or [ErrTaskNotFound]
// if there is no file, and [ErrMalformedResponse] if the link is not allowed (not https, or to this machine while
// the endpoint is another), or if the file is not what the store announced or has changed. It is w's own if w
// fails. It is an [*APIError] if the service or the store responds with an error; that of the store has the
// operation Download. An attempt that brings nothing is a timeout, as is the end of ctx: ctx tells them apart.
func (c *CdnClient) Download(ctx context.Context, taskID string, w io.Writer, opts ...DownloadOption) (int64, error) {
	const name = "Download"
	if w == nil {
		return 0, fmt.Errorf("cdn: %s: %w", name, invalid("w", nil, "must not be nil"))
	}
	n, err := c.download(ctx, taskID, transfer.Writer{Writer: w}, opts)
	if err != nil {
		return n, fmt.Errorf("cdn: %s: %w", name, ofTask(taskID, err))
	}
	return n, nil
}

// DownloadFile downloads the file of a finished task to path, as [CdnClient.Download] does, and returns its length
// in bytes. The file gets its name only when it is complete and on disk. Until then it is a temporary file beside
// it, with mode 0600, which is removed on failure; a file that was there before is untouched. Temporary files
// that killed downloads to path have left are removed.
//
// A new file has the permissions of any file that the program creates. One that is replaced keeps its own, and its
// owner if the program may set it. Symbolic links are followed. What is not a regular file, such as a pipe or
// /dev/stdout, is written to directly, as Download does.
//
// A file that changes in the store meanwhile, or that cannot be resumed after its connection broke, is started over,
// up to RetryPolicy.MaxAttempts times in all.
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
	n, err := c.download(ctx, taskID, file, opts)
	if err == nil {
		err = file.Commit()
	}
	if err != nil {
		return 0, err
	}
	return n, nil
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

func (c *CdnClient) download(ctx context.Context, taskID string, sink transfer.Sink, opts []DownloadOption) (int64, error) {
	switch {
	case ctx == nil:
		return 0, invalid("ctx", nil, "must not be nil")
	case taskID == "":
		return 0, invalid("taskID", taskID, "must not be empty")
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return 0, err
	}
	config, err := c.store.config(endpoint.url, opts)
	if err != nil {
		return 0, err
	}
	config.UserAgent = c.userAgent
	source := &linkSource{client: c, taskID: taskID}
	n, err := transfer.Copy(ctx, config, source.link, sink)
	if err == nil {
		return n, nil
	}
	err = source.withAge(ofTransfer(err))
	if n > 0 {
		return n, fmt.Errorf("at byte %d: %w", n, err)
	}
	return n, err
}

// store is the way to the object store: the user's transport, and nothing of the API's.
type store struct {
	http         *http.Client
	policy       RetryPolicy
	insecureHTTP bool
	logger       *slog.Logger
	observer     Observer
}

func newStore(o *options) *store {
	return &store{
		http:         &http.Client{Transport: redact.Transport{Base: o.transport()}, Timeout: o.httpClient.Timeout},
		policy:       o.retryPolicy,
		insecureHTTP: o.insecureHTTP,
		logger:       o.logger.With(slog.String("operation", storeOperation)),
		observer:     o.observer,
	}
}

// config returns the configuration of one download, whose links come from the service at endpoint.
func (s *store) config(endpoint *url.URL, opts []DownloadOption) (transfer.Config, error) {
	var options downloadOptions
	for i, option := range opts {
		if option == nil {
			return transfer.Config{}, fmt.Errorf("%w: option %d is nil", ErrInvalidParameter, i)
		}
		if err := option(&options); err != nil {
			return transfer.Config{}, err
		}
	}
	config := transfer.Config{
		Client:         s.http,
		Logger:         s.logger,
		MaxAttempts:    s.policy.MaxAttempts,
		MinBackoff:     s.policy.MinBackoff,
		MaxBackoff:     s.policy.MaxBackoff,
		AttemptTimeout: s.policy.AttemptTimeout,
		Loopback:       isLoopback(endpoint.Hostname()),
		InsecureHTTP:   s.insecureHTTP,
		OnRequest:      s.observer.download,
		Link:           options.link,
	}
	if report := options.progress; report != nil {
		config.Report = func(written, total int64) { report(Progress{written, total}) }
	}
	if link := options.link; link != nil && !options.served {
		if fault := config.LinkFault(link); fault != "" {
			return config, invalid("Link", redact.Link(link.String()), fault)
		}
	}
	return config, nil
}
