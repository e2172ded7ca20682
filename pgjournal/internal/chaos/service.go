package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/cdntest"
)

const (
	listLag   = 300 * time.Millisecond
	clientLag = 3 * listLag // machines under load are slow
)

// newService starts a sandbox in trouble: of ten creates, one is lost before it takes effect, one after; of twenty
// lists, one fails.
func newService() *cdntest.Server {
	server := cdntest.NewServer(
		cdntest.WithExportTime(500*time.Millisecond), cdntest.WithListLag(listLag), cdntest.WithQuota(40, time.Second))
	oneIn := func(n int, kind func(*http.Request) bool) func(*http.Request) bool {
		return func(r *http.Request) bool { return kind(r) && rand.IntN(n) == 0 }
	}
	server.Inject(cdntest.Fault{Match: oneIn(10, cdntest.IsCreate), Times: -1, DropConnection: true})
	server.Inject(cdntest.Fault{Match: oneIn(10, cdntest.IsCreate), Times: -1, DropConnection: true, Handled: true})
	server.Inject(cdntest.Fault{Match: oneIn(20, cdntest.IsList), Times: -1, Status: http.StatusServiceUnavailable})
	server.Inject(cdntest.Fault{Match: oneIn(10, cdntest.IsDownload), Times: -1, TruncateAfter: 300})
	return server
}

// day is the day of all exports.
var day = time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)

func domainOf(key int) string { return fmt.Sprintf("site-%d.example.com", key) }

func requestOf(key int) *cdn.CreateExportTaskRequest {
	return &cdn.CreateExportTaskRequest{
		Action: cdn.ActionReportsDetail, DomainNames: []string{domainOf(key)}, StatType: cdn.StatTypeFlux,
		StartTime: day, EndTime: day.Add(24 * time.Hour), Interval: time.Hour,
	}
}

// nameOf returns the name of a key in the journal.
func nameOf(key int) string { return fmt.Sprint("day/", key) }

func fileOf(folder string, key int) string {
	return filepath.Join(folder, "files", fmt.Sprintf("%d.csv", key))
}

// check returns an error unless there are as many tasks as keys, and each key has the whole file of its own request.
func (s *supervisor) check() error {
	keys := 3 + s.limit/8
	if tasks := len(s.server.Tasks()); tasks != keys {
		return fmt.Errorf("%d keys have %d tasks", keys, tasks)
	}
	for key := range keys {
		content, err := os.ReadFile(fileOf(s.folder, key))
		if err != nil {
			return err
		}
		lines := bytes.Split(bytes.TrimSuffix(content, []byte("\n")), []byte("\n"))
		if len(lines) != 25 { // the header, and one for each hour
			return fmt.Errorf("the file of key %d has %d lines, not 25", key, len(lines))
		}
		for i, line := range lines[1:] {
			beginning := day.Add(time.Duration(i)*time.Hour).Format(time.RFC3339) + "," + domainOf(key) + ","
			if !bytes.HasPrefix(line, []byte(beginning)) {
				return fmt.Errorf("the file of key %d has the line %q, which does not begin with %s", key, line, beginning)
			}
		}
	}
	return nil
}
