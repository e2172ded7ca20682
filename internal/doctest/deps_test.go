package doctest

// What the blocks import, so that the go.mod that they are built with requires it.
import (
	_ "github.com/go-redis/redis_rate/v10"
	_ "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2"
	_ "github.com/redis/go-redis/v9"
	_ "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	_ "golang.org/x/time/rate"

	_ "example.com/huaweicloud/cdn/cdntest"
)
