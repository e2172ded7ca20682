package cdntest

import "example.com/huaweicloud/cdn"

// AddTask adds a task and returns it as a list shows it. It replaces a task with the same id. An empty TaskID becomes a
// new id, an empty UpdateTime the server's time, an empty CreateTime the UpdateTime. An empty Status becomes success if
// there is content or a DownloadLink, else processing. Times are cut to the millisecond.
//
// The content is the task's file, also if it is empty but not nil. If the status is success, each response has a new
// link to it. A DownloadLink given here is shown unchanged, with any status.
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

// UpdateTask calls fn to change the task with this id and reports whether there is one. The task's update time becomes
// the server's time unless fn sets it, so the task moves to the head of the list. If fn changes the status, an export
// in progress stops there. The id cannot be changed. The DownloadLink that fn sees is empty if the server makes the
// links.
//
// The server is locked while fn runs, so fn must not call it.
func (s *Server) UpdateTask(id string, fn func(*cdn.ExportTask)) bool {
	return s.service.store.update(id, fn)
}

// RemoveTask removes the task with this id, and its file, and reports whether there was one.
func (s *Server) RemoveTask(id string) bool {
	return s.service.store.remove(id)
}

// SetContent replaces the file of the task with this id and reports whether there is one. The file gets a new ETag and
// modification time. Links to it stay valid. Nil removes the file: its links get the store's 404, and lists show no
// link.
func (s *Server) SetContent(id string, content []byte) bool {
	return s.service.store.setFile(id, content)
}

// Tasks returns all tasks as lists show them, newest first, without [WithListLag].
func (s *Server) Tasks() []cdn.ExportTask {
	return s.service.listed(s.service.store.all(), s.URL)
}

// listed returns the tasks with links to base, the URL of the server.
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
