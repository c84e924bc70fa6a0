# make run: the edge with its demo page.  make test: everything, with what it needs installed.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
NPM := sio/interop/node_modules/.stamp
CLIENT := cmd/sioedge/client/socket.io.js
STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

.PHONY: run build test check unit race interop browser fuzz bench clean

run: build ## the server with its demo page at http://localhost:3000/demo/
	./bin/sioedge serve --demo

build: $(CLIENT) ## bin/sioedge and bin/sioload
	go build -trimpath -o bin/ ./cmd/...

test: check race interop browser ## every test

check: $(CLIENT) ## build, vet (also for kqueue systems), formatting, static analysis
	go build ./... && go vet ./... && GOOS=darwin go vet ./...
	test -z "$$(gofmt -l $$(git ls-files '*.go' --cached --others --exclude-standard))"
	$(STATICCHECK) ./...

unit: $(CLIENT) ## unit tests and transcripts
	go test ./...

race: $(CLIENT) ## the same under the race detector, which also checks who owns what
	go test -race ./...

interop: $(NPM) ## the unmodified npm client against the server
	go test -tags interop -count=1 -run 'Interop' ./sio/interop/

browser: $(NPM) build ## two pages of the demo chat in a real browser
	command -v chromium >/dev/null || scripts/apt chromium
	go test -tags interop -count=1 -run 'Browser' ./sio/interop/

fuzz: ## each fuzz target for FUZZTIME (default 30s)
	./scripts/fuzz

bench: build ## CPU per delivery beside a bare loop of send; see bench/
	./bench/run

clean: ## what was built
	rm -rf bin build sio/interop/node_modules $(filter-out %/README,$(wildcard cmd/sioedge/client/*))

$(NPM): sio/interop/package.json sio/interop/package-lock.json
	cd sio/interop && npm ci --no-audit --no-fund --ignore-scripts && touch node_modules/.stamp

$(CLIENT): $(NPM)
	cp sio/interop/node_modules/socket.io-client/dist/socket.io{,.min,.esm.min,.msgpack.min}.js{,.map} cmd/sioedge/client/
