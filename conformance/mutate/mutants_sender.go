package main

// senderMutants break what a sender does with an acknowledgement beyond the counts.
func senderMutants() []mutant {
	return []mutant{
		{"sender: a burst waits for an acknowledgement that is far",
			"min(c.rtt.srtt/2, deferFor)", "c.rtt.srtt/2"},
		{"sender: the rest of the window behind whole segments is not filled",
			"fill := window < size\n", "fill := false\n"},
		{"sender: what left together is not judged together",
			" && r.wave != k.rttWave {", " {"},
		{"sender: the rest of what left again in one piece is not judged",
			"\tif e.end.LessEq(first) {", "\tif e.seq.Less(first) {"},
		{"sender: an acknowledgement with a D-SACK gives no round trip",
			"(!n.dsack || n.repeated && !n.older)", "!n.dsack"},
		{"sender: the tail loss probe waits for the algorithm of Nagle",
			"!c.forced && !c.tlpNew && c.nagle() {", "!c.forced && c.nagle() {"},
		{"sender: what was taken for lost in vain is judged again",
			"\t\tc.retransHint = c.sndNxt\n\t\t//", "\t\tc.retransHint, c.rack.next = c.sndNxt, c.sndUna\n\t\t//"},
		{"sender: a D-SACK does not count after a pause",
			"delay = max(delay, restUndoDelay)", "delay = max(delay, 0)"},
	}
}
