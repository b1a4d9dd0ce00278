# `make` lists the words. Two are all a fresh machine needs: `make run` and `make test`.
VENV   := .venv
PY     := $(VENV)/bin/python
PIP    := $(PY) -m pip --disable-pip-version-check
MESH   := $(PY) -m mesh
PYTEST := $(PY) -m pytest
# Python to make .venv with: the first that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Where the packages lie, as pyproject says.
PACKAGES = $(shell $(PY) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["tool"]["scikit-build"]["wheel"]["packages"])')
LIBSIGNAL := $(shell find libsignal/include libsignal/src libsignal/CMakeLists.txt libsignal/codec -type f)
PAGE := gateway/web
ASYNCAPI := tests/asyncapi
# Everything else works without the page.
TRY_PAGE = @$(MAKE) --no-print-directory -s page || echo "the page at / is not built: npm's packages cannot be downloaded" >&2
COMPOSE := docker compose
# Is it compose that runs? Asked only where no local mesh does.
COMPOSE_RUNS := $(COMPOSE) --profile sim ps --quiet 2>/dev/null | grep -q .

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# --- the mesh on this machine ---

run: $(VENV)/installed ## start the whole mesh on this machine, without Docker; Ctrl-C stops it
	$(TRY_PAGE)
	@$(MESH) up

page: $(PAGE)/dist/index.html ## build the page that the gateway serves at / (needs the npm registry once)

stop: ## stop the mesh, both the local one and that of Docker Compose
	@if [ -x $(PY) ]; then $(MESH) down; fi
	@if $(COMPOSE_RUNS); then $(COMPOSE) --profile sim down; fi

tui: $(VENV)/installed ## open the terminal client (URL=http://host:port for another mesh)
	@eval "$$($(MESH) env 2>/dev/null)"; url="$(URL)"; exec $(PY) -m term --url "$${url:-$${GATEWAY_URL:-http://127.0.0.1:8080}}"

status: $(VENV)/installed ## show the state of every service of the local mesh
	@$(MESH) status

env: $(VENV)/installed ## print the addresses of the local mesh as shell variables: eval "$(make -s env)"
	@$(MESH) env

logs: ## show the logs of all services (on a terminal, also follow them)
logs-ingest: ## show the log of ingest
logs-signal: ## show the log of signal
logs-store: ## show the log of store
logs-gateway: ## show the log of the gateway
logs-sim: ## show the log of the simulated exchange
logs-nats: ## show the log of nats-server
logs-postgres: ## show the log of PostgreSQL
logs-ingestion: ## another name of logs-ingest
logs-processing: ## another name of logs-signal
logs-api: ## another name of logs-gateway

LOGS := ingest signal store gateway sim nats postgres ingestion processing api
IN_COMPOSE = $(patsubst postgres,timescaledb,$(patsubst api,gateway,$(patsubst processing,signal,$(patsubst ingestion,ingest,$(SERVICE)))))
logs $(LOGS:%=logs-%): SERVICE = $(filter-out logs,$(@:logs-%=%))
logs $(LOGS:%=logs-%): $(VENV)/installed
	@if [ -t 1 ]; then follow=-f; fi; \
	if ! $(MESH) env >/dev/null 2>&1 && $(COMPOSE_RUNS); then exec $(COMPOSE) --profile sim logs $$follow $(IN_COMPOSE); \
	else exec $(MESH) logs $$follow $(SERVICE); fi

# --- images ---

build: ## build the Docker images
	$(COMPOSE) build

pin-images: $(VENV)/installed ## write the digests of the public images wherever they are named (asks their registry)
	$(PY) deploy/images.py pin

clean: ## remove everything that was built: caches, build folders, the Docker image; data are kept
	@if docker info >/dev/null 2>&1; then docker image rm --force tickmesh:dev; fi
	rm -rf build dist $(PAGE)/dist $(PAGE)/node_modules $(ASYNCAPI)/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# STATE_DIR and CONFIRM come from the environment or from the command line.
purge: export STATE_DIR := $(STATE_DIR)
purge: export CONFIRM := $(CONFIRM)
purge: ## stop, and delete the database and all other data forever, after CONFIRM=yes or a question at the terminal
	@deploy/purge.sh show
	@$(MAKE) --no-print-directory stop
	@deploy/purge.sh delete

# --- proof ---

