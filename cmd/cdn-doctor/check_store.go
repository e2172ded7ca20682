package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/internal/redact"
)

// downloadPeriod is how long the console keeps an export for download.
const downloadPeriod = 7 * 24 * time.Hour

// checkStore asks for one byte of the newest finished file.
func (d *doctor) checkStore(ctx context.Context, tasks []cdn.ExportTask) {
	task, link := finished(tasks)
	if link == nil {
		d.report.skip("there is no finished task with a link", storeChecks...)
		return
	}
	age := time.Since(task.UpdateTime).Round(time.Hour)
	resp, err := d.oneByte(ctx, link, "")
	if err != nil {
		d.report.add("link", broken, err.Error(), "allow connections to "+link.Host+", where the files are")
		d.report.skip("the store was not reached", storeChecks[1:]...)
		return
	}
	if resp.StatusCode/100 != 2 {
		d.refusedLink(resp, link, age)
		return
	}
	d.report.ok("link", "%s serves it, %s, of a task that ended %v ago", link.Host, expiry(link), age)
	d.checkRanges(resp)
	d.checkIfMatch(ctx, link, resp.Header.Get("ETag"))
	d.checkETag(resp.Header.Get("ETag"))
}

func finished(tasks []cdn.ExportTask) (cdn.ExportTask, *url.URL) {
	for _, task := range tasks {
		link, err := url.Parse(task.DownloadLink)
		if task.Status == cdn.ExportTaskSuccess && err == nil && link.Host != "" {
			return task, link
		}
	}
	return cdn.ExportTask{}, nil
}

func (d *doctor) refusedLink(resp *http.Response, link *url.URL, age time.Duration) {
	detail := fmt.Sprintf("%s responds %d to the link of a task that ended %v ago", link.Host, resp.StatusCode, age)
	if id := resp.Header.Get("X-Obs-Request-Id"); id != "" {
		detail += " (request id " + id + ")"
	}
	if age > downloadPeriod {
		d.report.ok("link", "%s: files are there for 7 days", detail)
	} else {
		d.report.add("link", broken, detail, "check for a proxy on the way; if there is none, give the request id to the vendor's support")
	}
	d.report.skip("the link is refused", storeChecks[1:]...)
}

// oneByte asks for the first byte of a file. The body of the response is closed.
func (d *doctor) oneByte(ctx context.Context, link *url.URL, ifMatch string) (*http.Response, error) {
	client := &http.Client{
		Transport:     redact.Transport{Base: d.observer.base},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, errors.New("the link is not a URL")
	}
	req.Header.Set("Range", "bytes=0-0")
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "cdn-doctor/"+cdn.Version)
	if ifMatch != "" {
		req.Header.Set("If-Match", ifMatch)
	}
	resp, err := client.Do(req)
	if failed := new(url.Error); errors.As(err, &failed) {
		return nil, errors.New(redact.Query(failed.Err.Error(), link.RawQuery))
	}
	if err != nil {
		return nil, err
	}
	_, err = io.CopyN(io.Discard, resp.Body, 1)
	if closeErr := resp.Body.Close(); err == nil || errors.Is(err, io.EOF) {
		err = closeErr
	}
	return resp, err
}

// expiry returns how the link says when it expires.
func expiry(link *url.URL) string {
	query := link.Query()
	switch {
	case query.Has("Expires"):
		return "its link has Expires"
	case query.Has("X-Amz-Expires"):
		return "its link has X-Amz-Expires"
	case query.Has("Policy"):
		return "its link has a Policy"
	}
	return "its link does not say when it expires"
}

func (d *doctor) checkRanges(resp *http.Response) {
	contentRange := resp.Header.Get("Content-Range")
	if resp.StatusCode != http.StatusPartialContent || !strings.HasPrefix(contentRange, "bytes 0-0/") {
		d.report.different("ranges", "asked for one byte, got %d: a broken download starts over", resp.StatusCode)
		return
	}
	d.report.ok("ranges", "honoured, the file has %s bytes", strings.TrimPrefix(contentRange, "bytes 0-0/"))
}

func (d *doctor) checkIfMatch(ctx context.Context, link *url.URL, etag string) {
	if etag == "" || strings.HasPrefix(etag, "W/") {
		d.report.skip("there is no strong ETag", "if-match")
		return
	}
	same, err := d.oneByte(ctx, link, etag)
	other, otherErr := d.oneByte(ctx, link, `"0123456789abcdef0123456789abcdef"`)
	switch {
	case err != nil || otherErr != nil:
		d.report.add("if-match", broken, fmt.Sprint(errors.Join(err, otherErr)), "run cdn-doctor again")
	case same.StatusCode == http.StatusPartialContent && other.StatusCode == http.StatusPreconditionFailed:
		d.report.ok("if-match", "honoured")
	default:
		d.report.different("if-match", "the file's own ETag gives %d, another one %d", same.StatusCode, other.StatusCode)
	}
}

var (
	md5ETag       = regexp.MustCompile(`^"[0-9a-fA-F]{32}"$`)
	multipartETag = regexp.MustCompile(`^"[0-9a-fA-F]{32}-[0-9]+"$`)
)

func (d *doctor) checkETag(etag string) {
	switch {
	case etag == "":
		d.report.different("etag", "none: a broken download starts over")
	case strings.HasPrefix(etag, "W/"):
		d.report.different("etag", "weak: a broken download starts over")
	case md5ETag.MatchString(etag):
		d.report.ok("etag", "strong, an MD5")
	case multipartETag.MatchString(etag):
		d.report.ok("etag", "strong, of a multipart upload")
	default:
		d.report.ok("etag", "strong, of an unknown kind")
	}
}
