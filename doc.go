// Package cdn is a client for the export-tasks API of Huawei Cloud's CDN: the service exports
// statistics of a CDN account, traffic or request counts, to files, and each export is a task. The
// package goes the whole way from asking for an export to the file on disk:
//
//	client, err := cdn.NewCdnClient() // keys from CLOUD_SDK_AK and CLOUD_SDK_SK
//	if err != nil {
//		return err
//	}
//	task, err := client.Export(ctx, &cdn.CreateExportTaskRequest{StartTime: start, EndTime: end})
//	if err != nil {
//		return err
//	}
//	_, err = client.DownloadFile(ctx, task.TaskID, "traffic.csv")
//
// and each of its steps can be taken by itself: [CdnClient.CreateExportTask],
// [CdnClient.WaitForExportTask], [CdnClient.Download]. [CdnClient.ListExportTasks] reads a page of the
// tasks, [CdnClient.ExportTasks] all of them while the list moves, and [CdnClient.WatchExportTasks]
// follows what changes.
//
// # The client
//
// [NewCdnClient] does no network I/O, and every call takes a [context.Context] and returns soon
// after it ends. A [CdnClient] is safe for concurrent use; one should serve a whole program, so that
// connections are reused. Without options it goes to [DefaultRegion]; see [WithRegion] and
// [WithEndpoint].
//
// # Credentials
//
// Calls are signed with an access key (AK) and its secret key (SK): those of [WithAKSK] or
// [WithCredentials], else the first that is found at the first call in the variables CLOUD_SDK_AK
// and CLOUD_SDK_SK, with the id token or the keys of the official SDK's variables HUAWEICLOUD_SDK_…,
// in the file ~/.huaweicloud/credentials, with the pod identity, or in the instance metadata.
// Temporary credentials that the client fetches itself are refreshed before they expire. Keys and tokens
// are never printed, logged or put into errors.
//
// # Errors
//
// A nil error means a complete, well-formed answer. Otherwise [errors.Is] tells what to do:
// [ErrInvalidParameter] and [ErrNoCredentials] come before anything is sent; [ErrUnauthorized],
// [ErrForbidden] and [ErrThrottled] are the service's refusals; [ErrTaskNotFound], [ErrTaskFailed] and
// [ErrTaskNotFinished] are about one task; [ErrOutcomeUnknown] and [ErrAmbiguousExport] leave open which
// task was created, if any; and [ErrMalformedResponse] is an answer that the service would not give,
// such as a proxy's HTML. What may pass is tried again first, as [RetryPolicy] says. An answer that is
// an error is an [*APIError], with status, code, message and the request id that the vendor's support
// asks for.
//
// # Signing other requests
//
// A [Signer] signs any [net/http.Request] for the vendor's API gateway, and verifies the signatures
// of others.
//
// # Testing
//
// Package [example.com/huaweicloud/cdn/cdntest] is a server that behaves as the service does, for
// tests of programs that use this package; cmd/cdn-sandbox runs it for programs in other languages.
package cdn
