package cdn

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// ownProcess is the variable with the name of the test for which inOwnProcess has started this process.
const ownProcess = "CDN_TEST_OWN_PROCESS"

// environment has each variable that names credentials, regions or endpoints.
var environment = []string{
	"CLOUD_SDK_AK", "CLOUD_SDK_SK", "CLOUD_SDK_SECURITY_TOKEN",
	"HUAWEICLOUD_SDK_AK", "HUAWEICLOUD_SDK_SK", "HUAWEICLOUD_SDK_SECURITY_TOKEN", "HUAWEICLOUD_SDK_DOMAIN_ID",
	"HUAWEICLOUD_SDK_IDP_ID", "HUAWEICLOUD_SDK_ID_TOKEN_FILE", "HUAWEICLOUD_SDK_IAM_ENDPOINT",
	"HUAWEICLOUD_SDK_CREDENTIALS_FILE", "HUAWEICLOUD_SDK_REGIONS_FILE",
	"HC_CONTAINER_CREDENTIALS_FULL_URI", "HC_CONTAINER_AUTHORIZATION_TOKEN_FILE",
	"HUAWEICLOUD_SDK_REGION_CDN_AP_SOUTHEAST_1", "HUAWEICLOUD_SDK_REGION_CDN_CN_NORTH_1", "HUAWEICLOUD_SDK_REGION_CDN_EU_WEST_101",
}

// TestMain removes the developer's keys and overrides, and keeps the tests off the network. A mistake in a test
// must not reach a real service or the instance metadata.
func TestMain(m *testing.M) {
	if os.Getenv(ownProcess) == "" {
		for _, name := range environment {
			_ = os.Unsetenv(name)
		}
		_ = os.Setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", filepath.Join(os.DevNull, "none"))
		_ = os.Setenv("HUAWEICLOUD_SDK_REGIONS_FILE", os.DevNull)
	}
	http.DefaultTransport.(*http.Transport).DialContext = dialLoopback
	goleak.VerifyTestMain(m)
}

func dialLoopback(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if !isLoopback(host) {
		return nil, fmt.Errorf("tests reach loopback addresses only, not %s", address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// inOwnProcess runs the calling test again in a process of its own, with additions to the environment. Some packages
// read their files or variables once in a process. It returns true in that process. In this one it returns false after
// the test has passed there.
func inOwnProcess(t *testing.T, additions ...string) bool {
	t.Helper()
	if os.Getenv(ownProcess) == t.Name() {
		return true
	}
	executable, err := os.Executable()
	require.NoError(t, err)
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(t.Name()), "/", "$/^") + "$"
	cmd := exec.CommandContext(t.Context(), executable, "-test.v", "-test.count=1", "-test.run="+pattern)
	// The race detector would have the process sleep for a second at its end.
	cmd.Env = append(append(os.Environ(), additions...), ownProcess+"="+t.Name(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.Contains(t, string(output), "--- PASS: "+t.Name()+" ", "the test must have run")
	return false
}
