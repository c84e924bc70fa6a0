// Package demo is the demo pages of sioedge: a chat, behind which is an ordinary
// program on package sio, and a board, which is declared.
package demo

import (
	"embed"
	"net/http"
)

//go:embed index.html demo.css demo.js settings.js board.html board.css board.js board.yaml
var files embed.FS

// Board is what the board is made of: settings, as in a file of them.
//
//go:embed board.yaml
var Board []byte

// Path is where the page is.
const Path = "/demo/"

// Page serves the page under Path, and leads there from "/".
func Page() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(Path, http.StripPrefix(Path, http.FileServerFS(files)))
	mux.Handle("/{$}", http.RedirectHandler(Path, http.StatusFound))
	return mux
}
