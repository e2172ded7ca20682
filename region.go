package cdn

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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

// DefaultRegion is the region of a client without [WithRegion]. The service is global: a region only selects the site
// that serves the requests.
const DefaultRegion = "cn-north-1"

// Regions returns the ids of the built-in regions, sorted. [WithRegion] accepts them without an override.
func Regions() []string { return []string{"ap-southeast-1", "cn-north-1", "eu-west-101"} }

// builtInEndpoint returns the endpoint of a region as the vendor publishes it, or "".
func builtInEndpoint(id string) string {
	switch id {
	case "ap-southeast-1", "cn-north-1":
		return "https://cdn.myhuaweicloud.com"
	case "eu-west-101":
		return "https://cdn.myhuaweicloud.eu"
	}
	return ""
}

// endpoint is an address of the service and the setting that it comes from.
type endpoint struct {
	url    *url.URL
	source string // an option, a variable or a file; "" for the address of a built-in region
}

// regionEndpoint returns the endpoint of a region and its source: the user's override, as the vendor's core
// package reads it, or the published endpoint with the source "". The first lookup of an override in a
// process reads a file. The core package keeps what it read while the process runs.
func regionEndpoint(id string) (address, source string, err error) {
	address, source, err = overriddenEndpoint(id)
	if err != nil || address != "" {
		return address, source, err
	}
	if address := builtInEndpoint(id); address != "" {
		return address, "", nil
	}
	return "", "", invalid("Region", id, "is not one of "+strings.Join(Regions(), ", ")+", and no override names it")
}

// regionsMu guards the caches of the vendor's core package, which has no lock of its own.
var regionsMu sync.Mutex

// overriddenEndpoint returns the override of a region from the environment or the regions file, and its source. Both
// are "" if there is none. The vendor's reader panics if it cannot read the file, and ignores a file that does not exist.
func overriddenEndpoint(id string) (address, source string, err error) {
	regionsMu.Lock()
	defer regionsMu.Unlock()
	defer func() {
		if cause := recover(); cause != nil {
			address, source, err = "", "", regionsFileError(cause)
		}
	}()
	if found := region.NewEnvProvider("CDN").GetRegion(id); found != nil {
		return firstEndpoint(found, regionVariable(id))
	}
	if file := os.Getenv(regionsFileVariable); file != "" {
		if _, err := os.Stat(file); err != nil {
			return "", "", invalid("regions file", file, fmt.Sprintf("comes from %s and cannot be used: %v", regionsFileVariable, err))
		}
	}
	if found := region.NewProfileProvider("CDN").GetRegion(id); found != nil {
		return firstEndpoint(found, regionsFile())
	}
	return "", "", nil
}

// firstEndpoint returns the first endpoint of an override and the override's source. An empty one is an error: the
// region's own endpoint would be another than the user has set.
func firstEndpoint(override *region.Region, source string) (address, from string, err error) {
	if len(override.Endpoints) > 0 {
		address = strings.TrimSpace(override.Endpoints[0])
	}
	if address == "" {
		return "", "", invalid("Region", override.Id, "has no endpoint in "+source)
	}
	return address, source, nil
}

// regionVariable returns the environment variable with the override of a region.
func regionVariable(id string) string {
	return "HUAWEICLOUD_SDK_REGION_CDN_" + strings.ToUpper(strings.ReplaceAll(id, "-", "_"))
}

// regionsFileVariable is the environment variable with the path of the core package's file with overrides.
const regionsFileVariable = "HUAWEICLOUD_SDK_REGIONS_FILE"

// regionsFile returns the path of the core package's file with overrides.
func regionsFile() string {
	if path := os.Getenv(regionsFileVariable); path != "" {
		return path
	}
	return filepath.Join("~", ".huaweicloud", "regions.yaml")
}

// regionsFileError returns the error for a panic of the vendor's reader. Only its first panic has the cause. Later
// ones are about the data that it has not read.
func regionsFileError(cause any) error {
	why := "the first attempt of this process to read it has failed"
	if _, again := cause.(runtime.Error); !again {
		why = redact.Excerpt(fmt.Sprint(cause), redact.Short)
	}
	return invalid("regions file", regionsFile(), why)
}

// parseEndpoint parses an endpoint such as https://cdn.myhuaweicloud.com. The default scheme is https.
func parseEndpoint(address string, insecureHTTP bool) (*url.URL, error) {
	withScheme := address
	if !strings.Contains(address, "://") {
		withScheme = "https://" + address
	}
	u, err := url.Parse(withScheme)
	if err != nil {
		return nil, invalid("Endpoint", withoutUser(address), "is not a URL")
	}
	if why := endpointFault(u, insecureHTTP); why != "" {
		return nil, invalid("Endpoint", withoutUser(address), why)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

// withoutUser returns address without the user and password before its host. It does not parse address: a
// password is often the reason why an address is not a URL.
func withoutUser(address string) string {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return "…" + address[i:]
	}
	return address
}

// endpointFault returns the reason why u cannot be an endpoint, or "".
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

// withSource adds the source of the endpoint to the error of a connection that could not be made.
func (e endpoint) withSource(err error) error {
	var dial *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case e.source == "":
		return err
	case errors.As(err, &dial) && dial.Op == "dial", errors.As(err, &certificate):
		return fmt.Errorf("%w; the endpoint %s comes from %s", err, e.url, e.source)
	}
	return err
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
