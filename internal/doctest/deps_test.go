package doctest

// The blocks import these packages, so go.mod must require their modules.
import (
	_ "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	_ "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	_ "golang.org/x/time/rate"

	_ "example.com/huaweicloud/cdn/cdntest"
	_ "example.com/huaweicloud/cdn/journal"
	_ "example.com/huaweicloud/cdn/pgjournal"
)
