// Package e2e tests sioedge as a process that is told by a file what to do, with the
// unmodified clients of npm and of Python, one server and several with Redis. make edge
// installs what they need.
package e2e
