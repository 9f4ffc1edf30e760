package tcp

// Seq is a sequence number. Numbers live on a circle of 2³²; comparisons hold for
// numbers less than 2³¹ apart (RFC 9293, section 3.4).
type Seq uint32

// Less reports whether s comes before t.
func (s Seq) Less(t Seq) bool { return int32(s-t) < 0 }

// LessEq reports whether s comes before t or is t.
func (s Seq) LessEq(t Seq) bool { return int32(s-t) <= 0 }

// Add returns the number n after s.
func (s Seq) Add(n int) Seq { return s + Seq(uint32(n)) }

// Sub returns the distance from t to s, negative if s comes before t.
func (s Seq) Sub(t Seq) int { return int(int32(s - t)) }

// inRange reports whether s is in [lo, hi).
func (s Seq) inRange(lo, hi Seq) bool { return uint32(s-lo) < uint32(hi-lo) }

func maxSeq(a, b Seq) Seq {
	if a.Less(b) {
		return b
	}
	return a
}

func minSeq(a, b Seq) Seq {
	if a.Less(b) {
		return a
	}
	return b
}
