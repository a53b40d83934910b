# refold: everything a developer runs. `make` alone prints this help.

SHELL := /bin/bash
GO ?= go
TOOL = CGO_ENABLED=0 $(GO) tool -modfile=tools/go.mod
TEST_FLAGS ?=
DEMO_FLAGS ?=
LOAD_FLAGS ?=
CHAOS_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-upgrade test race memory chaos chaos-cluster fuzz generate verify clients mcp-conformance bench load up down stores npm build

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: stores ## run the story of refold on sample data (DEMO_FLAGS=--keep leaves it serving)
	$(GO) run ./cmd/refold demo $(DEMO_FLAGS)

demo-upgrade: stores ## upgrade, roll back and upgrade again with two real binaries under load (DEMO_FLAGS=-help)
	$(GO) run ./internal/upgrade $(DEMO_FLAGS)

test: stores ## run all tests against a real Postgres and a real JetStream
	$(GO) test -timeout 60m $(TEST_FLAGS) ./...

race: stores ## run all tests under the race detector
	$(GO) test -race -timeout 80m $(TEST_FLAGS) ./...

chaos: stores ## the long fault campaign: a million events, hundreds of kills, thousands of tamperings and verifications
	REFOLD_CHAOS=long $(GO) test -count=1 -timeout 240m -v -run 'TestChaos|TestTampering|TestADeployment|TestFlips|TestOperators|Kept|Quick|NoFalseAlarms|EveryCombination|OneIsFenced|Tampered|Flipped' ./internal/plane ./internal/witness

chaos-cluster: stores ## kill, stop and damage a cluster of 3 NATS, 2 Postgres and 2 refold under load (CHAOS_FLAGS="-for 30m -seed N", or -help)
	$(GO) run ./internal/chaos $(CHAOS_FLAGS)

memory: stores ## peak memory of serve, verify and build at a million events; fails beyond --memory and 200 MiB (PEAKS_EVENTS=1000000)
	REFOLD_PEAKS=$(or $(PEAKS_EVENTS),1000000) $(GO) test -count=1 -timeout 120m -v -run 'TestPeakMemory$$' ./cmd/refold

fuzz: stores ## fuzz every target for FUZZ_TIME (20s), or those of FUZZ="PACKAGE:FUNCTION ..."
	FUZZ_TIME=$(or $(FUZZ_TIME),20s) GO="$(GO)" scripts/fuzz.sh $(FUZZ)

generate: ## generate queries, the HTTP server, its Go client and the schemas for producers again (commit the result alone)
	$(TOOL) sqlc generate
	$(GO) run ./internal/upgrade -generate "env $(TOOL) sqlc"
	cd internal/httpapi && CGO_ENABLED=0 $(GO) tool -modfile=../../tools/go.mod oapi-codegen -config oapi.yaml openapi.yaml
	cd internal/httpapi && CGO_ENABLED=0 $(GO) tool -modfile=../../tools/go.mod oapi-codegen -config oapi-client.yaml openapi.yaml
	cd internal/httpapi && CGO_ENABLED=0 $(GO) run ./contract/generate
	cd events/schemas && CGO_ENABLED=0 $(GO) generate .

verify: generate ## fail when generated code, formatting, vet or lint is not as it should be
	@git diff --exit-code -- internal/postgres/db internal/httpapi/api internal/httpapi/contract clients/go docs/api.md events/schemas examples/upgrade/internal/postgres/db || { echo "generated code is not up to date: run 'make generate' and commit"; exit 1; }
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); echo "run gofmt"; exit 1; }
	$(GO) vet ./...
	cd tools/lint && CGO_ENABLED=0 $(GO) build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run

clients: build stores npm ## generate the TypeScript client, check its types, test it against a real refold; fails when it was not up to date (needs npm)
	npm ci --prefix clients/typescript
	npm run --prefix clients/typescript generate
	npm run --prefix clients/typescript build
	node scripts/with-refold.mjs bin/refold npm test --prefix clients/typescript
	@git diff --exit-code --stat -- clients/typescript/src/contract.ts || { echo "the types were not those of the contract: commit clients/typescript/src/contract.ts"; exit 1; }

mcp-conformance: build stores npm ## run the conformance suite of the Model Context Protocol against a real refold (needs npm)
	npm ci --prefix tools/mcp-conformance
	node scripts/with-refold.mjs bin/refold npm test --prefix tools/mcp-conformance

bench: stores ## measure; prints `name value unit` lines and writes bench.json
	$(GO) run ./internal/bench

load: stores ## hold 300 commands and 1,000 reads a second for ten minutes against one process (LOAD_FLAGS=-help)
	$(GO) run ./internal/upgrade -sustain 10m -commands 300 -reads 1000 $(LOAD_FLAGS)

build: ## build bin/refold; `refold --version` says VERSION, or else the revision
	CGO_ENABLED=0 $(GO) build -trimpath $(if $(VERSION),-ldflags "-X github.com/refold-dev/refold/internal/plane.version=$(VERSION)") -o bin/refold ./cmd/refold

.env: # passwords of the containers, random, made once
	@umask 077 && for name in POSTGRES NATS; do \
		echo "REFOLD_$${name}_PASSWORD=$$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" || exit 1; done > $@.new && mv $@.new $@

up: .env ## start Postgres, NATS and refold in containers
	docker compose up -d --build --wait

down: ## stop the containers; data volumes stay
	docker compose down

stores: # makes sure that a PostgreSQL can be started
	@scripts/stores.sh

npm: # makes sure that there is Node.js
	@command -v node npm >/dev/null || { echo "no Node.js found: install version 20 or later, with npm"; exit 1; }
