package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"example.com/huaweicloud/cdn"
	"example.com/huaweicloud/cdn/examples/internal/cli"
)

// advice says what went wrong and what to do, and how to go on with the task where it is known.
func advice(err error, taskID string, sandbox bool) string {
	switch {
	case errors.Is(err, cdn.ErrOutcomeUnknown):
		return "there may be a task now, or not: look for it with examples/list before you export again, and go on with its -task-id if it is there"
	case errors.Is(err, cdn.ErrAmbiguousExport):
		return "there is a task, and another that was created at the same time: find out with examples/list which of those named here is yours, and go on with its -task-id"
	case errors.Is(err, cdn.ErrTaskFailed):
		return "the task has ended without a file: export again, and if that fails too, ask for less at once"
	case errors.Is(err, cdn.ErrTaskNotFound):
		return "there is no such task, or no longer: look for it with examples/list"
	case isOfFile(err) && errors.Is(err, fs.ErrNotExist):
		return "the folder of the file does not exist: create it, or name another file with -o" + goOn(taskID, sandbox)
	case isOfFile(err):
		return "the file cannot be written: make room for it, or name another with -o" + goOn(taskID, sandbox)
	case taskID == "" && errors.Is(err, context.Canceled):
		return "stopped, and no task was created"
	case taskID == "":
		return cli.Advice(err)
	}
	return adviceForTask(err) + goOn(taskID, sandbox)
}

// adviceForTask is for what goes wrong once there is a task.
func adviceForTask(err error) string {
	var answer *cdn.APIError
	switch {
	case errors.Is(err, cdn.ErrTaskNotFinished):
		return "the task is not finished: wait for it"
	case errors.As(err, &answer) && answer.Operation == "Download":
		return "the store of the files refused the download: see what it says"
	case errors.Is(err, context.DeadlineExceeded):
		return "it took too long: check the network, or raise -timeout"
	}
	return cli.Advice(err)
}

// goOn is how to go on with a task that was not to blame.
func goOn(taskID string, sandbox bool) string {
	switch {
	case taskID == "":
		return ""
	case sandbox:
		return "; the sandbox and its task are gone"
	}
	return "; go on with -task-id " + cli.Printable(taskID)
}

// isOfFile reports whether the file is what failed. Keys and certificates are read from files too, but
// before anything is written.
func isOfFile(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return !errors.Is(err, cdn.ErrNoCredentials) && (errors.As(err, &path) || errors.As(err, &link))
}
