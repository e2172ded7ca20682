// Package cdntest is to the CDN export-tasks API what net/http/httptest is to HTTP: a server on the
// loopback interface that a test starts, fills and breaks, and whose requests it can check.
//
//	srv := cdntest.NewServer()
//	defer srv.Close()
//	task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("a,b\n"))
//	found, err := srv.NewClient().GetExportTask(ctx, task.TaskID)
//
// It behaves as the service is documented. Where nothing is documented, it takes the way that is harder for a
// client, so that code that works here works with the service:
//
//   - Signatures are verified as the API gateway does it, with its window of 15 minutes on either side of the
//     server's clock. A refused request gets the gateway's 401 and the code APIGW.0301.
//   - A request may be throttled ([WithQuota]), and the access key locked ([WithKeyLock]).
//   - A list takes limit from 0 to 100, offset from 0, task_id and task_name, all of them optional. With
//     limit=0 the page is empty and has the total. The filters match whole values.
//   - A create is refused as the service's limits demand: unknown fields, an unknown action, an interval other
//     than 300 or 3600, 300 for more than 90 days, more than 365 days, more than 100 domains. A parameter out of
//     range gets 400 and CDN.0001; business errors such as CDN.0202 come with status 200.
//   - Tasks are listed by update time, newest first. Of two that changed in the same millisecond, the one
//     changed later comes first. A page can be shorter than asked ([WithPageCap]) and late ([WithListLag]).
//   - A created task goes from waiting to processing to its end in [WithExportTime]. Each change of
//     status sets the update time, and so moves the task to the head of the list.
//   - Files are served as OBS does it, behind signed links that expire. Range, If-Match and
//     If-Unmodified-Since are honoured, If-Range is ignored. The ETag is the MD5. Errors are XML. A request
//     with a header of the API is refused, since its signature would leak to a third party.
//   - Each response of the API has an X-Request-Id of its own, each of the store an x-obs-request-id, and all
//     have a Date by the server's clock.
//
// The server has no timers. What is due by its clock ([WithClock]) has happened when the next
// request or method call comes, so a test that moves the clock never has to sleep. The pauses
// of a client are real: give one that waits a short [cdn.WithPollInterval].
//
// [Server.Inject] makes it fail on demand: refusals, delays, lost responses, broken connections.
package cdntest
