# make run: the server with its demo page. make test: every test, with what the tests need.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
NPM := sio/interop/node_modules/.stamp
CLUSTER := rooms/redis/interop/node_modules/.stamp
CLIENT := cmd/sioedge/client/socket.io.js
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFILES = $$(git ls-files --cached --others --exclude-standard '*.go')
FUZZTIME ?= 30s
ATTACK ?= # -quick, -only deflate, -readme README.md
BENCH ?= # -quick, -only idle,connect, -peers sioedge,node …

.PHONY: run build test check unit race interop cluster deploy redis proxies browser fuzz attack bench clean

run: build ## the server, and a chat to try it with
	./bin/sioedge serve --demo

build: $(CLIENT) ## bin/sioedge and bin/sioload
	go build -trimpath -o bin/ ./cmd/sioedge ./cmd/sioload

test: check unit race interop cluster deploy browser ## everything

check: $(CLIENT) ## build, vet (also for kqueue systems), formatting, static analysis
	go build ./... && go vet ./... && go vet -tags interop ./sio/interop ./rooms/redis/interop && GOOS=darwin go vet ./...
	test -z "$$(gofmt -l $(GOFILES))"
	$(STATICCHECK) ./...

unit: $(CLIENT) redis ## unit tests, transcripts, allocations
	go test ./...

race: $(CLIENT) redis ## the same under the race detector, which also checks who owns what
	go test -race ./...

interop: $(NPM) ## the unmodified npm clients, against this server and Node's; the table of differences
	go test -tags interop -count=1 -v -run Interop ./sio/interop

cluster: $(CLUSTER) redis ## clusters of this server and Node's, joined by a real Redis; parts of which fail
	go test -tags interop -count=1 -parallel 4 -skip Deploy ./rooms/redis/interop

deploy: $(CLUSTER) redis proxies ## whole deployments under numbered traffic: the binary behind nginx and HAProxy, parts of which fail; Redis Sentinel
	go test -tags interop -count=1 -parallel 4 -run Deploy ./rooms/redis/interop

redis: ## what tests of clusters need
	command -v redis-server >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy redis-server; }

proxies: ## what tests of deployments need
	command -v nginx >/dev/null && command -v haproxy >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy --no-install-recommends nginx haproxy; }

browser: $(NPM) ## two people chat on the demo page in Chromium; screenshots in build/
	command -v chromium >/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -qy chromium; }
	go test -tags interop -count=1 -run Browser ./sio/interop

fuzz: ## each fuzz target for FUZZTIME
	grep -Ho '^func Fuzz[A-Za-z0-9]*' $$(git ls-files '*_test.go') | sed 's/:func / /' | while read -r file name; do \
		go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x "./$$(dirname "$$file")"; done

attack: ## hostile clients of all kinds, one and a hundred at a time; what each costs: go run ./bench/attack -only deflate
	go run ./bench/attack $(ATTACK)

bench: build ## beside its peers and a bare loop of send: CPU, memory, latency, recovery; through Redis: go run ./bench/cluster
	go run ./bench/compare $(BENCH)

clean: ## what was built or installed here
	rm -rf bin build sio/interop/node_modules rooms/redis/interop/node_modules cmd/sioedge/client/socket.io*

$(NPM) $(CLUSTER): %/node_modules/.stamp: %/package.json %/package-lock.json
	cd $* && npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.stamp

$(CLIENT): $(NPM)
	cp sio/interop/node_modules/socket.io-client/dist/socket.io{,.min,.esm.min,.msgpack.min}.js{,.map} cmd/sioedge/client/
