# The only menu. `make` lists it. Needs Python 3.11 or newer and make; everything else it fetches itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up
CLOUDS := .venv-clouds
AUDIT := .venv-audit
PEERS := .venv-peers
DATA ?=
SEED ?= $(strip $(shell od -An -N4 -tu4 /dev/urandom))
MINUTES ?= 30
DOCUMENTS ?= 200
CLUSTER_PACKAGES := haproxy
OPS_PACKAGES := chromium chromium-driver iproute2 pgbouncer postgresql-15 prometheus prometheus-alertmanager python3-venv \
  strace syslog-ng-core syslog-ng-mod-http systemd $(CLUSTER_PACKAGES)
DIST ?= dist
AUDIT_FLAGS ?=
LOCK_FLAGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup clouds auditing peers demo cluster test test-processes faults storm hostile isolation fuzz test-ops test-kubernetes check format types lint imports licences \
  secrets audit sbom docs docs-reference monitoring eval drill bench bench-peers bench-flame bench-scale bench-recall bench-churn soak lock build package-test clean

help:  ## This list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# Installs packages of Debian's that are missing, or says so.
define debian
	@dpkg -s $(1) >/dev/null 2>&1 || { test "$$(id -u)" = 0 && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $(1); } || \
	  { echo "These packages of Debian are missing: $(1). Install them, or run this as root."; exit 2; }
endef

setup: $(STAMP)  ## Create .venv with S4 and everything it needs, hashes checked

$(STAMP): requirements/dev.lock pyproject.toml requirements/runtime.in
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

clouds: $(CLOUDS)/.set-up  ## Create .venv-clouds, with what holds the templates of deploy/ against the clouds' rules

