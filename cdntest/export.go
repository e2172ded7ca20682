package cdntest

import (
	"time"

	"example.com/huaweicloud/cdn"
)

// The states of an unfinished task. Only the final ones are documented.
const (
	statusWaiting    cdn.ExportTaskStatus = "waiting"
	statusProcessing cdn.ExportTaskStatus = "processing"
)

// step is a change of status that is to come.
type step struct {
	at     time.Time
	status cdn.ExportTaskStatus
}

// startExport makes the task of a create that was accepted at now.
func (s *service) startExport(export exportRequest, now time.Time) {
	s.store.put(&task{
		ExportTask: cdn.ExportTask{
			TaskID:     newID(),
			TaskName:   export.statistic() + "_" + now.UTC().Format("20060102150405"),
			Status:     statusWaiting,
			CreateTime: now,
			UpdateTime: now,
		},
		steps: []step{
			{now.Add(s.exportTime / 2), statusProcessing},
			{now.Add(s.exportTime), s.end()},
		},
		// A failed task has a file too, but no link.
		file: newReport(func() []byte { return export.report(now) }, now.Add(s.exportTime)),
	})
}

// end returns the final status of created tasks.
func (s *service) end() cdn.ExportTaskStatus {
	if s.failExports {
		return cdn.ExportTaskFail
	}
	return cdn.ExportTaskSuccess
}
