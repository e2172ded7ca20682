package cdn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/utils"
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDecodePage(t *testing.T) {
	at := func(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
	one := func(task ExportTask) page { return page{total: 1, tasks: []ExportTask{task}} }
	tests := []struct {
		name, text string
		want       page
	}{
		{"whole task", `{"total":1,"data":[{"task_id":"a","task_name":"n","status":"success","download_link":"https://x/?a=b&c","create_time":1675134803874,"update_time":1675134803875}]}`,
			one(ExportTask{"a", "n", ExportTaskSuccess, "https://x/?a=b&c", at(1675134803874), at(1675134803875)})},
		{"empty list", `{"total":0,"data":[]}`, page{tasks: []ExportTask{}}},
		{"null list", `{"total":0,"data":null}`, page{tasks: []ExportTask{}}},
		{"page beyond the end", `{"total":7,"data":[ ]}`, page{total: 7, tasks: []ExportTask{}}},
		{"data first", `{"data":[],"total":3}`, page{total: 3, tasks: []ExportTask{}}},
		{"white space", " \t\r\n{ \"total\" : 0 ,\n\"data\" : [ ] } \n", page{tasks: []ExportTask{}}},
		{"name as number", `{"total":1,"data":[{"task_name":149751000000}]}`, one(ExportTask{TaskName: "149751000000"})},
		{"name as number keeps its text", `{"total":1,"data":[{"task_name":-1.50e+10}]}`, one(ExportTask{TaskName: "-1.50e+10"})},
		{"id as number", `{"total":1,"data":[{"task_id":123}]}`, one(ExportTask{TaskID: "123"})},
		{"time as string", `{"total":1,"data":[{"create_time":"1700000000000","update_time":"1700000000000.0"}]}`,
			one(ExportTask{CreateTime: at(1700000000000), UpdateTime: at(1700000000000)})},
		{"time with a fraction of zero, with an exponent", `{"total":1,"data":[{"create_time":1700000000000.0,"update_time":1.7e12}]}`,
			one(ExportTask{CreateTime: at(1700000000000), UpdateTime: at(1700000000000)})},
		{"time past the documented range", `{"total":1,"data":[{"create_time":4102416000001}]}`, one(ExportTask{CreateTime: at(4102416000001)})},
		{"row without an id", `{"total":2,"data":[{"task_name":"n"},{"task_id":"a"}]}`, page{2, []ExportTask{{TaskName: "n"}, {TaskID: "a"}}}},
		{"total with a fraction of zero", `{"total":1.0,"data":[]}`, page{total: 1, tasks: []ExportTask{}}},
		{"total with an exponent", `{"total":1e3,"data":[]}`, page{total: 1000, tasks: []ExportTask{}}},
		{"total that a negative exponent makes whole", `{"total":1000e-3,"data":[]}`, page{total: 1, tasks: []ExportTask{}}},
		{"negative zero", `{"total":-0,"data":[]}`, page{tasks: []ExportTask{}}},
		{"number too large for any type as a name", `{"total":1,"data":[{"task_name":1e400}]}`, one(ExportTask{TaskName: "1e400"})},
		{"latest time", `{"total":1,"data":[{"update_time":9223372036854775807}]}`, one(ExportTask{UpdateTime: at(1<<63 - 1)})},
		{"time as a string with white space", `{"total":1,"data":[{"create_time":" 12 "}]}`, one(ExportTask{CreateTime: at(12)})},
		{"all null", `{"total":1,"data":[{"task_id":null,"task_name":null,"status":null,"download_link":null,"create_time":null,"update_time":null}]}`, one(ExportTask{})},
		{"all absent", `{"total":1,"data":[{}]}`, one(ExportTask{})},
		{"time 0 is 1970", `{"total":1,"data":[{"create_time":0}]}`, one(ExportTask{CreateTime: at(0)})},
		{"negative time", `{"total":1,"data":[{"create_time":-1}]}`, one(ExportTask{CreateTime: at(-1)})},
		{"unknown status is kept", `{"total":1,"data":[{"status":"running"}]}`, one(ExportTask{Status: "running"})},
		{"unknown members", `{"x":{"y":[1,"]}",null,true,false,{"z":-0.5E-7}]},"total":1,"data":[{"more":[[],{}],"task_id":"a"}]}`, one(ExportTask{TaskID: "a"})},
		{"error null", `{"total":0,"data":[],"error":null}`, page{tasks: []ExportTask{}}},
		{"escapes", `{"total":1,"data":[{"task_id":"\"\\\/\b\f\n\r\t\u0041\u00e9\u4e2d"}]}`, one(ExportTask{TaskID: "\"\\/\b\f\n\r\tAé中"})},
		{"surrogate pair", `{"total":1,"data":[{"task_id":"a\ud83d\ude00b"}]}`, one(ExportTask{TaskID: "a😀b"})},
		{"half a surrogate pair", `{"total":1,"data":[{"task_id":"\ud83dx\ude00\ud83d\u0041"}]}`, one(ExportTask{TaskID: "\ufffdx\ufffd\ufffdA"})},
		{"surrogate pair in the wrong order", `{"total":1,"data":[{"task_id":"\ude00\ud83d"}]}`, one(ExportTask{TaskID: "\ufffd\ufffd"})},
		{"half a pair before a pair", `{"total":1,"data":[{"task_id":"\ud83d\ud83d\ude00"}]}`, one(ExportTask{TaskID: "\ufffd😀"})},
		{"NUL, escaped", `{"total":1,"data":[{"task_id":"a\u0000b"}]}`, one(ExportTask{TaskID: "a\x00b"})},
		{"not a character, and a byte order mark within", `{"total":1,"data":[{"task_id":"\uffff\ufeff"}]}`, one(ExportTask{TaskID: "\uffff\ufeff"})},
		{"escaped name", `{"t\u006ftal":1,"data":[{"task\u005fid":"a"}]}`, one(ExportTask{TaskID: "a"})},
		{"UTF-8", `{"total":1,"data":[{"task_name":"日报 é😀"}]}`, one(ExportTask{TaskName: "日报 é😀"})},
		{"the last of two wins", `{"total":9,"total":1,"data":[{"task_id":"x"}],"data":[{"task_id":"a","task_id":"b"}]}`, one(ExportTask{TaskID: "b"})},
		{"null after a value wins", `{"total":1,"data":[{"task_id":"a","task_id":null}]}`, one(ExportTask{})},
		{"null list after a list wins", `{"total":1,"data":[{"task_id":"x"}],"data":null}`, page{total: 1, tasks: []ExportTask{}}},
		{"shorter list after a list wins", `{"total":1,"data":[{"task_id":"x"},{"task_name":"y"}],"data":[{"task_name":"b"}]}`, one(ExportTask{TaskName: "b"})},
		{"name that differs by case does not count", `{"total":1,"data":[{"task_id":"a","Task_Id":"b","task_ıd":"c"}],"DATA":7}`, one(ExportTask{TaskID: "a"})},
		{"names are exact", `{"total":1,"Total":5,"data":[{"TASK_ID":"x"}]}`, one(ExportTask{})},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := decodePage(test.text)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
		})
	}
}

