package main

import (
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Names of peers that the trials know.
const (
	plainNode = "node"
	uws       = "uwebsockets"
	fugoPlain = "centrifugo plain"
)

// fugoPath is where Centrifugo's clients come.
const fugoPath = "/connection/websocket"

var nodeServer = filepath.Join("bench", "peers", "node", "server.js")

// peers are the servers of others: bench/peers/README.md.
func peers() []*server {
	eiows := filepath.Join("bench", "peers", "eiows", "node_modules", "eiows")
	cpp := []string{"node", filepath.Join("bench", "peers", "uwebsockets", "server.js")}
	bun := []string{filepath.Join("bench", "peers", "bun", "node_modules", "@oven", "bun-linux-x64", "bin", "bun"), filepath.Join("bench", "peers", "bun", "server.js")}
	const open = "CENTRIFUGO_CHANNEL_WITHOUT_NAMESPACE_ALLOW_"
	return []*server{
		{name: uws, brief: true, cmd: cpp, rate: 4000, build: buildUWS},
		{name: plainNode, brief: true, cmd: []string{"node", nodeServer}, recovery: []string{"--recovery"}, rate: 2500, build: buildNode},
		{name: "node-uws", cmd: append(slices.Clone(cpp), "--socket.io"), rate: 2500, build: buildUWS},
		{name: "node-eiows", cmd: []string{"node", nodeServer, "--eiows", eiows}, recovery: []string{"--recovery"}, rate: 2500, build: buildEiows},
		{name: "bun", cmd: bun, recovery: []string{"--recovery"}, rate: 2500, build: buildBun},
		{name: "zishang", cmd: []string{filepath.Join(out, "zishang")}, recovery: []string{"-recovery"}, rate: 2000, most: 5000, build: buildPeer},
		{name: "gorilla", brief: true, cmd: []string{filepath.Join(out, "gorilla")}, rate: 3000, build: buildPeer},
		{name: "centrifuge", brief: true, cmd: []string{filepath.Join(out, "centrifuge")}, protocol: "centrifuge", rate: 3000, build: buildPeer},
		{name: fugoPlain, cmd: centrifugo("CENTRIFUGO_CLIENT_ALLOW_ANONYMOUS_CONNECT_WITHOUT_TOKEN=true", open+"SUBSCRIBE_FOR_CLIENT=true",
			open+"SUBSCRIBE_FOR_ANONYMOUS=true", open+"PUBLISH_FOR_CLIENT=true", open+"PUBLISH_FOR_ANONYMOUS=true"), extra: true,
			protocol: "centrifuge", path: fugoPath, rate: 3000, build: buildCentrifugo},
	}
}

// centrifugo returns the command of Centrifugo with settings, which are variables of its
// environment.
func centrifugo(settings ...string) []string {
	return slices.Concat([]string{"env"}, settings, []string{filepath.Join(out, "centrifugo-run"), filepath.Join(out, "centrifugo"), secret})
}

// buildPeer builds the module that has the server's name.
func buildPeer(v *server) error { return goBuild(filepath.Join("bench", "peers", v.name), v.name, ".") }

// buildCentrifugo builds Centrifugo from its module, and what starts it.
func buildCentrifugo(*server) error {
	dir := filepath.Join("bench", "peers", "centrifugo")
	if err := goBuild(dir, "centrifugo-run", "."); err != nil {
		return err
	}
	return goBuild(dir, "centrifugo", "github.com/centrifugal/centrifugo/v6")
}

func buildNode(*server) error { return install("node", filepath.Join("@socket.io", "redis-emitter")) }

func buildUWS(*server) error {
	const pkg = "@trufflesuite/uws-js-unofficial"
	if err := install("uwebsockets", pkg); err != nil {
		return err
	}
	// Its binary is there for some systems only.
	return runIn(filepath.Join("bench", "peers", "uwebsockets"), time.Minute, "node", "-e",
		"require(`"+pkg+"/binaries/uws_${process.platform}_${process.arch}_${process.versions.modules}.node`)")
}

func buildBun(v *server) error {
	if err := install("bun", filepath.Join("@oven", "bun-linux-x64")); err != nil {
		return err
	}
	return runIn(".", time.Minute, v.cmd[0], "--version")
}

// install installs the packages of a peer in JavaScript, unless one of them is there.
func install(peer, pkg string) error {
	dir := filepath.Join("bench", "peers", peer)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", pkg)); err == nil {
		return nil
	}
	return runIn(dir, 5*time.Minute, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
}

// buildEiows compiles eiows, which fetches Node's own sources for that.
func buildEiows(v *server) error {
	if err := buildNode(v); err != nil {
		return err
	}
	dir := filepath.Join("bench", "peers", "eiows")
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "eiows")); err != nil {
		if err := runIn(dir, 15*time.Minute, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
			return err
		}
	}
	return runIn(dir, time.Minute, "node", "-e", `require("eiows")`)
}
