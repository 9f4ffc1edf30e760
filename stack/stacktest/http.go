package stacktest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

func httpTests() []test {
	return []test{
		{name: "KeepAlive", run: testHTTPKeepAlive},
		{name: "Bodies", run: testHTTPBodies},
		{name: "Parallel", run: testHTTPParallel},
		{name: "TLS", run: testTLS},
		{name: "HTTPS", run: testHTTPS},
	}
}

// web is an HTTP server on B and a client on A.
type web struct {
	client *http.Client
	url    string
	dials  atomic.Int32
	stop   func()
}

func newWeb(h *harness, handler http.Handler, cert *certificate) *web {
	h.Helper()
	w := &web{}
	l := h.listen(h.b)
	h.check(l.SetDeadline(time.Time{}))
	srv := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)}
	tr := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.dials.Add(1)
			return h.a.Stack.DialContext(ctx, network, address)
		},
		MaxIdleConnsPerHost: 100,
	}
	w.client = &http.Client{Transport: tr, Timeout: patience}
	var serve net.Listener = l
	w.url = "http://" + l.Addr().String()
	if cert != nil {
		serve = tls.NewListener(l, cert.server())
		tr.TLSClientConfig = cert.client()
		w.url = "https://" + l.Addr().String()
	}
	served := h.async(func() error {
		if err := srv.Serve(serve); err != http.ErrServerClosed {
			return err
		}
		return nil
	})
	w.stop = func() {
		h.Helper()
		tr.CloseIdleConnections()
		h.check(srv.Shutdown(h.ctx))
		served()
	}
	return w
}

// get asks for a path and returns the body.
func (w *web) do(method, path string, body io.Reader) ([]byte, error) {
	req, err := http.NewRequest(method, w.url+path, body)
	if err != nil {
		return nil, err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK || res.ProtoMajor != 1 || res.ProtoMinor != 1 {
		return nil, fmt.Errorf("%s %s: %s %s", method, path, res.Proto, res.Status)
	}
	return io.ReadAll(res.Body)
}

func echoBody(w http.ResponseWriter, r *http.Request) {
	p, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Write(p)
}

// onOneConnection runs a round of requests that should take one connection. The client
// gives one up whose answer comes 50 ms before its goroutine is told that the request
// has been written: what a busy machine does to one round it does not do to five.
func onOneConnection(h *harness, round func(h *harness) error) {
	h.Helper()
	for try := 1; ; try++ {
		err := round(h)
		if err == nil {
			return
		}
		if try == 5 {
			h.Fatal(err)
		}
	}
}

// testHTTPKeepAlive makes many requests on one connection.
func testHTTPKeepAlive(h *harness) { onOneConnection(h, keepAlive) }

func keepAlive(h *harness) error {
	h.Helper()
	w := newWeb(h, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s from %s", r.URL.Path, r.RemoteAddr)
	}), nil)
	defer w.stop()
	first := ""
	for i := range 50 {
		body, err := w.do("GET", "/page", nil)
		h.check(err)
		if i == 0 {
			first = string(body)
		}
		if string(body) != first {
			return fmt.Errorf("request %d came from another connection: %q, first %q", i, body, first)
		}
	}
	if n := w.dials.Load(); n != 1 {
		return fmt.Errorf("50 requests took %d connections", n)
	}
	return nil
}

func testHTTPBodies(h *harness) {
	w := newWeb(h, http.HandlerFunc(echoBody), nil)
	for _, n := range []int{0, 1, 4096, 100_000, 4 << 20} {
		body := random(n, byte(n>>3))
		got, err := w.do("POST", "/", bytes.NewReader(body))
		h.check(err)
		if !bytes.Equal(got, body) {
			h.Errorf("body of %d bytes came back different", n)
		}
		// A body of unknown length goes in chunks.
		got, err = w.do("POST", "/", struct{ io.Reader }{bytes.NewReader(body)})
		h.check(err)
		if !bytes.Equal(got, body) {
			h.Errorf("chunked body of %d bytes came back different", n)
		}
	}
	w.stop()
}

func testHTTPParallel(h *harness) {
	w := newWeb(h, http.HandlerFunc(echoBody), nil)
	var g group
	for i := range 16 {
		g.start(func() error {
			for j := range 20 {
				body := random(2000, byte(i*20+j))
				got, err := w.do("POST", "/", bytes.NewReader(body))
				if err != nil {
					return err
				}
				if !bytes.Equal(got, body) {
					return fmt.Errorf("client %d, request %d: the answer is another's", i, j)
				}
			}
			return nil
		})
	}
	h.check(g.wait())
	w.stop()
}

// certificate is a self-signed certificate for B.
type certificate struct {
	pair tls.Certificate
	pool *x509.CertPool
	name string
}

func newCertificate(h *harness) *certificate {
	h.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.check(err)
	tmpl := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "stacktest"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		IPAddresses:           []net.IP{h.b.Addr.AsSlice()},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	h.check(err)
	leaf, err := x509.ParseCertificate(der)
	h.check(err)
	c := &certificate{
		pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		pool: x509.NewCertPool(),
		name: h.b.Addr.String(),
	}
	c.pool.AddCert(leaf)
	return c
}

func (c *certificate) server() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c.pair}}
}
func (c *certificate) client() *tls.Config { return &tls.Config{RootCAs: c.pool, ServerName: c.name} }

// testTLS runs TLS by hand: bulk both ways, then a half close, which TLS maps to
// its own alert and which leaves the other direction open.
func testTLS(h *harness) {
	cert := newCertificate(h)
	a, b := h.connect()
	client, server := tls.Client(a, cert.client()), tls.Server(b, cert.server())
	up, down := random(2<<20, 14), random(2<<20, 15)
	wait := h.async(func() error {
		if err := expectAll(server, up); err != nil {
			return fmt.Errorf("server: %w", err)
		}
		if err := send(server, down); err != nil {
			return fmt.Errorf("server: %w", err)
		}
		return server.Close()
	})
	h.check(client.HandshakeContext(h.ctx))
	h.check(send(client, up))
	h.check(client.CloseWrite())
	h.check(expectAll(client, down))
	wait()
	if client.NetConn() != net.Conn(a) {
		h.Error("NetConn does not lead to the connection below")
	}
	h.check(client.Close())
}

func testHTTPS(h *harness) { onOneConnection(h, https) }

func https(h *harness) error {
	h.Helper()
	w := newWeb(h, http.HandlerFunc(echoBody), newCertificate(h))
	defer w.stop()
	for i := range 10 {
		body := random(100_000, byte(i))
		got, err := w.do("POST", "/", bytes.NewReader(body))
		h.check(err)
		if !bytes.Equal(got, body) {
			h.Fatalf("request %d: the answer differs", i)
		}
	}
	if n := w.dials.Load(); n != 1 {
		return fmt.Errorf("10 requests took %d connections", n)
	}
	return nil
}
