// Package doctest tests the docs: every Go block builds, every command runs, every link and every named test
// exists, translations match their English page, and the exported API matches its record. It is a module of its
// own, so that importers of package cdn do not inherit the imports of the blocks.
package doctest
