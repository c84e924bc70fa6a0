package listen

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// A socket that an ended process has left is taken over, one that somebody listens to is
// not.
func TestInternalSocketFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Skip("the path is too long here")
	}
	if _, err := Internal("unix:"+path, nil); err == nil {
		t.Error("a socket that is used is taken over")
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = left.Close()
	ln, err := Internal("unix:"+path+"?mode=0660", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("the socket is %v, %v", st, err)
	}
	for _, wrong := range []string{"?mode=9", "?mode=0660&x=1", "?x=1", "?mode=7777"} {
		if _, err := Internal("unix:"+path+wrong, nil); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
