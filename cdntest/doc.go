// Package cdntest is to the CDN export-tasks API what net/http/httptest is to HTTP: a test starts a server on the
// loopback interface, adds tasks, injects faults, and checks the requests.
//
//	srv := cdntest.NewServer()
//	defer srv.Close()
//	task := srv.AddTask(cdn.ExportTask{TaskName: "daily"}, []byte("a,b\n"))
//	found, err := srv.NewClient().GetExportTask(ctx, task.TaskID)
//
// The server behaves as the service is documented. If nothing is documented, it does what is harder for a client:
//
//   - It verifies signatures as the API gateway does, within 15 minutes of its clock. A request that it refuses
//     gets 401 and APIGW.0301. [WithKeyLock] locks the access key after refused signatures.
//   - It throttles with 429 and APIGW.0308 under [WithQuota].
//   - A list takes limit from 0 to 100, offset from 0, task_id and task_name, all of them optional. With
//     limit=0 the page is empty and has the total. The filters match whole values.
//   - A create with an unknown field, an unknown action, an interval other than 300 or 3600, 300 for more than
//     90 days, more than 365 days or more than 100 domains is refused. A parameter out of range gets 400 and
//     CDN.0001. Business errors such as CDN.0202 come with status 200.
//   - Tasks are sorted by update time, newest first. If two have the same millisecond, the one changed later is
//     first. A page can be shorter than asked ([WithPageCap]) and late ([WithListLag]).
//   - A created task is waiting, then processing, and has ended after [WithExportTime]. Each change of its
//     status sets its update time and so moves it to the head of the list.
//   - The object store serves files as OBS does: by signed links that expire, with Range, If-Match and
//     If-Unmodified-Since but without If-Range. The ETag is the MD5. Errors are XML. A request with a header of
//     the API is refused, because it would leak the signature to the store.
//   - A response of the API has an X-Request-Id, one of the store an x-obs-request-id. Both have a Date by the
//     server's clock.
//
// The server has no timers: exports progress, links expire and quotas recover by [WithClock], so a test that sets the
// clock need not sleep. The pauses of a client are real: use a short [cdn.WithPollInterval].
//
// [Server.Inject] adds faults: errors, delays, lost responses, broken connections, changed bodies.
package cdntest
