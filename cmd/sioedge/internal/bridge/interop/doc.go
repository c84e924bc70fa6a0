// Package interop tests the npm package sioedge-bridge on an edge that is a process: with each
// minor version of socket.io that it is for, and with the frameworks that people use.
package interop
