# make run: the server with its demo page. make test: every test, with what the tests need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
# As the image's binary is built, so that all stages share what was compiled; the race detector needs cgo.
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath
export CGO_ENABLED := 0
NPM := sio/interop/node_modules/.stamp
CLUSTER := rooms/redis/interop/node_modules/.stamp
EXAMPLE := cmd/sioedge/examples/node/node_modules/.stamp
PACKAGE := cmd/sioedge/internal/bridge/npm
BRIDGE := $(patsubst %/package.json,%/node_modules/.stamp,$(PACKAGE)/package.json $(PACKAGE)/test/versions/package.json $(PACKAGE)/test/frameworks/package.json)
CHAT := cmd/sioedge/examples/bridge/node_modules/.stamp
CLIENT := cmd/sioedge/client/socket.io.js
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Types of builds for kqueue systems, from sources: to compile all for them takes ten times as long.
KQUEUE := go run -exec 'env GOOS=darwin CGO_ENABLED=0' golang.org/x/tools/go/analysis/passes/lostcancel/cmd/lostcancel@v0.52.0
# Runs a test that fails once more, and shows it.
GOTEST := .ci/gotest
GOFILES = $$(git ls-files --cached --others --exclude-standard '*.go')
# Packages that are not the same under the race detector.
FILES := {{.ImportPath}} {{.GoFiles}} {{.TestGoFiles}} {{.XTestGoFiles}}
APART = $$(export CGO_ENABLED=1; comm -13 <(go list -race -f '$(FILES)' ./... | sort) <(go list -f '$(FILES)' ./... | sort) | cut -d' ' -f1)
FUZZTIME ?= 30s
ATTACK ?= # -quick, -only deflate, -readme README.md
HANDOVER ?= # -clients 3000 -upgrades 3
SOAK ?= # -waves 3 -clients 1000 -churn 30s
BENCH ?= # -quick, -only idle,connect, -peers sioedge,node, -readme README.md …

.PHONY: run run-bridge build test check unit race apart bridge bridge-chaos interop cluster deploy edge upgrades redis proxies promtool containers python browser examples languages chromium fuzz attack bench bench-bridge handover soak image clean

run: build ## the server, and a chat to try it with
	./bin/sioedge serve --demo

run-bridge: $(CHAT) $(CLIENT) ## the chat as an application in Node, with two processes behind an edge, of which one may be killed
	cmd/sioedge/examples/bridge/run

build: $(CLIENT) ## bin/sioedge and bin/sioload
	go build -trimpath -o bin/ ./cmd/sioedge ./cmd/sioload

test: check race apart bridge interop cluster deploy edge upgrades browser examples ## everything

check: $(CLIENT) ## build, vet, types for kqueue systems, formatting, static analysis
	go build ./... && go vet ./... && go vet -tags interop ./sio/interop ./rooms/redis/interop ./cmd/sioedge/e2e ./cmd/sioedge/internal/ioclient ./cmd/sioedge/examples/e2e ./cmd/sioedge/internal/bridge/interop && $(KQUEUE) ./...
	test -z "$$(gofmt -l $(GOFILES))"
	$(STATICCHECK) ./...

unit: $(CLIENT) redis promtool ## unit tests and transcripts, for who works on them: make test has them by the next two
	go test ./...

race: $(CLIENT) redis promtool ## the same under the race detector, which also checks who owns what
	CGO_ENABLED=1 $(GOTEST) "./sio ./..." -race # the longest one first

apart: $(CLIENT) redis ## without it, what it hides, such as allocations: packages with code of their own for either
	$(GOTEST) "$$(echo $(APART))"

