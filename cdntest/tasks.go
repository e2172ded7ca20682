package cdntest

import "example.com/huaweicloud/cdn"

// AddTask adds a task, in place of one with the same id, and returns it as a list shows it. Empty fields are
// filled in: TaskID with a fresh id, UpdateTime with the server's time, CreateTime with UpdateTime. An empty Status
// becomes success if there is a content or a DownloadLink, else a status that is not final. Times are cut to the
// millisecond.
//
// A content that is not nil is the task's file, even if it is empty. Once the status is success, each response
// has a fresh link to it. A DownloadLink given here is shown as it is, whatever the status.
func (s *Server) AddTask(task cdn.ExportTask, content []byte) cdn.ExportTask {
	return s.service.addTask(task, content)
}

func (s *service) addTask(added cdn.ExportTask, content []byte) cdn.ExportTask {
	now := s.clock()
	if added.TaskID == "" {
		added.TaskID = newID()
	}
	if added.Status == "" {
		added.Status = statusProcessing
		if content != nil || added.DownloadLink != "" {
			added.Status = cdn.ExportTaskSuccess
		}
	}
	if added.UpdateTime.IsZero() {
		added.UpdateTime = now
	}
	if added.CreateTime.IsZero() {
		added.CreateTime = added.UpdateTime
	}
	t := s.store.put(&task{ExportTask: added, file: newFile(content, added.UpdateTime)})
	return s.listed([]task{t}, s.url)[0]
}

// UpdateTask lets fn change the task with this id and reports whether there is one. The task's
// update time becomes the server's time unless fn changes it, so that the task moves to the head of
// the list. A status that fn changes stays: an export in progress goes no further. The task's id
// cannot be changed. DownloadLink is empty if the server makes the links.
//
// The server stands still while fn runs, so fn must not call it.
func (s *Server) UpdateTask(id string, fn func(*cdn.ExportTask)) bool {
	return s.service.store.update(id, fn)
}

// RemoveTask removes the task with this id, and its file, and reports whether there was one.
func (s *Server) RemoveTask(id string) bool {
	return s.service.store.remove(id)
}

// SetContent replaces the file of the task with this id, and reports whether there is such a task. The file gets
// a new ETag and modification time, and links to it stay good. A nil content removes the file: its links get the
// store's 404, and lists show none any more.
func (s *Server) SetContent(id string, content []byte) bool {
	return s.service.store.setFile(id, content)
}

// Tasks returns all tasks as lists show them, newest first, without the delay of [WithListLag].
func (s *Server) Tasks() []cdn.ExportTask {
	return s.service.listed(s.service.store.all(), s.URL)
}

// listed returns the tasks with links that begin with base, the URL of the server.
func (s *service) listed(tasks []task, base string) []cdn.ExportTask {
	now := s.clock()
	list := make([]cdn.ExportTask, 0, len(tasks))
	for _, t := range tasks {
		if t.DownloadLink == "" && t.file != nil && t.Status == cdn.ExportTaskSuccess {
			t.DownloadLink = s.links.link(base, t.TaskID, now)
		}
		list = append(list, t.ExportTask)
	}
	return list
}
