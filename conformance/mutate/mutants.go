package main

// mutant is one mistake: old, which occurs exactly once in package tcp, becomes new.
type mutant struct {
	name string // "area: what is wrong"
	old  string
	new  string
}

// mutants returns the list, in the order of the table. Text is chosen short, from lines
// that are about the rule and nothing else.
func mutants() []mutant {
	var all []mutant
	for _, area := range [][]mutant{handshakeMutants(), fastMutants(), receiveMutants(), sendMutants(), lossMutants(), timerMutants(), closeMutants(), senderMutants()} {
		all = append(all, area...)
	}
	return all
}
