// Package cdn is a client for the export-tasks API of Huawei Cloud's CDN. The service exports statistics of an
// account, traffic or request counts, to files, and each export is a task. The package goes from the request to the
// file on disk:
//
//	client, err := cdn.NewCdnClient() // keys from CLOUD_SDK_AK and CLOUD_SDK_SK
//	if err != nil {
//		return err
//	}
//	request := &cdn.CreateExportTaskRequest{DomainNames: []string{"all"}, StartTime: start, EndTime: end}
//	task, err := client.ExportFile(ctx, request, "traffic")
//
// Each step has a method of its own: [CdnClient.CreateExportTask], [CdnClient.Export] (which also finds its task),
// [CdnClient.WaitForExportTask], [CdnClient.DownloadFile]. [CdnClient.ListExportTasks] reads a page of the tasks,
// [CdnClient.ExportTasks] all of them while the list moves, and [CdnClient.WatchExportTasks] follows what changes.
//
// # The client
//
// [NewCdnClient] does no network I/O. Every call takes a [context.Context] and returns soon after that context ends. A
// [CdnClient] is safe for concurrent use. One client should serve an account: its waits share one poll loop, and it
// learns the account's quota. Without options it calls [DefaultRegion]; see [WithRegion] and [WithEndpoint].
//
// # Once per key
//
// The service has no idempotency key. With a journal ([WithJournal]) and a key ([WithExportKey]), an export makes one
// task per key, across crashes and replicas. Package [example.com/huaweicloud/cdn/journal] keeps a journal in a
// folder, and the module pgjournal in PostgreSQL.
//
// # Quota
//
// The first refusal (status 429) tells the client the account's quota. From then on requests wait for their turn. A
// call whose turn cannot come before its deadline returns [ErrThrottled] at once.
//
// # Credentials
//
// Requests are signed with an access key (AK) and its secret key (SK): those of [WithAKSK] or [WithCredentials], or
// else those of the first source that is set up: the variables CLOUD_SDK_AK and CLOUD_SDK_SK; an id token or keys in
// the official SDK's variables HUAWEICLOUD_SDK_…; the file ~/.huaweicloud/credentials; the pod's identity; the
// instance metadata. A source that is set up and cannot be used is an error. Temporary credentials are refreshed before
// they expire. Keys and tokens are never printed, logged or put into errors.
//
// # Errors
//
// A nil error means a complete, well-formed response. [errors.Is] tells the kinds apart: [ErrInvalidParameter] and
// [ErrNoCredentials] come before anything is sent; [ErrBadRequest], [ErrUnauthorized], [ErrForbidden],
// [ErrQuotaExceeded] and [ErrThrottled] are refusals of the service; [ErrTaskNotFound], [ErrTaskFailed] and
// [ErrTaskNotFinished] are about one task; [ErrOutcomeUnknown] and [ErrAmbiguousExport] leave open which task was
// created, if any; [ErrMalformedResponse] is a response that the service would not give, such as a proxy's HTML.
// Transient failures are retried first, as [RetryPolicy] says. A response that reports an error is an [*APIError] with
// status, code, message and the request id that the vendor's support asks for.
//
// # Signing other requests
//
// A [Signer] signs any [net/http.Request] for the vendor's API gateway, and verifies the signatures of others.
//
// # Testing
//
// Package [example.com/huaweicloud/cdn/cdntest] is a server that behaves as the service does, for tests of programs
// that use this package. The command cdn-sandbox runs it for programs in other languages.
package cdn