$(CLOUDS)/.set-up: requirements/clouds.lock
	test -x $(CLOUDS)/bin/python || $(PYTHON) -m venv $(CLOUDS)
	$(CLOUDS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/clouds.lock
	touch $@

auditing: $(AUDIT)/.set-up  ## Create .venv-audit, with what looks for vulnerabilities and secrets and writes the bill of materials

$(AUDIT)/.set-up: requirements/audit.lock
	test -x $(AUDIT)/bin/python || $(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/audit.lock
	touch $@

peers: $(PEERS)/.set-up  ## Create .venv-peers, with what S4 is measured against

$(PEERS)/.set-up: requirements/peers.lock
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/peers.lock
	touch $@

demo: setup  ## From nothing to found passages: start S4, upload samples/, search. S4_DEMO_KEEP=1 leaves it running
	$(BIN)/python samples/demo.py

cluster: setup  ## S4 as on many machines: haproxy, three replicas, two workers, PostgreSQL, Redis, SeaweedFS, until Ctrl-C
	$(call debian,$(CLUSTER_PACKAGES))
	$(BIN)/python deploy/cluster/cluster.py up

# Three files at a time: they often wait. Each third has servers of its own.
test: setup  ## What S4 does, with real servers, all of PyPI
	$(BIN)/python -m pytest --numprocesses 3 --dist loadscope --no-loadscope-reorder

test-processes: setup  ## Whole processes: every example of help and guides, isolation, hostile files, and all that kills, cuts off and restarts
	$(BIN)/python -m pytest -m "processes and not long and not fuzz" --numprocesses 3 --dist loadscope --no-loadscope-reorder

# Most of a case is waiting for a lease to run out: six at a time keep two cores busy, each with servers of its own.
faults: setup  ## Every crash, error and stop at every step, on every database and store: an hour; with MINUTES=…: storm
ifeq ($(origin MINUTES), command line)
	$(MAKE) --no-print-directory storm
else
	$(BIN)/python -m pytest -v -m long --ignore tests/hostile --ignore tests/isolation --numprocesses 6
endif

storm: setup  ## One fault after the other between all parts, under load, drawn from a seed: make storm SEED=7 MINUTES=5
	STORM_SEED=$(SEED) STORM_MINUTES=$(if $(filter command line,$(origin MINUTES)),$(MINUTES),1) \
	  $(BIN)/python -m pytest -s -m storm tests/storm

hostile: setup  ## Every hostile file, those too that take long: some ten minutes
	$(BIN)/python -m pytest -m "long or not long" tests/hostile

isolation: setup  ## The isolation matrix, and every mutant that it must find out: some minutes
	$(BIN)/python -m pytest -v -m "long or not long" tests/isolation

fuzz: setup  ## The server against its OpenAPI document, with many examples and another seed each time: minutes
	$(BIN)/python -m pytest -m fuzz

test-ops: setup clouds auditing  ## Tests with Debian's Chromium, systemd, PostgreSQL 15, PgBouncer, haproxy, Prometheus, syslog-ng, strace; installed when it may
	$(call debian,$(OPS_PACKAGES))
	$(BIN)/python -m pytest -m ops

test-kubernetes: setup clouds  ## The manifests of deploy/kubernetes: against the API's schemas, and run. Needs kubectl 1.27 or newer, which Debian 12 has not
	$(if $(shell command -v kubectl),,$(call debian,kubernetes-client))
	@kubectl kustomize deploy/kubernetes/overlays/cluster >/dev/null || { echo "kubectl 1.27 or newer is needed: Debian 13 has it, Debian 12 has not."; exit 2; }
	$(call debian,$(OPS_PACKAGES))
	$(BIN)/python -m pytest -m kubernetes

check: lint types imports licences secrets  ## Formatting, lint and static security, types, import rules, licences, secrets

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy
	MYPYPATH=benchmarks:src:. $(BIN)/mypy --explicit-package-bases benchmarks/*.py

imports: setup
	$(BIN)/lint-imports

licences: setup  ## Everything that is locked is under a permissive or weak-copyleft licence
	$(BIN)/python requirements/licences.py requirements/runtime.lock requirements/dev.lock

secrets: auditing  ## No tracked file holds what looks like a credential
	$(AUDIT)/bin/python requirements/secrets_gate.py

audit: auditing  ## Known vulnerabilities of all that is locked, in dist/audit.md and .json; fails when it could audit nothing
	$(AUDIT)/bin/python requirements/audit.py --out $(DIST) $(AUDIT_FLAGS) \
	  requirements/runtime.lock requirements/dev.lock requirements/clouds.lock requirements/audit.lock requirements/peers.lock

sbom: auditing  ## Bill of materials of what S4 runs with, CycloneDX, in dist/sbom.json, held against the schema
	mkdir -p $(DIST)
	$(AUDIT)/bin/python requirements/sbom.py $(DIST)/sbom.json

format: setup  ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup  ## The documentation as a site, in build/site; fails at links that lead nowhere
	$(BIN)/python docs/site/build.py

docs-reference: setup  ## Write the generated pages of docs/reference anew
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python docs/reference/coverage.py

monitoring: setup  ## Write the files of deploy/monitoring anew: rules, alerts, dashboards; RUNBOOKS=https://… where docs/runbooks is
	$(BIN)/python -m deploy.monitoring.generate $(if $(RUNBOOKS),--runbooks $(RUNBOOKS))

eval: setup  ## Retrieval quality: make eval DATA=path/to/cranfield
	@test -n "$(DATA)" || { echo "Say where the collection is: make eval DATA=path/to/cranfield"; exit 2; }
	$(BIN)/python benchmarks/evaluate.py $(DATA)

drill: setup  ## Restore a backup and measure it, in a directory and on a bucket with PostgreSQL: make drill DOCUMENTS=10000
	$(BIN)/python benchmarks/drill.py --documents $(DOCUMENTS)

bench: setup  ## Speed, memory, size against their budgets; parts: make bench PARTS="suffering memory"
	$(BIN)/python benchmarks/bench.py $(PARTS)
	$(BIN)/python benchmarks/footprint.py --check

bench-peers: setup peers  ## S4 beside Chroma, pgvector and LanceDB, on the same chunks and in turn. Half an hour
	$(BIN)/python benchmarks/peers.py --chroma $(PEERS)/bin/chroma

bench-flame: setup peers  ## Flame graphs of searches into benchmarks/flames, and which threads take how much. Two minutes
	$(BIN)/python benchmarks/flame.py --py-spy $(PEERS)/bin/py-spy

bench-scale: setup  ## Many machines: a far bucket, replicas, requests of each operation, idle tenants, rolling. Half an hour
	$(call debian,$(CLUSTER_PACKAGES))
	$(BIN)/python benchmarks/bench.py scale replicas operations crowd machines rolling

bench-recall: setup  ## Recall of approximate search on 100,000 real passages, embedded once into a cache, and a million synthetic vectors
	nice -n 10 $(BIN)/python benchmarks/real_text.py
	$(BIN)/python benchmarks/recall.py

bench-churn: setup  ## Ten thousand uploads and five thousand deletes on one table; fails when space, pieces or memory are not bounded
	$(BIN)/python benchmarks/churn.py

soak: setup  ## Mixed load for a while; fails when memory, descriptors or threads grow: make soak MINUTES=30
	$(BIN)/python benchmarks/soak.py --minutes $(MINUTES)

lock: setup  ## Compile requirements/*.lock anew
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/runtime.in --output-file requirements/runtime.lock
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/dev.in --constraints requirements/runtime.lock \
	  --output-file requirements/dev.lock
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/clouds.in --output-file requirements/clouds.lock
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/build.in --constraints requirements/dev.lock \
	  --output-file requirements/build.lock
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/audit.in --output-file requirements/audit.lock
	$(BIN)/uv pip compile --quiet $(LOCK_FLAGS) --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  --custom-compile-command 'make lock' requirements/peers.in --output-file requirements/peers.lock

build: setup  ## Wheels and source distributions of S4 and of its client alone, in dist/
	$(BIN)/python -m hatchling build -d "$(abspath $(DIST))"
	cd packaging/client && "$(CURDIR)/$(BIN)/python" -m hatchling build -d "$(abspath $(DIST))"

package-test: setup  ## Build them, install them in clean environments, and use them. Needs the package index
	$(BIN)/python -m pytest -m package tests/package

clean:  ## Remove what was made
	rm -rf $(VENV) $(CLOUDS) $(AUDIT) $(PEERS) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
