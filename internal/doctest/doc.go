// Package doctest has tests that keep the documents true: every Go block builds and every command
// runs, what they name is there, the translations say the same, and the exported API is the recorded
// one. It is a module of its own, so that what the blocks import does not reach those who import
// package cdn.
package doctest
