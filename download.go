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
	// Bytes is how many bytes are written. It is 0 again if the file is started over.
	Bytes int64
	// Total is the length of the file in bytes, or -1 if it is unknown.
	Total int64
}

// WithProgress calls report at most 10 times a second while bytes arrive, and once at the end if the download
// succeeds. The download waits for each call to return. By default, no progress is reported.
func WithProgress(report func(Progress)) DownloadOption {
	return func(o *downloadOptions) error {
		o.progress = report
		return nil
	}
}

// WithLink starts the download with link, the DownloadLink of the finished task. By default, the service is asked
// for it. A new link is fetched only if link has expired or the store refuses it. The link must be https, as the
// service's links are. Its host is not checked. The error wraps [ErrInvalidParameter] if it is no such link.
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
// After a connection breaks, the download is resumed only if the rest provably belongs to what is written: the
// store must give a strong ETag, which is sent as If-Match and must be equal in the response. Otherwise the download
// fails, as it does if the file has changed. A file is complete if its announced length is reached, or if a chunked
// or HTTP/2 body ends properly. A body that only ends with its connection is refused. A body with an unrequested
// Content-Encoding of gzip is decoded, and one with another is refused.
//
// The download ends after RetryPolicy.MaxAttempts attempts (4 by default) in a row that bring no byte. An attempt
// ends if the store sends nothing for RetryPolicy.AttemptTimeout (30 s by default), or at the timeout of the client
// given to [WithHTTPClient]. Only ctx bounds the whole time. It does not interrupt a Write. The length is not bounded.
//
// A link that has expired or that the store refuses is replaced by a new one from the service: once, and again after
// progress. Up to three redirects are followed, within https. The store gets no signature, cookie or account of the
// client.
//
// If Download fails, w has the first bytes of the file, as many as it returns. The error wraps or is
//   - [ErrInvalidParameter] if an argument or an option is invalid; then nothing is sent
//   - [ErrTaskNotFound], [ErrTaskNotFinished] or [ErrTaskFailed] if there is no file
//   - [ErrMalformedResponse] if the file has changed or is not what the store announced, or if the link is not
//     allowed: it is not https, or it leads to this machine while the endpoint is another
//   - an [*APIError] if the service or the store responds with an error; the store's has the Operation Download
//   - the error of w, unchanged
//   - the error of ctx and its cause; a silent store is a [context.DeadlineExceeded] too, but then ctx.Err is nil
func (c *CdnClient) Download(ctx context.Context, taskID string, w io.Writer, opts ...DownloadOption) (int64, error) {
	n, err := c.download(ctx, taskID, w, opts)
	if err != nil {
		return n, fmt.Errorf("cdn: Download: %w", ofTask(taskID, err))
	}
	return n, nil
}

func (c *CdnClient) download(ctx context.Context, taskID string, w io.Writer, opts []DownloadOption) (int64, error) {
	if w == nil {
		return 0, invalid("w", nil, "must not be nil")
	}
	d, err := c.newDownload(ctx, taskID, opts)
	if err != nil {
		return 0, err
	}
	return d.run(ctx, transfer.Writer{Writer: w})
}

// DownloadFile downloads the file of a finished task to path, as [CdnClient.Download] does, and returns its length
// in bytes. The file gets its name only when it is complete and on disk. Until then it is a temporary file in the
// same folder, with mode 0600. On failure the temporary file is removed, and a file that was at path is untouched.
// Temporary files that killed downloads to path have left are removed.
//
// A new file has the permissions of any file that the program creates. A file that is replaced gives its permissions
// to the new one, and its owner if the program may set it. Symbolic links are followed. What is not a regular file,
// such as a pipe or /dev/stdout, is written to directly, as Download does.
//
// A file that changes in the store meanwhile is started over, and so is one that cannot be resumed, up to
// RetryPolicy.MaxAttempts times in all.
//
// The errors are those of Download, with the file system's in place of w's. An empty path or a directory is
// [ErrInvalidParameter].
func (c *CdnClient) DownloadFile(ctx context.Context, taskID, path string, opts ...DownloadOption) (int64, error) {
	n, err := c.downloadFile(ctx, taskID, path, opts)
	if err != nil {
		return 0, fmt.Errorf("cdn: DownloadFile: %w", ofTask(taskID, err))
	}
	return n, nil
}

func (c *CdnClient) downloadFile(ctx context.Context, taskID, path string, opts []DownloadOption) (int64, error) {
	d, err := c.newDownload(ctx, taskID, opts)
	if err != nil {
		return 0, err
	}
	file, err := createFile(ctx, path)
	if err != nil {
		return 0, err
	}
	defer file.Discard() // also if a function of the caller panics
	n, err := d.run(ctx, file)
	if err != nil {
		return 0, err
	}
	return n, file.Commit()
}

// createFile creates the file for path. The error wraps [ErrInvalidParameter] if path cannot be a file.
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

// download is one download whose arguments are valid.
type download struct {
	source linkSource
	config transfer.Config
}

// newDownload checks the arguments of a download, before any request and before path is touched.
func (c *CdnClient) newDownload(ctx context.Context, taskID string, opts []DownloadOption) (*download, error) {
	switch {
	case ctx == nil:
		return nil, invalid("ctx", nil, "must not be nil")
	case taskID == "":
		return nil, invalid("taskID", taskID, "must not be empty")
	}
	endpoint, err := c.endpoint()
	if err != nil {
		return nil, err
	}
	config, err := c.store.config(endpoint.url, opts)
	if err != nil {
		return nil, err
	}
	config.UserAgent = c.userAgent
	return &download{linkSource{client: c, taskID: taskID}, config}, nil
}

// run writes the file to sink and returns how many bytes it has written.
func (d *download) run(ctx context.Context, sink transfer.Sink) (int64, error) {
	n, err := transfer.Copy(ctx, d.config, d.source.link, sink)
	if err == nil {
		return n, nil
	}
	err = d.source.withAge(ofTransfer(err))
	if n > 0 {
		err = fmt.Errorf("at byte %d: %w", n, err)
	}
	return n, err
}

// store sends requests to the object store, with the user's transport and nothing of the API's.
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

// config returns the configuration of a download whose links come from the service at endpoint.
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
