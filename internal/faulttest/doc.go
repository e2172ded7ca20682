// Package faulttest has tests of package cdn behind a real fault proxy. It is a module of its own, so
// that what the proxy needs does not reach those who import package cdn.
package faulttest
