package tcp

import "testing"

// Segments end where records do, whether they leave at first, as a large segment that
// the device cuts, or together with the FIN; the record that ends a full one does not wait.
func TestRecords(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(10000)
	w.skip()
	for _, n := range []int{400, 1500, 300} {
		w.write(n)
		w.c.EndRecord()
	}
	w.write(200)
	w.c.CloseWrite(w.now)
	w.recv(". 1:1 ack 10001 win 65535")
	w.expect("P. 10001:10401 ack 1", ". 10401:11401 ack 1", "P. 11401:11901 ack 1", "P. 11901:12201 ack 1", "FP. 12201:12401 ack 1")
	if n := len(w.c.sndBuf.records); n != 3 {
		t.Errorf("%d records outstanding", n)
	}
	w.recv(". 1:1 ack 11001 win 65535")
	if n := len(w.c.sndBuf.records); n != 2 {
		t.Errorf("%d records outstanding", n)
	}
	w.recv(". 1:1 ack 12402 win 65535")
	if n := len(w.c.sndBuf.records); n != 0 {
		t.Errorf("%d records outstanding", n)
	}
}

// Ends of records are bounded, and one that ends twice ends once.
func TestRecordsBounded(t *testing.T) {
	w := dial(t, plain(), synAck)
	w.write(10000)
	w.skip()
	n := 0
	for ; n < 2*maxRecords; n++ {
		if got, _ := w.c.Write(w.now, []byte{1}); got == 0 {
			break
		}
		w.c.EndRecord()
		w.c.EndRecord()
	}
	if n != maxRecords || len(w.c.sndBuf.records) != maxRecords {
		t.Errorf("%d records, %d ends", n, len(w.c.sndBuf.records))
	}
}
