// Package py runs the small part of Python that %{ … }% blocks of .pkt scripts are
// written in: assert with a message, assignment, arithmetic, comparisons and chains
// of them, and, or, not, in, conditional expressions, if, elif and else, tuples,
// lists, indexing, print and a few functions.
//
// It is not Python: there are no loops, no definitions, no attributes and no imports,
// and integers have 64 bits, with an error where they would overflow. What it does
// run, it runs as Python 3 does: division gives a float, // rounds down, and a
// comparison chain evaluates its middle once.
//
// A [Machine] holds the variables, so that a later block uses what an earlier one
// has assigned. Nothing panics on a bad program; nesting is bounded, and without
// loops every program ends.
package py
