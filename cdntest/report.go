package cdntest

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
)

// statistic names what is exported, by default traffic.
func (e exportRequest) statistic() string {
	return cmp.Or(e.StatType, "flux")
}

// report returns the exported file: a CSV table with a row for each time and, if the export is grouped by domain, each
// domain. The numbers are made up and always the same. 90 days in steps of 5 minutes are 26,000 rows for each domain.
// The service's own format is not documented.
func (e exportRequest) report(now time.Time) []byte {
	start, end := e.times(now)
	step := e.step(end.Sub(start))
	rows := e.rows()
	var table bytes.Buffer
	w := csv.NewWriter(&table)
	_ = w.Write([]string{"time", "domain", e.statistic()}) // writing to memory does not fail
	for at := start; at.Before(end); at = at.Add(step) {
		when := at.Format(time.RFC3339)
		for _, domain := range rows {
			_ = w.Write([]string{when, domain, number(e.statistic(), domain, when)})
		}
	}
	w.Flush()
	return table.Bytes()
}

// rows returns the names of the rows of each time: the domains if the export is grouped by domain, else one row. The
// account's domains are those of the sample tasks.
func (e exportRequest) rows() []string {
	domains := cmp.Or(e.DomainName, "all")
	switch {
	case e.GroupBy == "":
		return []string{domains}
	case domains == "all":
		return sampleDomains()
	default:
		return strings.Split(domains, ",")
	}
}

// number returns a decimal number that depends on the parts alone.
func number(parts ...string) string {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(strings.Join(parts, "\n")))
	return strconv.FormatUint(uint64(hash.Sum32()), 10)
}
