//go:build !fixed

package main

import (
	"github.com/huaweicloud/huaweicloud-sdk-go-v3/core/region"
	sites "github.com/huaweicloud/huaweicloud-sdk-go-v3/services/cdn/v2/region"
)

// site is the region with the user's overrides, as this module has it.
func site() (*region.Region, error) { return sites.SafeValueOf("cn-north-1") }
