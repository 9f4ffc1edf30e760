package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxBytes bounds a request, since each is hashed before it is sent.
const maxBytes = 1 << 30

// serveBytes sends n bytes. http.ServeContent answers range requests too.
func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil || n < 0 || n > maxBytes {
		http.Error(w, fmt.Sprintf("n is a number of bytes up to %d: /bytes?n=1048576", maxBytes), http.StatusBadRequest)
		return
	}
	h := sha256.New()
	io.Copy(h, &pattern{size: n})
	w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(h.Sum(nil))+":")
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, &pattern{size: n})
}

// pattern is size bytes in which every eight differ from all others, so that
// anything lost, doubled or exchanged shows. It is an io.ReadSeeker.
type pattern struct {
	size, at int64
	word     [8]byte
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.at >= p.size {
		return 0, io.EOF
	}
	if left := p.size - p.at; int64(len(b)) > left {
		b = b[:left]
	}
	for n := 0; n < len(b); {
		// A bijection of the word's number (the finalizer of splitmix64).
		x := uint64(p.at/8) + 0x9e3779b97f4a7c15
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		binary.BigEndian.PutUint64(p.word[:], x^x>>31)
		k := copy(b[n:], p.word[p.at%8:])
		n += k
		p.at += int64(k)
	}
	return len(b), nil
}

func (p *pattern) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += p.at
	case io.SeekEnd:
		offset += p.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	p.at = offset
	return offset, nil
}