# Tests wait for processes most of the time, so several run at once: two more than the machine has threads (`auto`, see
# tests/conftest.py), and of those that load it (slow, or in a browser) as many as it has. Each worker has servers of its
# own, and keeps to its own stretch of the tests, so that a module's fixture is made once, until it has nothing left to
# do. With WORKERS=0 all run one after the other, as for a debugger; OPTIONS are pytest's: -x, say.
WORKERS ?= auto
test: $(VENV)/installed ## run the tests, several at once (WORKERS=0: one by one): unit, contract, integration, e2e, all but the slow ones
	$(TRY_PAGE)
	@$(MAKE) --no-print-directory -s $(ASYNCAPI)/node_modules/.package-lock.json || echo "/asyncapi.json is not read by the AsyncAPI parser" >&2
	$(PYTEST) -n $(WORKERS) --dist worksteal -m "not slow and not docker and not browser" $(OPTIONS)

slow-test: $(VENV)/installed page ## run the slow tests, which need minutes, several files at once (WORKERS=0: one by one)
	$(PYTEST) -n $(WORKERS:auto=logical) --dist loadfile -m "slow and not docker and not browser" $(OPTIONS)

e2e: $(VENV)/installed browser page ## run the tests of the whole mesh, those of the page in a browser among them
	$(PYTEST) tests/e2e -m "not docker"

page-test: $(VENV)/installed browser page ## run the tests of the page in a browser, several at once; their pictures are in build/page
	$(PYTEST) tests/e2e/test_page.py -n $(WORKERS:auto=logical) --dist worksteal $(OPTIONS)

browser: ## install Chromium for the tests, on Debian, where it is missing
	@command -v chromium >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

libsignal-test: $(VENV)/installed page ## run the C++ tests of libsignal: plain, with sanitizers, fuzzed, with coverage
	CMAKE_GENERATOR=Ninja libsignal/run-tests build/libsignal

timescale-test: $(VENV)/installed page ## run store's tests on a real TimescaleDB (at TIMESCALE_URL, or a new one: needs root on Debian)
	url="$${TIMESCALE_URL:-$$(deploy/timescaledb/debian-root.sh start)}" && TIMESCALE_URL="$$url" $(PYTEST) tests/integration -n $(WORKERS) --dist loadfile -k "store or timescale" $(OPTIONS)

docker-test: $(VENV)/installed ## build the images, start them, test them, and stop them
	$(PYTEST) tests/e2e/test_compose.py $(OPTIONS)

# One after the other whatever `make -j` says: what runs at the same time is measured, too.
bench: ## measure everything, in about ten minutes: the whole mesh, then each stage alone (OPTIONS="--seconds 20")
	@for what in mesh ingest signal store gateway term libsignal; do $(MAKE) --no-print-directory -j1 bench-$$what || exit; done

bench-mesh: $(VENV)/installed ## measure the whole mesh: loss, delay, CPU, wake-ups and memory (OPTIONS="--against-commit SHA": beside another commit)
	$(PY) -m tests.bench $(OPTIONS)

bench-ingest: $(VENV)/installed ## measure ingest alone, from the venue's socket to the bus
	$(PY) -m tests.bench.bench_ingest

bench-signal: $(VENV)/installed ## measure signal alone, from bus to bus, and how fast it replays
	$(PY) -m tests.bench.bench_readers signal

bench-store: $(VENV)/installed ## measure store alone, from the bus to the database, beside a bare COPY
	$(PY) -m tests.bench.bench_readers store
	$(PY) -m tests.bench.bench_store

bench-gateway: $(VENV)/installed ## measure the gateway alone: deliveries, the protocol of /ws, delay, REST, a flood
	$(PY) -m tests.bench.bench_gateway --seconds 2

bench-export: $(VENV)/installed ## measure exports of ten million trades, single reads of them, and live delays beside an export (OPTIONS="--rows 1000000"), not part of bench
	$(PY) -m tests.bench.bench_export $(OPTIONS)

bench-page: $(VENV)/installed browser page ## measure the page with 300 coins at 1,000 trades/s for ten minutes (OPTIONS="--seconds 60"), or what pages cost others (OPTIONS="--beside --seconds 5"); not part of bench
	$(PY) -m tests.bench.bench_page $(OPTIONS)

bench-term: $(VENV)/installed ## measure the terminal client: 300 coins at 1,000 updates/s, and idle
	$(PY) -m tests.bench.bench_term

bench-libsignal: $(VENV)/installed ## measure libsignal as Python calls it
	$(PY) -m tests.bench.bench_libsignal

chaos: $(VENV)/installed ## inject every fault into a whole mesh, and count what was lost (OPTIONS="--short" for less)
	$(PY) -m tests.chaos $(OPTIONS)

fuzz: $(VENV)/installed ## send ingest whatever a venue may send, for some minutes, different each time
	$(PYTEST) tests/unit/ingest/test_whatever_the_venue_says.py tests/unit/ingest/test_whatever_order_trades_come_in.py tests/unit/ingest/test_frames.py --hypothesis-profile=fuzz --hypothesis-seed=random --timeout=0

