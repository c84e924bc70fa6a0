// Package demo is the demo page of sioedge and the chat behind it, which is an
// ordinary program on package sio.
package demo

import (
	"embed"
	"net/http"
)

//go:embed index.html demo.css demo.js
var files embed.FS

// Path is where the page is.
const Path = "/demo/"

// Page serves the page under Path, and leads there from "/".
func Page() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(Path, http.StripPrefix(Path, http.FileServerFS(files)))
	mux.Handle("/{$}", http.RedirectHandler(Path, http.StatusFound))
	return mux
}
