package main

import (
	"fmt"
	"slices"
	"strings"
)

// shown is how many of a mutant's killers the table names.
const shown = 4

func killed(outs []outcome) int {
	n := 0
	for i := range outs {
		if outs[i].killed() {
			n++
		}
	}
	return n
}

// table returns the page about the mutants, the same for the same outcomes.
func table(outs []outcome, scripts int) string {
	// Of several killers the most particular are the most telling: those that notice
	// the fewest mutants.
	kills := make(map[string]int)
	for _, o := range outs {
		for _, k := range o.killers {
			kills[k]++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `# Mutants

What the packet scripts notice: each row is one small mistake in package tcp, and the
scripts that fail when it is made, the most particular first. The mistakes are listed in
conformance/mutate; the page is made by

`+"```\ngo run ./conformance/mutate -o docs/mutants.md\n```"+`

**%d of %d mutants die** by %d scripts.

| mistake | file | killed by |
|---|---|---|
`, killed(outs), len(outs), scripts)
	for _, o := range outs {
		names := slices.Clone(o.killers)
		slices.SortFunc(names, func(a, b string) int {
			if kills[a] != kills[b] {
				return kills[a] - kills[b]
			}
			return strings.Compare(a, b)
		})
		for i, n := range names {
			names[i] = strings.TrimSuffix(n, ".pkt")
		}
		by := strings.Join(names, ", ")
		if len(names) > shown {
			by = fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
		}
		switch {
		case o.stuck != "":
			by = o.stuck
		case by == "":
			by = "**nothing**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", o.mutant.name, o.file, by)
	}
	return b.String()
}
