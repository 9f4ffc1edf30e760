package gvisor

import (
	"syscall"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
)

// Every error of gVisor's has its row.
func TestErrors(t *testing.T) {
	for _, err := range []tcpip.Error{
		&tcpip.ErrAborted{}, &tcpip.ErrAddressFamilyNotSupported{}, &tcpip.ErrAlreadyBound{},
		&tcpip.ErrAlreadyConnected{}, &tcpip.ErrAlreadyConnecting{}, &tcpip.ErrBadAddress{},
		&tcpip.ErrBadBuffer{}, &tcpip.ErrBadLocalAddress{}, &tcpip.ErrBroadcastDisabled{},
		&tcpip.ErrClosedForReceive{}, &tcpip.ErrClosedForSend{}, &tcpip.ErrConnectStarted{},
		&tcpip.ErrConnectionAborted{}, &tcpip.ErrConnectionRefused{}, &tcpip.ErrConnectionReset{},
		&tcpip.ErrDestinationRequired{}, &tcpip.ErrDuplicateAddress{}, &tcpip.ErrDuplicateNICID{},
		&tcpip.ErrInvalidNICID{}, &tcpip.ErrInvalidEndpointState{}, &tcpip.ErrInvalidOptionValue{},
		&tcpip.ErrInvalidPortRange{}, &tcpip.ErrMalformedHeader{}, &tcpip.ErrMessageTooLong{},
		&tcpip.ErrNetworkUnreachable{}, &tcpip.ErrNoBufferSpace{}, &tcpip.ErrNoPortAvailable{},
		&tcpip.ErrHostUnreachable{}, &tcpip.ErrHostDown{}, &tcpip.ErrNoNet{}, &tcpip.ErrNoSuchFile{},
		&tcpip.ErrNotConnected{}, &tcpip.ErrNotPermitted{}, &tcpip.ErrNotSupported{}, &tcpip.ErrPortInUse{},
		&tcpip.ErrQueueSizeNotSupported{}, &tcpip.ErrTimeout{}, &tcpip.ErrUnknownDevice{},
		&tcpip.ErrUnknownNICID{}, &tcpip.ErrUnknownProtocol{}, &tcpip.ErrUnknownProtocolOption{},
		&tcpip.ErrWouldBlock{}, &tcpip.ErrMissingRequiredFields{}, &tcpip.ErrMulticastInputCannotBeOutput{},
		&tcpip.ErrEndpointBusy{},
	} {
		if errnoOf(err) == syscall.EIO {
			t.Errorf("%T has no row", err)
		}
	}
}