func TestDecodePage_malformed(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", ``, "cut short"},
		{"white space", "  \n", "cut short"},
		{"null", `null`, `'n' at byte 0`},
		{"array", `[]`, `'[' at byte 0`},
		{"string", `"total"`, `'"' at byte 0`},
		{"HTML", `<html><body>Bad Gateway</body></html>`, `'<' at byte 0`},
		{"byte order mark", "\ufeff{}", "at byte 0"},
		{"empty object", `{}`, "total is missing"},
		{"no total", `{"data":[]}`, "total is missing"},
		{"no data", `{"total":1}`, "data is missing"},
		{"null total", `{"total":null,"data":[]}`, "total: "},
		{"total as string", `{"total":"1","data":[]}`, "total: "},
		{"total as fraction", `{"total":1.5,"data":[]}`, "1.5 is not a whole number"},
		{"negative total", `{"total":-1,"data":[]}`, "total: out of range"},
		{"total too large", `{"total":9223372036854775808,"data":[]}`, "is not a whole number of 64 bits"},
		{"data as object", `{"total":1,"data":{}}`, "data: "},
		{"null task", `{"total":1,"data":[null]}`, "data: [0]: "},
		{"id as boolean", `{"total":1,"data":[{},{"task_id":true}]}`, "data: [1]: task_id: "},
		{"status as number", `{"total":1,"data":[{"status":1}]}`, "data: [0]: status: "},
		{"link as number", `{"total":1,"data":[{"download_link":1}]}`, "data: [0]: download_link: "},
		{"name as boolean", `{"total":1,"data":[{"task_name":true}]}`, "task_name: "},
		{"time as words", `{"total":1,"data":[{"create_time":"2026-03-01"}]}`, "create_time: the string at byte 34 is not a whole number of 64 bits"},
		{"time as empty string", `{"total":1,"data":[{"create_time":""}]}`, "create_time: "},
		{"time as boolean", `{"total":1,"data":[{"create_time":false}]}`, "create_time: "},
		{"time as fraction", `{"total":1,"data":[{"update_time":1.5}]}`, "update_time: 1.5 is not a whole number"},
		{"time too large", `{"total":1,"data":[{"update_time":1e300}]}`, "update_time: 1e300 is not a whole number"},
		{"total too large, with an exponent", `{"total":1e19,"data":[]}`, "total: 1e19 is not a whole number of 64 bits"},
		{"total inexact", `{"total":9.007199254740993e15,"data":[]}`, "total: "},
		{"time too large, as a string", `{"total":1,"data":[{"create_time":"9223372036854775808"}]}`, "create_time: the string at byte"},
		{"time as NaN", `{"total":1,"data":[{"create_time":NaN}]}`, "create_time: "},
		{"time as object", `{"total":1,"data":[{"create_time":{}}]}`, "create_time: "},
		{"first of two is wrong", `{"total":"x","total":1,"data":[]}`, "total: "},
		{"NUL", "{\"total\":0,\"data\":[{\"task_id\":\"a\x00b\"}]}", "control character"},
		{"NUL after the end", "{\"total\":0,\"data\":[]}\x00", `'\x00' at byte 21`},
		{"UTF-16", "{\x00}\x00", `'\x00' at byte 1`},
		{"surrogate in UTF-8", "{\"total\":0,\"data\":[{\"task_id\":\"\xed\xa0\xbd\"}]}", "not valid UTF-8"},
		{"32 MiB of white space", strings.Repeat(" \n", 16<<20), "cut short at byte 33554432"},
		{"trailing text", `{"total":0,"data":[]} x`, `'x' at byte 22`},
		{"second object", `{"total":0,"data":[]}{}`, `'{' at byte 21`},
		{"trailing comma in object", `{"total":0,"data":[],}`, `'}'`},
		{"trailing comma in array", `{"total":0,"data":[{},]}`, `']'`},
		{"comma missing", `{"total":0 "data":[]}`, `'"' at byte 11`},
		{"colon missing", `{"total" 0}`, `'0' at byte 9`},
		{"single quotes", `{'total':0}`, `'\''`},
		{"leading zero", `{"total":01,"data":[]}`, `'1'`},
		{"plus sign", `{"total":+1,"data":[]}`, `'+'`},
		{"bare minus", `{"total":-,"data":[]}`, `','`},
		{"bare point", `{"total":1.,"data":[]}`, `','`},
		{"bare exponent", `{"total":1e,"data":[]}`, `','`},
		{"misspelt literal", `{"total":0,"data":nul}`, "data: "},
		{"literal too long", `{"x":trueish,"total":0,"data":[]}`, `'i'`},
		{"control character", "{\"total\":0,\"data\":[{\"task_id\":\"a\nb\"}]}", "control character"},
		{"unknown escape", `{"total":0,"data":[{"task_id":"\x41"}]}`, "an escape"},
		{"short unicode escape", `{"total":0,"data":[{"task_id":"\u12"}]}`, "four hex digits"},
		{"bad second half of a pair", `{"total":0,"data":[{"task_id":"\ud83d\uzzzz"}]}`, "four hex digits"},
		{"invalid UTF-8", "{\"total\":0,\"data\":[{\"task_id\":\"\xff\"}]}", "not valid UTF-8"},
		{"invalid UTF-8 in a name", "{\"total\":0,\"data\":[],\"\xc3\":1}", "not valid UTF-8"},
		{"nested too deep", `{"total":0,"data":[],"x":` + strings.Repeat("[", 1001), "nested more than 1000 deep"},
		{"too many tasks", `{"total":0,"data":[` + strings.Repeat("{},", maxPageTasks) + `{}]}`, "more than 131072 tasks"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := decodePage(test.text)
			require.ErrorContains(t, err, test.want)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestDecodePage_error_object(t *testing.T) {
	for _, text := range []string{
		`{"error":{"code":"CDN.0001"}}`, `{"total":1,"data":[],"error":{"error_code":"CDN.0001"}}`, `{"total":1,"data":[],"code":1}`,
		`{"total":"x","error_code":"CDN.0001"}`,
	} {
		_, err := decodePage(text)
		assert.ErrorIs(t, err, errServiceError, text)
	}
}

// A page allocates its slice of tasks only: the strings are slices of the text.
func TestDecodePage_allocates_once(t *testing.T) {
	text := pageText(100)
	// Goroutines of earlier tests may allocate too. Their share is less than one in so many runs.
	allocations := testing.AllocsPerRun(200, func() {
		if p, err := decodePage(text); err != nil || len(p.tasks) != 100 {
			t.Error(err)
		}
	})
	assert.LessOrEqual(t, allocations, 2.0)
	p, err := decodePage(text)
	require.NoError(t, err)
	assert.Less(t, cap(p.tasks), 110)
}

// A repeated member must not cost memory each time, or a small response could cost gigabytes.
func TestDecodePage_repeated_member_allocates_once(t *testing.T) {
	text := `{"total":1,` + strings.Repeat(`"data":[{}],`, 1000) + `"data":[{"task_id":"a"}]}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	p, err := decodePage(text)
	runtime.ReadMemStats(&after)
	require.NoError(t, err)
	assert.Equal(t, []ExportTask{{TaskID: "a"}}, p.tasks)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4<<20))
}

// Each cut of a response is an error. It says that the text is cut or that a value is missing.
func TestDecodePage_every_cut_is_an_error(t *testing.T) {
	whole := `{"total":1,"more":[true,null,1.5e3],"data":[{"task_id":"a\u00e9\ud83d\ude00","create_time":12}]}`
	_, err := decodePage(whole)
	require.NoError(t, err)
	for i := range len(whole) {
		_, err := decodePage(whole[:i])
		require.Error(t, err, whole[:i])
		if utf8.ValidString(whole[:i]) {
			cut := errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "want a value")
			assert.True(t, cut, "%s: %v", whole[:i], err)
		}
	}
}

// FuzzDecodePage compares the decoder with encoding/json, which reads the same text member by member.
func FuzzDecodePage(f *testing.F) {
	f.Add(`{"total":1,"data":[{"task_id":"a","task_name":149751000000,"status":"success","download_link":"x","create_time":1675134803874,"update_time":null}]}`)
	f.Add(`{"total":0,"data":null,"error":null}`)
	f.Add(`{"data":[{},{"task_id":"\ud83d\ude00\ud83d"}],"total":2,"x":[1,{"y":-0.0e+1}]}`)
	f.Add(`{"total":1,"total":2,"data":[]}`)
	f.Add(`{"error":{"error_code":"CDN.0001"},"code":0}`)
	f.Add(`{"total":1,"data":[{"task_id":"a","task_id":null}]} `)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodePage(text)
		if err != nil && strings.Contains(err.Error(), "nested more than") {
			return // encoding/json allows more
		}
		want, wantErr := referencePage(text)
		if wantErr != nil {
			require.Error(t, err, "reference: %v", wantErr)
			return
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// referencePage is decodePage with encoding/json.
func referencePage(text string) (page, error) {
	var members map[string]json.RawMessage
	switch {
	case !utf8.ValidString(text):
		return page{}, errors.New("not valid UTF-8")
	case json.Unmarshal([]byte(text), &members) != nil || members == nil:
		return page{}, errors.New("not an object")
	}
	// A member that is there twice must be right both times. A map keeps only the last one.
	if hasTwice(text) {
		return decodePage(text)
	}
	for _, name := range []string{"error", "error_code", "errorCode", "code"} {
		if e, ok := members[name]; ok && string(e) != "null" {
			return decodePage(text) // compared with encoding/json by the tests of parseErrorBody
		}
	}
	var p page
	var err error
	if p.total, err = referenceInt(members["total"]); err != nil {
		return page{}, err
	}
	var tasks []json.RawMessage
	if members["data"] == nil || json.Unmarshal(members["data"], &tasks) != nil {
		return page{}, errors.New("data")
	}
	p.tasks = []ExportTask{}
	for _, raw := range tasks {
		task, err := referenceTask(raw)
		if err != nil {
			return page{}, err
		}
		p.tasks = append(p.tasks, task)
	}
	return p, nil
}

func referenceTask(raw json.RawMessage) (ExportTask, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil || members == nil {
		return ExportTask{}, errors.New("not an object")
	}
	var task ExportTask
	err := errors.Join(
		referenceText(members["task_id"], &task.TaskID),
		referenceText(members["task_name"], &task.TaskName),
		referenceValue(members["status"], &task.Status),
		referenceValue(members["download_link"], &task.DownloadLink),
		referenceTime(members["create_time"], &task.CreateTime),
		referenceTime(members["update_time"], &task.UpdateTime),
	)
	return task, err
}

// referenceText reads a string, or a number as its literal text. The number may be too large for a float64.
func referenceText(raw json.RawMessage, to *string) error {
	if len(raw) > 0 && strings.IndexByte("-0123456789", raw[0]) >= 0 {
		*to = string(raw)
		return nil
	}
	return referenceValue(raw, to)
}

func referenceValue(raw json.RawMessage, to any) error {
	if raw == nil {
		return nil
	}
	return json.Unmarshal(raw, to)
}

func referenceTime(raw json.RawMessage, to *time.Time) error {
	if raw == nil || string(raw) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		raw = json.RawMessage(text)
	}
	ms, err := referenceInt64(raw)
	*to = time.UnixMilli(ms).UTC()
	return err
}

func referenceInt(raw json.RawMessage) (int, error) {
	n, err := referenceInt64(raw)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("total: %s", raw)
	}
	return int(n), nil
}

// referenceInt64 converts a number exactly.
func referenceInt64(raw json.RawMessage) (int64, error) {
	raw = bytes.Trim(raw, " \t\r\n")
	if !json.Valid(raw) {
		return 0, fmt.Errorf("%s is not JSON", raw)
	}
	if n, err := strconv.ParseInt(string(raw), 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return 0, err
	}
	whole, _ := big.NewFloat(f).Int(nil)
	if new(big.Float).SetInt(whole).Cmp(big.NewFloat(f)) != 0 || whole.CmpAbs(big.NewInt(1<<53)) >= 0 {
		return 0, fmt.Errorf("%s is not whole", raw)
	}
	return whole.Int64(), nil
}

// hasTwice reports whether an object of text has a name twice.
func hasTwice(text string) bool {
	decoder := json.NewDecoder(strings.NewReader(text))
	var scan func() bool
	scan = func() bool {
		token, err := decoder.Token()
		if err != nil {
			return false
		}
		twice := false
		switch token {
		case json.Delim('{'):
			seen := map[string]bool{}
			for decoder.More() {
				name, _ := decoder.Token()
				twice = twice || seen[name.(string)]
				seen[name.(string)] = true
				twice = scan() || twice
			}
		case json.Delim('['):
			for decoder.More() {
				twice = scan() || twice
			}
		default:
			return false
		}
		_, _ = decoder.Token()
		return twice
	}
	return scan()
}

// PageText is pageText for the benchmarks outside the package.
var PageText = pageText

// pageText returns a page of n tasks as the service would send it.
func pageText(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"total":%d,"data":[`, n)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"task_id":"2459be350111d2da0f8dc010e0a%05d","task_name":"daily-report-%05d","status":"success",`+
			`"download_link":"https://cdn-export.obs.example.com/exports/2459be350111d2da/report.csv?AccessKeyId=ABCDEFGHIJKLMNOP&Expires=1675134803&Signature=abcdefghijklmnopqrstuvwxyz%%3D",`+
			`"create_time":%d,"update_time":%d}`, i, i, 1675134803874-i, 1675134803874-i)
	}
	return b.String() + "]}"
}

func BenchmarkDecodePage(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text := pageText(n)
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				got, err := decodePage(text)
				if err != nil || len(got.tasks) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodePageOfficial decodes the same pages with the official SDK.
func BenchmarkDecodePageOfficial(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		text := []byte(pageText(n))
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var got model.ListExportTasksResponse
				if err := utils.Unmarshal(text, &got); err != nil || len(*got.Data) != n {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecodePageEncodingJSON decodes the same pages with encoding/json, into a struct without methods.
func BenchmarkDecodePageEncodingJSON(b *testing.B) {
	type task struct {
		TaskID       string `json:"task_id"`
		TaskName     string `json:"task_name"`
		Status       string `json:"status"`
		DownloadLink string `json:"download_link"`
		CreateTime   int64  `json:"create_time"`
		UpdateTime   int64  `json:"update_time"`
	}
	for _, n := range []int{10, 100, 1000} {
		text := []byte(pageText(n))
		b.Run(fmt.Sprintf("tasks=%d", n), func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				var got struct {
					Total int    `json:"total"`
					Data  []task `json:"data"`
				}
				if err := json.Unmarshal(text, &got); err != nil || len(got.Data) != n {
					b.Fatal(err)
				}
			}
		})
	}
}
