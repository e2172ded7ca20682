package cdntest

import (
	"time"

	"example.com/huaweicloud/cdn"
)

// The states of a task on its way. The API reference knows final ones only.
const (
	statusWaiting    cdn.ExportTaskStatus = "waiting"
	statusProcessing cdn.ExportTaskStatus = "processing"
)

// step is a change of status that is to come.
type step struct {
	at     time.Time
	status cdn.ExportTaskStatus
}

// startExport makes the task of an accepted create.
func (s *service) startExport(export exportRequest) {
	now := milliseconds(s.clock())
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
		// A failed task has a file too, but no link leads to it.
		file: newFile(export.report(now), now.Add(s.exportTime)),
	})
}

func (s *service) end() cdn.ExportTaskStatus {
	if s.failExports {
		return cdn.ExportTaskFail
	}
	return cdn.ExportTaskSuccess
}
