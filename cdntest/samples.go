package cdntest

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"time"

	"example.com/huaweicloud/cdn"
)

// The samples are spread over the past: one every sampleEvery, each of which took sampleTook.
const (
	sampleEvery = 3*time.Hour + 7*time.Minute
	sampleTook  = 90 * time.Second
)

// sampleDomains returns the domains of the account.
func sampleDomains() []string {
	return []string{"www.example.com", "img.example.com", "video.example.com", "download.example.com"}
}

// addSamples adds n sample tasks, the oldest first, so that each goes to the end of the store.
func (s *service) addSamples(n int) {
	now := s.clock()
	for i := range n {
		s.addSample(n-1-i, now)
	}
}

// addSample adds the sample that is the i-th of the list, from 0 on.
func (s *service) addSample(i int, now time.Time) {
	updated := now.Add(-time.Duration(i) * sampleEvery)
	domains, types := sampleDomains(), []string{"flux", "req_num"}
	export := exportRequest{DomainName: domains[i%len(domains)], StatType: types[i%len(types)]}
	id := md5.Sum(fmt.Appendf(nil, "sample %d", i))
	sample := cdn.ExportTask{
		TaskID:     hex.EncodeToString(id[:]),
		TaskName:   fmt.Sprintf("%s_%s_%s", export.StatType, export.DomainName, updated.UTC().Format(time.DateOnly)),
		Status:     sampleStatus(i),
		CreateTime: updated.Add(-sampleTook),
		UpdateTime: updated,
	}
	s.addTask(sample, sampleContent(sample.Status, export, updated))
}

// sampleStatus returns the status of the i-th sample. The second sample is unfinished and the third has failed,
// so that even one sample is a finished one.
func sampleStatus(i int) cdn.ExportTaskStatus {
	first := []cdn.ExportTaskStatus{cdn.ExportTaskSuccess, statusProcessing, cdn.ExportTaskFail}
	if i < len(first) {
		return first[i]
	}
	return cdn.ExportTaskSuccess
}

// sampleContent returns the file of a sample, nil if the sample has none.
func sampleContent(status cdn.ExportTaskStatus, export exportRequest, updated time.Time) []byte {
	if status != cdn.ExportTaskSuccess {
		return nil
	}
	return export.report(updated)
}
