package sio

import (
	"crypto/x509"
	"net/netip"
	"testing"
	"unsafe"
)

// A request is what it was made of, and little more than its text if nothing about it is
// unusual.
func TestRequestsArePacked(t *testing.T) {
	at := netip.MustParseAddrPort
	const text = "/socket.io/?EIO=4\nHost: x\n"
	for _, c := range []struct {
		f    particulars
		more bool
	}{
		{particulars{}, false},
		{particulars{text: text, address: at("192.0.2.1:80"), peer: at("192.0.2.1:80"), issued: 1796099961608, secure: true}, false},
		{particulars{text: text, address: at("[2001:db8::1]:65535"), peer: at("[2001:db8::1]:65535"), issued: 1}, false},
		{particulars{address: at("192.0.2.1:80"), secure: true}, false},
		{particulars{issued: 1<<46 - 1}, false},
		{particulars{issued: 1 << 46}, true},
		{particulars{issued: -1}, true},
		{particulars{peer: at("192.0.2.1:80")}, true},
		{particulars{address: at("192.0.2.1:80"), peer: at("192.0.2.1:81")}, true},
		{particulars{address: at("[::ffff:192.0.2.1]:80")}, true},
		{particulars{address: at("[fe80::1%eth0]:80"), peer: at("[fe80::1%eth0]:80")}, true},
		{particulars{address: at("[::]:0")}, true},
		{particulars{text: text, query: "a=1"}, true},
		{particulars{cert: &x509.Certificate{}}, true},
	} {
		r := c.f.pack()
		if r.particulars() != c.f || (r.more != nil) != c.more {
			t.Errorf("%+v is packed as %+v", c.f, r)
		}
	}
	if n := unsafe.Sizeof(request{}); n != 48 {
		t.Errorf("a request takes %d bytes", n)
	}
	var none *request
	if none.particulars() != (particulars{}) {
		t.Error("no request has particulars")
	}
}
