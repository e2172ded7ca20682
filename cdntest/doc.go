// Package cdntest is to the CDN export-tasks API what net/http/httptest is to HTTP: a server on the
// loopback interface that a test can start, fill, break and ask what it saw.
//
//	srv := cdntest.NewServer()
//	defer srv.Close()
//	task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("a,b\n"))
//	found, err := srv.NewClient().GetExportTask(ctx, task.TaskID)
//
// It keeps to the API reference where that says something, and to the caller's disadvantage where
// it does not, so that code which works here works against the service:
//
//   - Signatures are verified as the API gateway does it, with its window of 15 minutes on either
//     side of the server's clock; a refused request gets the gateway's 401 and code APIGW.0301.
//   - A list without the keys task_id and task_name, and any parameter outside its range, gets the
//     CDN's own 400. So does a field in the body of a create that the API reference does not have.
//   - Tasks are listed by update time, newest first; of two that changed in the same millisecond,
//     the one changed later comes first. A page holds at most [WithPageCap] tasks, whatever was asked.
//   - A created task goes from waiting to processing to its end in [WithExportTime]. Each change of
//     status sets the update time, and so moves the task to the head of the list.
//   - Files lie behind links that expire, as an object store's do: with ranges, ETags and XML errors.
//     A request that brings a header of the API along is refused, as it would leak to a third party.
//   - Every answer has an X-Request-Id of its own, and a Date by the server's clock.
//
// The server has no timers: what is due by its clock ([WithClock]) has happened when the next
// request or method call looks. A test that moves the clock therefore never has to sleep. The pauses
// of a client are real: give one that waits a short [cdn.WithPollInterval].
//
// [Server.Inject] makes it fail on demand: refusals, delays, lost answers, broken connections.
package cdntest
