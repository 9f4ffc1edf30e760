package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/iotest"
)

func TestPattern(t *testing.T) {
	whole, err := io.ReadAll(&pattern{size: 100003})
	if err != nil || len(whole) != 100003 {
		t.Fatal(len(whole), err)
	}
	if err := iotest.TestReader(&pattern{size: 100003}, whole); err != nil {
		t.Error(err)
	}
	seen := make(map[string]bool)
	for i := 0; i+8 <= len(whole); i += 8 {
		seen[string(whole[i:i+8])] = true
	}
	if len(seen) != len(whole)/8 {
		t.Errorf("%d different words of %d", len(seen), len(whole)/8)
	}
}

func TestServeBytes(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(serveBytes))
	defer srv.Close()
	get := func(query, ranges string) (*http.Response, []byte) {
		req, _ := http.NewRequest("GET", srv.URL+"/?"+query, nil)
		if ranges != "" {
			req.Header.Set("Range", ranges)
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, b
	}
	r, b := get("n=70001", "")
	sum := sha256.Sum256(b)
	if want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"; len(b) != 70001 || r.Header.Get("Repr-Digest") != want {
		t.Errorf("%d bytes, %v", len(b), r.Header)
	}
	if r, part := get("n=70001", "bytes=69991-"); r.StatusCode != http.StatusPartialContent || !bytes.Equal(part, b[69991:]) {
		t.Errorf("%v, %d bytes", r.Status, len(part))
	}
	for _, bad := range []string{"", "n=", "n=-1", "n=x", "n=99999999999999"} {
		if r, _ := get(bad, ""); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %v", bad, r.Status)
		}
	}
}
