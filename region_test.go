package cdn

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRegions_built_in_endpoints(t *testing.T) {
	published := map[string]string{
		"ap-southeast-1": "https://cdn.myhuaweicloud.com",
		"cn-north-1":     "https://cdn.myhuaweicloud.com",
		"eu-west-101":    "https://cdn.myhuaweicloud.eu",
	}
	assert.Equal(t, []string{"ap-southeast-1", "cn-north-1", "eu-west-101"}, Regions())
	assert.Equal(t, "cn-north-1", DefaultRegion)
	for _, id := range Regions() {
		t.Run(id, func(t *testing.T) {
			endpoint, source, err := regionEndpoint(id)
			require.NoError(t, err)
			assert.Equal(t, published[id], endpoint)
			assert.Empty(t, source)
			parsed, err := parseEndpoint(endpoint, false)
			require.NoError(t, err)
			assert.Equal(t, endpoint, parsed.String())
		})
	}
}

func TestRegions_result_is_a_copy(t *testing.T) {
	Regions()[0] = "changed"
	assert.Equal(t, "ap-southeast-1", Regions()[0])
}

func TestRegion_unknown_names_the_known_ones(t *testing.T) {
	tests := map[string]struct{ id, shown string }{
		"empty":              {"", `""`},
		"unknown":            {"mars-1", `"mars-1"`},
		"other case":         {"CN-NORTH-1", `"CN-NORTH-1"`},
		"space around":       {" cn-north-1", `" cn-north-1"`},
		"with a line break":  {"mars-1\nfaked log line", `"mars-1\nfaked log line"`},
		"of another service": {"cn-north-4", `"cn-north-4"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			client, err := NewCdnClient(WithRegion(test.id))
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Nil(t, client)
			assert.Contains(t, err.Error(), "Region "+test.shown)
			assert.NotContains(t, err.Error(), "\n")
			for _, id := range Regions() {
				assert.Contains(t, err.Error(), id)
			}
		})
	}
}

func TestRegion_overridden_by_a_variable(t *testing.T) {
	// The vendor's package keeps an override while the process runs, so no two tests may use the same id.
	tests := map[string]struct{ id, variable, value, want string }{
		"one endpoint":       {"override-one-1", "OVERRIDE_ONE_1", "https://one.example.com", "https://one.example.com"},
		"the first of two":   {"override-two-1", "OVERRIDE_TWO_1", "https://a.example.com,https://b.example.com", "https://a.example.com"},
		"space around":       {"override-space-1", "OVERRIDE_SPACE_1", " https://c.example.com ", "https://c.example.com"},
		"id in capitals":     {"OVERRIDE-caps-1", "OVERRIDE_CAPS_1", "https://d.example.com", "https://d.example.com"},
		"id with underscore": {"override_under_1", "OVERRIDE_UNDER_1", "https://e.example.com", "https://e.example.com"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_"+test.variable, test.value)
			got, source, err := regionEndpoint(test.id)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			assert.Equal(t, "HUAWEICLOUD_SDK_REGION_CDN_"+test.variable, source)
			_, err = NewCdnClient(WithRegion(test.id))
			assert.NoError(t, err)
		})
	}
}

func TestRegion_override_is_validated(t *testing.T) {
	t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_OVERRIDE_PLAIN_1", "http://cdn.example.com")
	_, err := NewCdnClient(WithRegion("override-plain-1"))
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.Contains(t, err.Error(), "WithInsecureHTTP")
	assert.Contains(t, err.Error(), "; it comes from HUAWEICLOUD_SDK_REGION_CDN_OVERRIDE_PLAIN_1")
	_, err = NewCdnClient(WithRegion("override-plain-1"), WithInsecureHTTP())
	assert.NoError(t, err)
}

func TestRegion_override_of_another_service_is_ignored(t *testing.T) {
	t.Setenv("HUAWEICLOUD_SDK_REGION_ECS_OVERRIDE_ECS_1", "https://ecs.example.com")
	_, err := NewCdnClient(WithRegion("override-ecs-1"))
	require.ErrorIs(t, err, ErrInvalidParameter)
}

func TestRegion_override_without_an_endpoint_is_an_error(t *testing.T) {
	for id, value := range map[string]string{"override-blank-1": " ", "override-comma-1": ",https://second.example.com"} {
		variable := regionVariable(id)
		t.Setenv(variable, value)
		_, err := NewCdnClient(WithRegion(id))
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.ErrorContains(t, err, `Region "`+id+`": has no endpoint in `+variable)
	}
}

func TestRegionsFile_missing_is_an_error_if_a_variable_names_it(t *testing.T) {
	file := filepath.Join(t.TempDir(), "missing.yaml")
	t.Setenv(regionsFileVariable, file)
	client, err := NewCdnClient(WithAKSK("AK", "SK"))
	require.NoError(t, err, "a built-in region reads no file to build a client")
	for range 2 {
		_, err = client.ListExportTasks(t.Context(), nil)
		require.ErrorIs(t, err, ErrInvalidParameter)
		require.ErrorContains(t, err, file)
		require.ErrorContains(t, err, regionsFileVariable)
	}
}

// emptyListServer returns a server with an empty list, and a function that returns the requests so far.
func emptyListServer(t *testing.T) (server *httptest.Server, requests func() []*http.Request) {
	t.Helper()
	var mu sync.Mutex
	var seen []*http.Request
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, r)
		mu.Unlock()
		_, _ = io.WriteString(w, `{"total":0,"data":[]}`)
	}))
	t.Cleanup(server.Close)
	return server, func() []*http.Request {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestRegion_calls_use_the_override(t *testing.T) {
	for _, id := range Regions() {
		t.Run(id, func(t *testing.T) {
			if !inOwnProcess(t) {
				return
			}
			server, requests := emptyListServer(t)
			t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_"+strings.ToUpper(strings.ReplaceAll(id, "-", "_")), server.URL)
			client, err := NewCdnClient(WithRegion(id), WithAKSK("AK", "SK"), WithHTTPClient(server.Client()))
			require.NoError(t, err)
			for range 2 {
				_, err = client.ListExportTasks(t.Context(), nil)
				require.NoError(t, err)
			}
			assert.Len(t, requests(), 2)
		})
	}
}

const regionsYAML = `
CDN:
  - id: file-one-1
    endpoint: https://one.example.com
  - id: file-two-1
    endpoints:
      - https://two.example.com
      - https://three.example.com
  - id: cn-north-1
    endpoint: https://built-in.example.com
  - id: file-and-env-1
    endpoint: https://file.example.com
ECS:
  - id: file-ecs-1
    endpoint: https://ecs.example.com
`

func TestRegion_overridden_by_a_file(t *testing.T) {
	places := map[string]func(dir string) (file string, additions []string){
		"at the variable's path": func(dir string) (string, []string) {
			file := filepath.Join(dir, "my regions.yaml")
			return file, []string{"HUAWEICLOUD_SDK_REGIONS_FILE=" + file}
		},
		"in the home directory": func(dir string) (string, []string) {
			return filepath.Join(dir, ".huaweicloud", "regions.yaml"), []string{"HUAWEICLOUD_SDK_REGIONS_FILE=", "HOME=" + dir}
		},
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			file, additions := place(t.TempDir())
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o700))
			require.NoError(t, os.WriteFile(file, []byte(regionsYAML), 0o600))
			additions = append(additions, "HUAWEICLOUD_SDK_REGION_CDN_FILE_AND_ENV_1=https://env.example.com")
			if !inOwnProcess(t, additions...) {
				return
			}
			for id, want := range map[string]string{
				"file-one-1":     "https://one.example.com",
				"file-two-1":     "https://two.example.com",
				"cn-north-1":     "https://built-in.example.com",
				"file-and-env-1": "https://env.example.com",
				"eu-west-101":    "https://cdn.myhuaweicloud.eu",
			} {
				got, source, err := regionEndpoint(id)
				require.NoError(t, err, id)
				assert.Equal(t, want, got, id)
				switch id {
				case "file-and-env-1":
					assert.Equal(t, "HUAWEICLOUD_SDK_REGION_CDN_FILE_AND_ENV_1", source)
				case "eu-west-101":
					assert.Empty(t, source)
				default:
					assert.Equal(t, regionsFile(), source)
				}
			}
			_, _, err := regionEndpoint("file-ecs-1")
			assert.ErrorIs(t, err, ErrInvalidParameter)
		})
	}
}

func TestRegionsFile_unreadable_is_an_error_each_time(t *testing.T) {
	tests := map[string]func(t *testing.T, file string){
		"not YAML":       func(t *testing.T, file string) { require.NoError(t, os.WriteFile(file, []byte("<html>\n"), 0o600)) },
		"another shape":  func(t *testing.T, file string) { require.NoError(t, os.WriteFile(file, []byte("CDN: 1\n"), 0o600)) },
		"an empty entry": func(t *testing.T, file string) { require.NoError(t, os.WriteFile(file, []byte("CDN:\n  -\n"), 0o600)) },
		"a directory":    func(t *testing.T, file string) { require.NoError(t, os.Mkdir(file, 0o700)) },
	}
	for name, write := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "regions.yaml")
			if os.Getenv(ownProcess) == "" {
				write(t, file)
			}
			if !inOwnProcess(t, "HUAWEICLOUD_SDK_REGIONS_FILE="+file) {
				return
			}
			file = os.Getenv("HUAWEICLOUD_SDK_REGIONS_FILE")
			for _, id := range []string{"mars-1", "mars-1", "cn-north-1"} {
				_, _, err := regionEndpoint(id)
				require.ErrorIs(t, err, ErrInvalidParameter, id)
				assert.Contains(t, err.Error(), file)
				assert.NotContains(t, err.Error(), "nil pointer")
			}

			client, err := NewCdnClient(WithAKSK("AK", "SK"))
			require.NoError(t, err, "a built-in region needs no file to build a client")
			for range 2 {
				_, err = client.ListExportTasks(t.Context(), nil)
				require.ErrorIs(t, err, ErrInvalidParameter)
				assert.Contains(t, err.Error(), file)
			}
			_, err = NewCdnClient(WithRegion("mars-1"))
			require.ErrorIs(t, err, ErrInvalidParameter)
			assert.Contains(t, err.Error(), file)
		})
	}
}

func TestRegionsFile_error_names_file_and_cause(t *testing.T) {
	t.Run("cause known", func(t *testing.T) {
		t.Setenv("HUAWEICLOUD_SDK_REGIONS_FILE", "/etc/regions.yaml")
		err := regionsFileError(errors.New("failed to resolve file\n\tline 3"))
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.Contains(t, err.Error(), `regions file "/etc/regions.yaml": failed to resolve file line 3`)
	})
	t.Run("cause lost", func(t *testing.T) {
		t.Setenv("HUAWEICLOUD_SDK_REGIONS_FILE", "")
		err := regionsFileError(nilPointerError())
		require.ErrorIs(t, err, ErrInvalidParameter)
		assert.Contains(t, err.Error(), filepath.Join("~", ".huaweicloud", "regions.yaml"))
		assert.Contains(t, err.Error(), "the first attempt of this process to read it has failed")
	})
}

// nilPointerError returns what recover returns for the use of a nil pointer.
func nilPointerError() (cause any) {
	defer func() { cause = recover() }()
	var missing *fs.PathError
	return missing.Path
}

func TestRegion_built_in_reads_no_file(t *testing.T) {
	// A client that reads this file fails.
	file := filepath.Join(t.TempDir(), "regions.yaml")
	require.NoError(t, os.WriteFile(file, []byte("CDN: 1\n"), 0o600))
	if !inOwnProcess(t, "HUAWEICLOUD_SDK_REGIONS_FILE="+file) {
		return
	}
	for _, id := range Regions() {
		_, err := NewCdnClient(WithRegion(id))
		require.NoError(t, err)
	}
	_, err := NewCdnClient(WithRegion("cn-north-1"), WithEndpoint("https://cdn.example.com"))
	require.NoError(t, err)
	// Only the first read reports the cause.
	_, _, err = regionEndpoint("cn-north-1")
	require.ErrorIs(t, err, ErrInvalidParameter)
	assert.NotContains(t, err.Error(), "first attempt")
}

func TestRegion_concurrent_lookups(t *testing.T) {
	if !inOwnProcess(t, "HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1=https://many.example.com") {
		return
	}
	t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_OVERRIDE_MANY_1", "https://many-1.example.com")
	t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_OVERRIDE_MANY_2", "https://many-2.example.com")
	want := map[string]string{
		"cn-north-1":      "https://many.example.com",
		"override-many-1": "https://many-1.example.com",
		"override-many-2": "https://many-2.example.com",
		"eu-west-101":     "https://cdn.myhuaweicloud.eu",
	}
	const goroutines = 64
	start := make(chan struct{})
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			<-start
			for id, endpoint := range want {
				got, _, err := regionEndpoint(id)
				assert.NoError(t, err)
				assert.Equal(t, endpoint, got)
				_, err = NewCdnClient(WithRegion(id))
				assert.NoError(t, err)
			}
		})
	}
	close(start)
	group.Wait()
}

func TestRegion_concurrent_calls_use_the_override(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	server, requests := emptyListServer(t)
	t.Setenv("HUAWEICLOUD_SDK_REGION_CDN_OVERRIDE_CLIENT_1", server.URL)
	client, err := NewCdnClient(WithRegion("override-client-1"), WithAKSK("AK", "SK"), WithHTTPClient(server.Client()))
	require.NoError(t, err)
	const goroutines = 64
	var group sync.WaitGroup
	for range goroutines {
		group.Go(func() {
			_, err := client.ListExportTasks(context.Background(), nil)
			assert.NoError(t, err)
		})
	}
	group.Wait()
	assert.Len(t, requests(), goroutines)
}
