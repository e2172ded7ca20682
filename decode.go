package cdn

import (
	"errors"
	"fmt"
	"time"

	"example.com/huaweicloud/cdn/internal/jsonscan"
	"example.com/huaweicloud/cdn/internal/redact"
)

const (
	// maxPageTasks bounds the memory of a page: an empty task is 3 bytes of text and 112 of memory. The longest
	// response that is read, 32 MiB, has room for fewer real tasks.
	maxPageTasks = 1 << 17
	// maxSharedText is how many bytes of text the tasks of a page may share. A thousand tasks are about 330 KB. A
	// much longer text holds something that no task needs, so the tasks of it get copies of their own.
	maxSharedText = 1 << 20
)

// errServiceError reports that a response has an error code. The caller reads the code separately.
var errServiceError = errors.New("the response has an error code")

// page is the body of a list response.
type page struct {
	total int
	tasks []ExportTask
}

// decodePage reads the whole text as a list response. It returns errServiceError if text has an error code in one of
// the service's shapes.
func decodePage(text string) (page, error) {
	p, hasError, err := readPage(text)
	if err == nil && !hasError {
		return p, nil
	}
	body := parseErrorBody(text)
	switch {
	case body.refuses():
		return page{}, errServiceError
	case err == nil && body.ErrorCode == "" && body.ErrorMsg != "":
		return page{}, errors.New("an error beside the data")
	}
	return p, err
}

// readPage reads a page and reports whether it has a member of error responses.
func readPage(text string) (p page, hasError bool, err error) {
	s, err := jsonscan.New(text)
	if err != nil {
		return page{}, false, err
	}
	p.tasks = []ExportTask{}
	var hasTotal, hasData bool
	err = s.ReadObject(func(name string) (err error) {
		switch name {
		case "total":
			hasTotal = true
			p.total, err = readTotal(s)
		case "data":
			hasData = true
			p.tasks, err = readTasks(s, p.tasks)
		case "error", "error_code", "errorCode", "code":
			if !s.SkipNull() {
				hasError = true
				err = s.Skip()
			}
		default:
			return s.Skip()
		}
		return inMember(name, err)
	})
	switch {
	case err != nil:
		return page{}, hasError, err
	case !hasTotal:
		return page{}, hasError, errors.New("total is missing")
	case !hasData:
		return page{}, hasError, errors.New("data is missing")
	}
	if len(text) > maxSharedText {
		for i, task := range p.tasks {
			p.tasks[i] = task.unshared()
		}
	}
	return p, hasError, s.End()
}

// decodeTask reads the whole text as a task. A null is the zero task.
func decodeTask(text string) (ExportTask, error) {
	s, err := jsonscan.New(text)
	if err != nil {
		return ExportTask{}, err
	}
	var task ExportTask
	if !s.SkipNull() {
		if err := readTask(s, &task); err != nil {
			return ExportTask{}, err
		}
	}
	return task, s.End()
}

func readTotal(s *jsonscan.Scanner) (int, error) {
	total, err := s.ReadInt()
	if err == nil && (total < 0 || int64(int(total)) != total) {
		err = errors.New("out of range")
	}
	return int(total), err
}

// readTasks reads an array of tasks into the memory of tasks, which may hold those of an earlier member of the same
// name. A null is an empty array.
func readTasks(s *jsonscan.Scanner, tasks []ExportTask) ([]ExportTask, error) {
	tasks = tasks[:0]
	if s.SkipNull() {
		return tasks, nil
	}
	err := s.ReadArray(func() error {
		n := len(tasks)
		if n == maxPageTasks {
			return fmt.Errorf("more than %d tasks", maxPageTasks)
		}
		start := s.Offset()
		tasks = append(tasks, ExportTask{})
		if err := readTask(s, &tasks[n]); err != nil {
			return fmt.Errorf("[%d]: %w", n, err)
		}
		if n == 0 { // the size of the first task tells for about how many more the text has room
			if room := min(s.Remaining()/(s.Offset()-start)+2, maxPageTasks); cap(tasks) < room {
				tasks = append(make([]ExportTask, 0, room), tasks...)
			}
		}
		return nil
	})
	return tasks, err
}

func readTask(s *jsonscan.Scanner, task *ExportTask) error {
	return s.ReadObject(func(name string) (err error) {
		switch name {
		case "task_id":
			task.TaskID, err = readText(s)
		case "task_name":
			task.TaskName, err = readText(s)
		case "status":
			var status string
			status, err = readString(s)
			task.Status = ExportTaskStatus(status)
		case "download_link":
			task.DownloadLink, err = readString(s)
		case "create_time":
			task.CreateTime, err = readTime(s)
		case "update_time":
			task.UpdateTime, err = readTime(s)
		default:
			err = s.Skip()
		}
		return inMember(name, err)
	})
}

func inMember(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", redact.Excerpt(name, redact.Short), err)
}

func readString(s *jsonscan.Scanner) (string, error) {
	if s.SkipNull() {
		return "", nil
	}
	return s.ReadString()
}

// readText reads a string, or a number as its literal text. The API reference documents task_name as a
// string and has a number in its example.
func readText(s *jsonscan.Scanner) (string, error) {
	if s.AtNumber() {
		return s.ReadNumber()
	}
	return readString(s)
}

// readTime reads a time in milliseconds since 1970-01-01 UTC, as a number or as a string that holds one.
// A null is the zero time. Times outside the documented range (0 to 4102416000000) are kept: one odd
// stamp must not hide the other tasks of a page.
func readTime(s *jsonscan.Scanner) (time.Time, error) {
	if s.SkipNull() {
		return time.Time{}, nil
	}
	ms, err := s.ReadLooseInt()
	if err != nil {
		return time.Time{}, err
	}
	return time.UnixMilli(ms).UTC(), nil
}
