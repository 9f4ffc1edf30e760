package interop

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/netduet/netduet/stack"
)

// A session of x/crypto/ssh carries a megabyte through its channel windows, and
// ends with an exit status.
func TestSSH(t *testing.T) {
	each(t, func(t *testing.T, l net.Listener, dialer stack.Stack) {
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewSignerFromKey(key)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- serveSSH(l, signer) }()

		conn, err := dialer.DialContext(timeout(t), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c, chans, reqs, err := ssh.NewClientConn(conn, l.Addr().String(), &ssh.ClientConfig{
			User: "user", HostKeyCallback: ssh.FixedHostKey(signer.PublicKey()),
		})
		if err != nil {
			t.Fatal(err)
		}
		client := ssh.NewClient(c, chans, reqs)
		session, err := client.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 1<<20)
		rand.Read(want)
		var got bytes.Buffer
		session.Stdin, session.Stdout = bytes.NewReader(want), &got
		if err := session.Run("cat"); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%d bytes came back of %d, or changed", got.Len(), len(want))
		}
		client.Close()
		if err := <-done; err != nil {
			t.Error("server:", err)
		}
	})
}

// serveSSH serves one connection with sessions that echo their input.
func serveSSH(l net.Listener, key ssh.Signer) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	cfg := &ssh.ServerConfig{NoClientAuth: true}
	cfg.AddHostKey(key)
	_, chans, reqs, err := ssh.NewServerConn(conn, cfg)
	if err != nil {
		return err
	}
	go ssh.DiscardRequests(reqs)
	for nc := range chans {
		ch, reqs, err := nc.Accept()
		if err != nil {
			return err
		}
		go func() {
			for r := range reqs {
				r.Reply(r.Type == "exec", nil)
				if r.Type == "exec" {
					go func() {
						io.Copy(ch, ch)
						ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
						ch.Close()
					}()
				}
			}
		}()
	}
	return nil
}