fuzz-hour: $(VENV)/installed ## fuzz the whole of ingest guided by coverage (SECONDS=3600); says how to get atheris for it
	@PYTHONPATH=build/atheris nice -n 19 $(PY) -m tests.fuzz --seconds $(or $(SECONDS),3600)

lint: $(VENV)/installed ## check the style: ruff and buf
	ruff check .
	ruff format --check .
	buf lint gen/tickmesh/v1/descriptors.binpb --config protos/buf.yaml

types: $(VENV)/installed ## check the types: mypy --strict, and tsc
	$(TRY_PAGE)
	@[ ! -x $(PAGE)/node_modules/.bin/tsc ] || node $(PAGE)/node_modules/.bin/tsc --project $(PAGE)
	$(PY) -m mypy
	$(PY) -m mypy --python-version 3.10 --config-file client/pyproject.toml client/tickmesh_client

gen: $(VENV)/installed ## generate gen/ from protos/, and the permissions of partitions in deploy/nats/nats.conf
	$(PY) protos/generate.py
	$(PY) protos/typescript.py
	$(PY) deploy/nats/permissions.py

docs: $(VENV)/installed ## write the generated tables of docs/
	$(PY) docs/tables.py

readme: docs ## another name of docs

# --- the environment ---
# What is said here goes to stderr: `eval "$(make -s env)"` would take it for a command.

# Every dependency in its locked version, checked by hash.
$(VENV)/dependencies: requirements-dev.lock
	@if [ ! -x $(PY) ]; then \
		if [ -z "$(PYTHON)" ]; then echo "no Python >= 3.11 found: install one, or name it: make run PYTHON=/path/to/python3" >&2; exit 1; fi; \
		echo "making $(VENV) with $$($(PYTHON) --version)" >&2; \
		(umask 022; $(PYTHON) -m venv $(VENV)) || { rm -rf $(VENV); \
			echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu \`apt install python3-venv\` first" >&2; exit 1; }; \
	fi
	@echo "installing the locked dependencies (a minute or two the first time)" >&2
	@# Others must read it whatever the umask: where root starts PostgreSQL, that runs as another user.
	@umask 022; $(PIP) install -qq --require-hashes -r requirements-dev.lock
	@touch $@

# The links name every module, so they are made anew when there are others: after a pull, say.
$(VENV)/modules: $(VENV)/dependencies always
	@find $(PACKAGES) -name '*.py' | LC_ALL=C sort > $@.now; cmp -s $@.now $@ && rm $@.now || mv $@.now $@

# Ourselves: the Python packages as links to this tree, libsignal compiled; and the client library.
$(VENV)/installed: $(VENV)/modules pyproject.toml client/pyproject.toml $(LIBSIGNAL)
	@for c in "$$CXX" c++ g++ clang++; do [ -n "$$c" ] && command -v $$c >/dev/null && found=1; done; \
		[ -n "$$found" ] || { echo "no C++ compiler: on Debian and Ubuntu \`apt install g++\` first" >&2; exit 1; }
	@echo "building libsignal" >&2
	@# CMake generates files that a quote in its own path or in the build folder's breaks: then both lie elsewhere.
	@umask 022; case "$$PWD" in *[\"\\]*) \
		elsewhere=$$(mktemp -d) && cp -r $(VENV)/lib/python3*/site-packages/cmake $(VENV)/bin/ninja "$$elsewhere" || exit; \
		export CMAKE_EXECUTABLE="$$elsewhere/cmake/data/bin/cmake" CMAKE_MAKE_PROGRAM="$$elsewhere/ninja" CMAKE_GENERATOR=Ninja; \
		set -- -C "build-dir=$$elsewhere/build" ;; \
	esac; \
	$(PIP) install -qq --no-build-isolation --no-deps "$$@" --editable . \
		&& $(PIP) install -qq --no-build-isolation --no-deps --editable ./client; code=$$?; \
	rm -rf "$$elsewhere"; exit $$code
	@touch $@

# Node comes from a wheel. npm checks each package by the hash in package-lock.json.
%/node_modules/.package-lock.json: %/package-lock.json $(VENV)/dependencies
	@echo "installing npm's packages in $*" >&2
	@cd $* && npm ci --loglevel error >/dev/null
	@touch $@

$(PAGE)/dist/index.html: $(PAGE)/node_modules/.package-lock.json $(PAGE)/build.mjs $(wildcard $(PAGE)/src/*)
	@cd $(PAGE) && node build.mjs

always:

.PHONY: always help run page browser page-test stop tui status env logs $(LOGS:%=logs-%) build pin-images clean purge test slow-test e2e libsignal-test timescale-test docker-test \
	bench bench-mesh bench-ingest bench-signal bench-store bench-gateway bench-export bench-page bench-libsignal chaos fuzz fuzz-hour lint types gen docs readme