bridge: $(BRIDGE) $(NPM) $(CHAT) ## the package sioedge-bridge: alone, with each version of socket.io, NestJS and Express behind an edge; applications that die
	cd $(PACKAGE) && node --test test/unit/*.test.js
	$(GOTEST) "./sio/interop ./cmd/sioedge/e2e ./cmd/sioedge/examples/e2e" -tags interop -count=1 -p 1 -run Bridge
	$(GOTEST) ./cmd/sioedge/internal/bridge/interop -tags interop -count=1

bridge-chaos: $(BRIDGE) $(NPM) ## two edges, two processes, 2,000 clients with numbers, while everything is killed in turn
	BRIDGE_CLIENTS=2000 go test -tags interop -count=1 -timeout 30m -v -run BridgeTraffic ./cmd/sioedge/e2e

interop: $(NPM) ## the unmodified npm clients, against this server and Node's; the table of differences; sioedge client with Node's
	GOTESTSUM_FORMAT=standard-verbose $(GOTEST) "./sio/interop ./cmd/sioedge/internal/ioclient" -tags interop -count=1 -v -run Interop -skip Bridge

cluster: $(CLUSTER) redis ## clusters of this server and Node's, joined by a real Redis; parts of which fail
	$(GOTEST) ./rooms/redis/interop -tags interop -count=1 -parallel 4 -skip Deploy

deploy: $(CLUSTER) redis proxies containers ## whole deployments under numbered traffic: the binary behind nginx, HAProxy and Caddy, parts of which fail; Redis Sentinel; the files that are shipped
	$(GOTEST) ./rooms/redis/interop -tags interop -count=1 -parallel 4 -run Deploy
	$(GOTEST) ./cmd/sioedge/deploy/... -tags interop -count=1

edge: $(NPM) $(CLUSTER) redis python ## sioedge with a file: npm clients of all versions and Python's, one server and three with Redis
	$(GOTEST) ./cmd/sioedge/e2e -tags interop -count=1 -parallel 4 -skip 'Browser|Bridge|Upgrade'

upgrades: $(NPM) $(CLUSTER) redis python ## another version takes over a server's clients, in every way, and in vain; ten times under the traffic of a thousand clients of all kinds
	$(GOTEST) ./cmd/sioedge/e2e -tags interop -count=1 -parallel 4 -run Upgrade -skip Bridge

redis: ## what tests of clusters need
	command -v redis-server >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy redis-server; }

proxies: ## what tests of deployments need
	command -v nginx >/dev/null && command -v haproxy >/dev/null && command -v caddy >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends nginx haproxy caddy; }

containers: ## what tests of images and units need
	command -v buildah >/dev/null && command -v systemd-analyze >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends buildah systemd; }

promtool: ## what checks metrics, rules and alerts
	command -v promtool >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends prometheus; }

python: ## the client of Python, as Debian has it
	/usr/bin/python3 -c 'import socketio, aiohttp' 2>/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends python3-socketio python3-aiohttp; }

browser: $(NPM) chromium ## two people chat on the demo page in Chromium, and an operator has its own; screenshots in build/
	$(GOTEST) "./sio/interop ./cmd/sioedge/e2e" -tags interop -count=1 -run Browser

chromium: ## what tests of pages need
	command -v chromium >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy chromium; }

examples: $(NPM) $(CLIENT) languages chromium ## the chat's applications in five languages: forged requests, hostile clients, and people in Chromium
	cd cmd/sioedge/examples/go && go vet ./...
	$(GOTEST) ./cmd/sioedge/examples/e2e -tags interop -count=1 -timeout 30m -skip Bridge

example-%: $(CLIENT) languages ## the chat with its application in go, node, python, php or ruby
	cmd/sioedge/examples/run $*

languages: $(EXAMPLE) ## what the applications need
	command -v php >/dev/null && php -m | grep -q pdo_sqlite && ruby -e 'require "sqlite3"; require "webrick"' 2>/dev/null && /usr/bin/python3 -c 'import sqlite3' || { \
		$(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends python3 php-cli php-sqlite3 ruby ruby-sqlite3 ruby-webrick; }

fuzz: ## each fuzz target for FUZZTIME
	grep -Ho '^func Fuzz[A-Za-z0-9]*' $$(git ls-files '*_test.go') | sed 's/:func / /' | while read -r file name; do \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "./$$(dirname "$$file")"; done

attack: ## hostile clients of all kinds, one and a hundred at a time; what each costs: go run ./bench/attack -only deflate
	go run ./bench/attack $(ATTACK)

bench: build ## beside its peers and a bare loop in C: CPU, memory, latency, recovery, hostile clients, TLS, the bridge; through Redis: go run ./bench/cluster
	go run ./bench/compare $(BENCH)

bench-bridge: $(CLIENT) ## an application in Node by itself and behind the bridge: its CPU and memory, and the edge's apart
	go run ./bench/bridge $(BENCH)

handover: $(CLIENT) ## ten upgrades under the traffic of 15,000 clients of all kinds: what they notice, how long it takes, what the server holds
	go build -trimpath -o bin/ ./cmd/sioedge/upgrades && ./bin/upgrades $(HANDOVER)

soak: build ## ten waves of 10,000 clients of all transports, and ten minutes of coming and going: what the server holds after each
	go build -trimpath -o bin/soak ./cmd/sioedge/soak && bin/soak $(SOAK)

image: ## an image of the server alone, by buildah, podman or docker
	mkdir -p build/image
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o build/image/sioedge ./cmd/sioedge
	cp /etc/ssl/certs/ca-certificates.crt build/image/
	if command -v buildah >/dev/null; then buildah bud --format docker -t sioedge -f cmd/sioedge/deploy/container/Dockerfile build/image; \
	else $$(command -v podman || echo docker) build -t sioedge -f cmd/sioedge/deploy/container/Dockerfile build/image; fi

clean: ## what was built or installed here
	rm -rf bin build sio/interop/node_modules rooms/redis/interop/node_modules cmd/sioedge/examples/{node,bridge}/node_modules $(dir $(BRIDGE)) cmd/sioedge/client/socket.io*

$(NPM) $(CLUSTER) $(EXAMPLE) $(CHAT) $(BRIDGE): %/node_modules/.stamp: %/package.json %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.stamp

# It gets a copy of the package, as from a registry.
$(CHAT): $(wildcard $(PACKAGE)/*.js $(PACKAGE)/*.ts $(PACKAGE)/lib/*.js)

$(CLIENT): $(NPM)
	cp sio/interop/node_modules/socket.io-client/dist/socket.io{,.min,.esm.min,.msgpack.min}.js{,.map} cmd/sioedge/client/
