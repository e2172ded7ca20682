package cdn

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The link of a finished task is used unchanged. A bad one is the service's error, not an invalid parameter.
func TestDownloadFile_link_of_a_finished_task(t *testing.T) {
	requests := 0
	client := newTestClient(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		requests++
		return reply(200, "content"), nil
	}))
	tests := []struct {
		name string
		task ExportTask
		want error // nil for none
	}{
		{"good", ExportTask{Status: ExportTaskSuccess, DownloadLink: "https://store.example/f?Signature=s3cret"}, nil},
		{"not encrypted", ExportTask{Status: ExportTaskSuccess, DownloadLink: "http://store.example/f?Signature=s3cret"}, ErrMalformedResponse},
		{"no URL", ExportTask{Status: ExportTaskSuccess, DownloadLink: "https://%zz?Signature=s3cret"}, ErrMalformedResponse},
		{"none", ExportTask{Status: ExportTaskSuccess}, ErrMalformedResponse},
		{"failed", ExportTask{Status: ExportTaskFail}, ErrTaskFailed},
		{"not finished", ExportTask{Status: "processing"}, ErrTaskNotFinished},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			requests = 0
			n, err := client.downloadFile(t.Context(), "a", filepath.Join(t.TempDir(), "report"), []DownloadOption{withLinkOf(&test.task)})
			if test.want == nil {
				require.NoError(t, err)
				assert.EqualValues(t, 7, n)
				assert.Equal(t, 1, requests, "to the store")
				return
			}
			require.ErrorIs(t, err, test.want)
			require.NotErrorIs(t, err, ErrInvalidParameter)
			assert.NotContains(t, err.Error(), "s3cret")
			assert.Zero(t, requests)
		})
	}
}
