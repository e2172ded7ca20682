package cdn

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"example.com/huaweicloud/cdn/internal/redact"

	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
)

// DefaultRegion is the region of a client that names none. The service is global: a region only
// picks the site that answers.
const DefaultRegion = "cn-north-1"

// Regions lists the ids that [WithRegion] knows without an override, sorted.
func Regions() []string { return []string{"ap-southeast-1", "cn-north-1", "eu-west-101"} }

// builtInEndpoint is the endpoint of a region as the vendor publishes it, or "".
func builtInEndpoint(id string) string {
	switch id {
	case "ap-southeast-1", "cn-north-1":
		return "https://cdn.myhuaweicloud.com"
	case "eu-west-101":
		return "https://cdn.myhuaweicloud.eu"
	}
	return ""
}

// regionEndpoint is the endpoint of a region: the user's override where there is one, as the
// vendor's core package finds it, else the published one. The first override that is looked for in
// a process reads a file, and the core package keeps what it found for as long as the process runs.
func regionEndpoint(id string) (string, error) {
	override, err := overriddenEndpoint(id)
	if err != nil || override != "" {
		return override, err
	}
	if endpoint := builtInEndpoint(id); endpoint != "" {
		return endpoint, nil
	}
	return "", invalid("Region", id, "is not one of "+strings.Join(Regions(), ", ")+", and no override names it")
}

// regionsMu guards the caches of overrides, which the vendor's core package shares between all its
// users and does not lock.
var regionsMu sync.Mutex

// overriddenEndpoint asks the vendor's core package, whose reader panics on a file that it cannot read.
func overriddenEndpoint(id string) (endpoint string, err error) {
	regionsMu.Lock()
	defer regionsMu.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			endpoint, err = "", regionsFileError(cause)
		}
	}()
	found := region.DefaultProviderChain("CDN").GetRegion(id)
	if found == nil || len(found.Endpoints) == 0 {
		return "", nil
	}
	return strings.TrimSpace(found.Endpoints[0]), nil
}

// regionsFileError explains a panic of the vendor's reader. It panics with the cause only once; from
// then on it fails on what it has not read.
func regionsFileError(cause any) error {
	why := "it could not be read when this process first looked"
	if _, again := cause.(runtime.Error); !again {
		why = redact.Excerpt(fmt.Sprint(cause), redact.Short)
	}
	return invalid("regions file", regionsFile(), why)
}

// regionsFile is where the core package looks for overrides.
func regionsFile() string {
	if path := os.Getenv("HUAWEICLOUD_SDK_REGIONS_FILE"); path != "" {
		return path
	}
	return filepath.Join("~", ".huaweicloud", "regions.yaml")
}

// parseEndpoint reads an endpoint such as https://cdn.myhuaweicloud.com; without a scheme it is https.
func parseEndpoint(endpoint string, insecureHTTP bool) (*url.URL, error) {
	withScheme := endpoint
	if !strings.Contains(endpoint, "://") {
		withScheme = "https://" + endpoint
	}
	u, err := url.Parse(withScheme)
	if err != nil {
		return nil, invalid("Endpoint", withoutUser(endpoint), "is not a URL")
	}
	if why := endpointFault(u, insecureHTTP); why != "" {
		return nil, invalid("Endpoint", withoutUser(endpoint), why)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// withoutUser is endpoint without what stands before its host, which may be a password. It goes by
// the text, since a password is most often found in what is not a URL because of it.
func withoutUser(endpoint string) string {
	if i := strings.LastIndexByte(endpoint, '@'); i >= 0 {
		return "…" + endpoint[i:]
	}
	return endpoint
}

// endpointFault says why u cannot be an endpoint, or "".
func endpointFault(u *url.URL, insecureHTTP bool) string {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return "must begin with https:// or http://"
	case u.Hostname() == "" || strings.HasSuffix(u.Host, ":"):
		return "must name a host, and a port after a colon"
	case !isASCII(u.Host):
		return "must have its host in ASCII (punycode)"
	case strings.Contains(u.Host, "%"):
		return "must have no zone"
	case u.User != nil:
		return "must have no user or password"
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must have no path, query or fragment: the service signs its own"
	case u.Scheme == "http" && !insecureHTTP && !isLoopback(u.Hostname()):
		return "must be https, or WithInsecureHTTP given: only loopback hosts are reached without encryption"
	}
	return ""
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > '~' }) < 0
}
