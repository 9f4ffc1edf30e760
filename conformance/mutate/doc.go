// Mutate shows that the scripts bite: it breaks package tcp in one small way after
// the other, plays every script against what comes out, and says which of them
// noticed.
//
//	go run ./conformance/mutate                    # prints the table
//	go run ./conformance/mutate -o docs/mutants.md # writes it
//	go run ./conformance/mutate -run 'rto|nagle'   # some mutants only
//
// A mutant is a piece of the package's source text and what stands there instead. The
// text must occur exactly once in the package, in whichever file, so that moving code
// about or aligning it anew breaks nothing, and changing a line that a mutant is about is noticed at once
// by this package's test. The Go tool chain's -overlay puts the mutated file in the
// place of the original: nothing in the source tree is ever changed.
//
// The command builds itself with each overlay and runs the result as the player. A
// mutant is killed by a script that passes without it and fails with it. One whose run
// does not end is killed by that; one that does not compile, or whose text is gone, is
// an error of the list, and the exit status is 1 then, as it is if less than 90 % of
// the mutants die.
//
// It is not a search for mutants: the list is written by hand, each entry a mistake
// that somebody could make, and none that leaves the behaviour as it is.
package main
