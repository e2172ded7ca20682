// Package faulttest has tests of package cdn behind a fault proxy. It is a module of its own, so that the proxy's
// dependencies do not reach programs that import package cdn.
package faulttest
