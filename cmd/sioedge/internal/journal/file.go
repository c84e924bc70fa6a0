// Package journal is about what is written to the log: the file that it is in, and lines
// about a part of the connections.
package journal

import (
	"io"
	"os"
	"sync"
)

// fileMode are the permissions of a file that is made.
const fileMode = 0o640

// A File is one that is appended to, and that can be opened again where somebody has moved
// it. What cannot be written to it goes to another writer. Any goroutine may use it.
type File struct {
	path  string
	other io.Writer

	mu   sync.Mutex
	file *os.File
}

// Open opens a file, and makes it if it is not there. The error is the system's.
func Open(path string, other io.Writer) (*File, error) {
	f := &File{path: path, other: other}
	return f, f.Reopen()
}

// Reopen opens the file again. After an error, the system's, it is the one that it was.
func (f *File) Reopen() error {
	file, err := os.OpenFile(f.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	f.mu.Lock()
	old := f.file
	f.file = file
	f.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
	return nil
}

// Write writes to the file, or else to the other writer.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.file.Write(p)
	if err != nil {
		return f.other.Write(p[n:])
	}
	return n, nil
}

// Close closes the file: what is written then goes to the other writer.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}
