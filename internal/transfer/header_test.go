package transfer

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		value string
		want  contentRange
		ok    bool
	}{
		{"bytes 0-9/10", contentRange{0, 10, 10}, true},
		{"bytes 5-9/10", contentRange{5, 10, 10}, true},
		{"bytes 5-5/10", contentRange{5, 6, 10}, true},
		{"bytes 5-9/*", contentRange{5, 10, -1}, true},
		{"bytes 5-10/10", contentRange{}, false},
		{"bytes 6-5/10", contentRange{}, false},
		{"bytes 5-9", contentRange{}, false},
		{"bytes 5/10", contentRange{}, false},
		{"bytes */10", contentRange{}, false},
		{"bytes -5-9/10", contentRange{}, false},
		{"bytes +5-9/10", contentRange{}, false},
		{"bytes 5-9/-1", contentRange{}, false},
		{"bytes 5-9/x", contentRange{}, false},
		{"bytes 5-x/10", contentRange{}, false},
		{"bytes a-9/10", contentRange{}, false},
		{"bytes 5-/10", contentRange{}, false},
		{"bytes 5-9223372036854775807/*", contentRange{}, false},
		{"items 0-9/10", contentRange{}, false},
		{"0-9/10", contentRange{}, false},
		{"", contentRange{}, false},
	}
	for _, test := range tests {
		got, ok := parseContentRange(test.value)
		assert.Equal(t, test.ok, ok, test.value)
		assert.Equal(t, test.want, got, test.value)
	}
}

func TestParseUnsatisfied(t *testing.T) {
	for value, want := range map[string]int64{"bytes */10": 10, "bytes */0": 0, "bytes */*": -1, "bytes */-1": -1, "bytes 0-9/10": -1, "*/10": -1, "": -1} {
		total, ok := parseUnsatisfied(value)
		assert.Equal(t, want >= 0, ok, value)
		assert.Equal(t, max(0, want), total, value)
	}
}

func TestStrongETag(t *testing.T) {
	for etag, want := range map[string]bool{
		`"v1"`: true, `"5d41402abc4b2a76b9719d911017c592-3"`: true, `"a"`: true,
		`W/"v1"`: false, `""`: false, `"`: false, "v1": false, "": false, `"a"b"`: false, `"a", "b"`: false, `"a`: false, `a"`: false,
	} {
		got := strongETag(http.Header{"Etag": {etag}})
		assert.Equal(t, want, got != "", etag)
		if want {
			assert.Equal(t, etag, got)
		}
	}
	assert.Empty(t, strongETag(http.Header{}))
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("bytes 5-9/10")
	f.Add("bytes 5-9/*")
	f.Add("bytes */10")
	f.Fuzz(func(t *testing.T, value string) {
		if total, ok := parseUnsatisfied(value); ok {
			assert.GreaterOrEqual(t, total, int64(0))
		}
		got, ok := parseContentRange(value)
		if !ok {
			return
		}
		assert.GreaterOrEqual(t, got.start, int64(0))
		assert.Greater(t, got.end, got.start)
		assert.True(t, got.total == -1 || got.end <= got.total)
		_, after, _ := strings.Cut(value, " ")
		first, _, _ := strings.Cut(after, "-")
		start, err := strconv.ParseInt(first, 10, 64)
		assert.NoError(t, err)
		assert.Equal(t, start, got.start)
	})
}
