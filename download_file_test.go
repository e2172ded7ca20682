package cdn_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"example.com/huaweicloud/cdn"
)

func TestDownloadFile_replaces_only_when_complete(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	failed := srv.AddTask(cdn.ExportTask{Status: cdn.ExportTaskFail}, nil).TaskID
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))

	_, err := client.DownloadFile(t.Context(), failed, path)
	require.Error(t, err)
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(content))

	reports := 0
	_, err = client.DownloadFile(t.Context(), id, path, cdn.WithProgress(func(cdn.Progress) {
		reports++
		content, err := os.ReadFile(path)
		assert.NoError(t, err)
		assert.Equal(t, "old", string(content), "untouched until the end")
	}))
	require.NoError(t, err)
	assert.Positive(t, reports)
	content, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "new", string(content))
	assert.Equal(t, []string{"report"}, filesIn(t, folder))
}

func TestDownloadFile_invalid_arguments_before_any_IO(t *testing.T) {
	srv, client := newServer(t)
	folder := t.TempDir()
	path := filepath.Join(folder, "report")
	abandoned := ".report.ABCDEFGH27.part" // the first thing that creating the file would remove
	require.NoError(t, os.WriteFile(filepath.Join(folder, abandoned), nil, 0o600))
	tests := []struct {
		name, id string
		opts     []cdn.DownloadOption
	}{
		{"no task", "", nil},
		{"nil option", "a", []cdn.DownloadOption{nil}},
		{"link without https", "a", []cdn.DownloadOption{cdn.WithLink("http://store.example/f")}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n, err := client.DownloadFile(t.Context(), test.id, path, test.opts...)
			require.ErrorIs(t, err, cdn.ErrInvalidParameter)
			assert.Zero(t, n)
			assert.Equal(t, []string{abandoned}, filesIn(t, folder))
		})
	}
	assert.Empty(t, srv.Requests())
}

func TestDownloadFile_permissions_and_links(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // permissions and links differ there
	}
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	folder := t.TempDir()
	mode := func(path string) fs.FileMode {
		info, err := os.Lstat(path)
		require.NoError(t, err)
		return info.Mode()
	}
	reference := filepath.Join(folder, "reference")
	file, err := os.Create(reference)
	require.NoError(t, err)
	require.NoError(t, file.Close())
	created := filepath.Join(folder, "created")
	_, err = client.DownloadFile(t.Context(), id, created)
	require.NoError(t, err)
	assert.Equal(t, mode(reference), mode(created), "as os.Create")

	private := filepath.Join(folder, "private")
	require.NoError(t, os.WriteFile(private, nil, 0o600))
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink(private, link))
	_, err = client.DownloadFile(t.Context(), id, link)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), mode(private))
	assert.Equal(t, fs.ModeSymlink, mode(link)&fs.ModeSymlink, "the link stays")
	content, err := os.ReadFile(private)
	require.NoError(t, err)
	assert.Equal(t, "new", string(content))
}

func TestDownloadFile_panic_leaves_nothing_behind(t *testing.T) {
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("content")).TaskID
	folder := t.TempDir()
	assert.Panics(t, func() {
		_, _ = client.DownloadFile(t.Context(), id, filepath.Join(folder, "report"), cdn.WithProgress(func(cdn.Progress) { panic("x") }))
	})
	assert.Empty(t, filesIn(t, folder))
}

// A temporary file that a killed download has left is removed by the next download to the same path.
func TestDownloadFile_removes_the_leftover_of_a_killed_one(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there a temporary file is removed only after a minute
	}
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	folder := t.TempDir()
	for _, name := range []string{".report.ABCDEFGH27.part", ".other.ABCDEFGH27.part"} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte("half"), 0o600))
	}
	var during []string
	_, err := client.DownloadFile(t.Context(), id, filepath.Join(folder, "report"), cdn.WithProgress(func(cdn.Progress) { during = filesIn(t, folder) }))
	require.NoError(t, err)
	require.Len(t, during, 2)
	assert.NotContains(t, during, ".report.ABCDEFGH27.part")
	assert.Equal(t, []string{".other.ABCDEFGH27.part", "report"}, filesIn(t, folder))
}

// A new file is private until it is complete, also if a dangling link leads to it.
func TestDownloadFile_private_until_complete(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	srv, client := newServer(t)
	id := srv.AddTask(cdn.ExportTask{}, []byte("new")).TaskID
	folder, elsewhere := t.TempDir(), t.TempDir()
	link := filepath.Join(folder, "link")
	require.NoError(t, os.Symlink(filepath.Join(elsewhere, "report"), link))
	var during []string
	_, err := client.DownloadFile(t.Context(), id, link, cdn.WithProgress(func(cdn.Progress) {
		during = filesIn(t, elsewhere)
		for _, name := range during {
			info, err := os.Stat(filepath.Join(elsewhere, name))
			if assert.NoError(t, err) {
				assert.Equal(t, fs.FileMode(0o600), info.Mode())
			}
		}
	}))
	require.NoError(t, err)
	assert.Len(t, during, 1, "the temporary file")
	assert.Equal(t, []string{"link"}, filesIn(t, folder))
	content, err := os.ReadFile(filepath.Join(elsewhere, "report"))
	require.NoError(t, err)
	assert.Equal(t, "new", string(content))
}

// The standard output of a program is written to, not replaced.
func TestDownloadFile_to_standard_output(t *testing.T) {
	if runtime.GOOS == "windows" {
		return
	}
	if os.Getenv("CDN_TEST_OUTPUT") != "" {
		srv, client := newServer(t)
		id := srv.AddTask(cdn.ExportTask{}, []byte("content\n")).TaskID
		n, err := client.DownloadFile(t.Context(), id, "/dev/stdout")
		require.NoError(t, err)
		assert.EqualValues(t, 8, n)
		return
	}
	log, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	require.NoError(t, err)
	defer log.Close()
	_, err = log.WriteString("before\n")
	require.NoError(t, err)
	executable, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), executable, "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CDN_TEST_OUTPUT=1", "GORACE=atexit_sleep_ms=0")
	cmd.Stdout = log
	require.NoError(t, cmd.Run())
	content, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	assert.Regexp(t, "^before\ncontent\n", string(content))
	assert.Contains(t, string(content), "PASS", "later output comes after it")
}
