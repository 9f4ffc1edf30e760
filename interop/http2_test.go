package interop

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/netduet/netduet/stack"
)

// net/http speaks HTTP/2 without TLS over the stack: many streams share one
// connection's flow control.
func TestHTTP2(t *testing.T) {
	each(t, func(t *testing.T, l net.Listener, dialer stack.Stack) {
		var h2c http.Protocols
		h2c.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: &h2c, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := sha256.New()
			n, err := io.Copy(h, r.Body)
			fmt.Fprintf(w, "%s %d %x %v", r.Proto, n, h.Sum(nil), err)
		})}
		go server.Serve(l)
		defer server.Close()
		transport := &http.Transport{DialContext: dialer.DialContext, Protocols: &h2c}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport}
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				body := make([]byte, 64<<10+i)
				for j := range body {
					body[j] = byte(i * j)
				}
				req, _ := http.NewRequestWithContext(timeout(t), "POST", "http://"+l.Addr().String(), newReader(body))
				resp, err := client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				got, _ := io.ReadAll(resp.Body)
				if want := fmt.Sprintf("HTTP/2.0 %d %x <nil>", len(body), sha256.Sum256(body)); string(got) != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
		wg.Wait()
	})
}

// newReader hides the length, so that the body is streamed.
func newReader(b []byte) io.Reader { return &reader{b} }

type reader struct{ b []byte }

func (r *reader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}
