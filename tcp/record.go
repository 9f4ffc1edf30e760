package tcp

import "sort"

// maxRecords bounds the records of one send buffer: a Write finds no room beyond.
const maxRecords = 1 << 12

// EndRecord ends a record with what was written last, as MSG_EOR does: TCP itself knows
// none (RFC 9293, section 3.9.1), but no segment holds bytes from both sides of the end,
// a retransmission neither. It is to be called before the Output that follows the Write.
func (c *Conn) EndRecord() {
	b := &c.sndBuf
	if end := b.end(); b.len > 0 && c.sndNxt.Less(end) && (len(b.records) == 0 || b.records[len(b.records)-1].Less(end)) {
		b.records = append(b.records, end)
	}
}

// withinRecord returns how many of the n bytes from seq on belong to one record.
func (b *sendBuffer) withinRecord(seq Seq, n int) int {
	if len(b.records) == 0 {
		return n
	}
	i := sort.Search(len(b.records), func(i int) bool { return seq.Less(b.records[i]) })
	if i == len(b.records) {
		return n
	}
	return min(n, b.records[i].Sub(seq))
}

// endsRecord reports whether a record ends at seq.
func (b *sendBuffer) endsRecord(seq Seq) bool {
	for _, r := range b.records {
		if r == seq {
			return true
		}
	}
	return false
}

// endRecords forgets the records whose bytes are gone.
func (b *sendBuffer) endRecords() {
	n := 0
	for n < len(b.records) && b.records[n].LessEq(b.base) {
		n++
	}
	b.records = b.records[n:]
}
