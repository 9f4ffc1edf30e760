package dnsclient

import (
	"errors"
	"net"

	"github.com/netduet/netduet/internal/netapi"
)

// What can be wrong with a server's answer, in the words of package net.
var (
	errNoSuchHost   = errors.New("no such host")
	errMalformed    = errors.New("cannot unmarshal DNS message")
	errInvalid      = errors.New("invalid DNS response")
	errMisbehaving  = errors.New("server misbehaving")
	errServFail     = errors.New("server misbehaving") // temporary, otherwise the same
	errLameReferral = errors.New("lame referral")
)

// errForged ends the wait for an answer over UDP when too many wrong ones came.
var errForged = errors.New("too many DNS messages that answer nothing")

func notFound(name, server string) *net.DNSError {
	return &net.DNSError{Err: errNoSuchHost.Error(), Name: name, Server: server, IsNotFound: true}
}

// toDNSError says for the caller what asking server for name came to.
func toDNSError(err error, name, server string) *net.DNSError {
	d := netapi.DNSError(err, name, server)
	d.IsNotFound = err == errNoSuchHost
	var op *net.OpError
	if err == errServFail || errors.As(err, &op) {
		// Servers come back, and so does the network.
		d.IsTemporary = true
	}
	return d
}
