package cdntest

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
	"time"
)

const (
	// defaultStep is the time between two rows of a report.
	defaultStep = 5 * time.Minute

	// maxReport is after how many bytes a report ends early: one of many years in small steps would
	// fill the memory.
	maxReport = 1 << 20
)

// statistic names what is exported; without a type it is traffic.
func (e exportRequest) statistic() string {
	return cmp.Or(e.StatType, "flux")
}

// report is the exported file: a CSV table with a made-up but always equal number for each domain
// and time. An export without times covers the hour before now.
func (e exportRequest) report(now time.Time) []byte {
	end := valueOr(e.EndTime, now.UnixMilli())
	start := valueOr(e.StartTime, end-time.Hour.Milliseconds())

	var table bytes.Buffer
	w := csv.NewWriter(&table)
	_ = w.Write([]string{"time", "domain", e.statistic()}) // writing to memory does not fail
	rows := e.rows()
	for at := start; at < end && table.Len() < maxReport; at += min(e.step(), end-at) {
		when := time.UnixMilli(at).UTC().Format(time.RFC3339)
		for _, domain := range rows {
			_ = w.Write([]string{when, domain, number(e.statistic(), domain, when)})
		}
	}
	w.Flush()
	return table.Bytes()
}

// rows names the rows of each time: one a domain where the export is grouped by it, else one.
func (e exportRequest) rows() []string {
	domains := cmp.Or(e.DomainName, "all")
	if e.GroupBy == "" {
		return []string{domains}
	}
	return strings.Split(domains, ",")
}

// step is the time between two rows, in milliseconds.
func (e exportRequest) step() int64 {
	seconds := valueOr(e.Interval, int64(defaultStep.Seconds()))
	return min(seconds, math.MaxInt64/1000) * 1000
}

func number(parts ...string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(strings.Join(parts, "\n")))
	return strconv.FormatUint(uint64(hash.Sum32()), 10)
}

func valueOr(p *int64, otherwise int64) int64 {
	if p == nil {
		return otherwise
	}
	return *p
}
