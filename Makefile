# `make help` lists the targets. CI runs the same targets.
.DEFAULT_GOAL := help
CARGO := cargo
SHARED := $(or $(NEEDLEDROP_SHARED),../shared)
# Most tests spend their time waiting for a daemon, a lease or a node, so two tests run per core.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))

help: ## Print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: ## Build the release binary
	$(CARGO) build --release --locked

dist: ## Build the binary for packages and images: slower to build, faster to load files
	$(CARGO) build --profile dist --locked

check: fmt-check clippy doc deny ## Check format, lints, docs and licences

fmt-check:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items

deny: ## Check licences, bans and sources of the dependencies, if cargo-deny is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	  $(CARGO) fetch --quiet --locked && $(CARGO) deny --offline --locked check licenses bans sources; \
	else echo "deny: NOT RUN, cargo-deny is not installed (cargo install --locked cargo-deny)"; \
	  [ -z "$(CI)" ] || echo "::warning title=make check::licences, bans and sources were NOT checked: cargo-deny is not installed"; fi

test: real-files ## Run the tests: unit tests, SQLite, one real Cassandra node, the real files, the daemon, short crash runs
	tests/cassandra/node with $(CARGO) test --locked

coverage: real-files ## Measure the share of lines that `make test` reaches, at least 85 % (needs cargo install --locked cargo-llvm-cov; rustup component add llvm-tools)
	tests/cassandra/node with $(CARGO) llvm-cov --locked --summary-only --fail-under-lines 85 --ignore-filename-regex 'src/(store/suite|source/suite|pipeline/fuzz)/'

test-all: test release-tests torture test-cluster test-monitoring test-service test-docker ## Run the longer tests too: release build, more kills, a cluster, Prometheus, systemd, Docker

test-cluster: ## Test with three real Cassandra nodes that are killed and stopped, and with login and TLS
	tests/cassandra/node provision
	NEEDLEDROP_TEST_CLUSTER=1 $(CARGO) test --locked --test cluster -- --nocapture

test-monitoring: ## Test metrics, alerts and dashboards with a real Prometheus and real daemons
	tests/monitoring/provision
	tests/monitoring/provision python grafana/build/build.py --check
	NEEDLEDROP_TEST_PROMETHEUS=1 tests/cassandra/node with $(CARGO) test --locked --test monitoring

test-docker: real-files ## Test the image and docker-compose.yaml on a real Docker; reports images that are replaced by stand-ins
	NEEDLEDROP_TEST_DOCKER=1 tests/docker/with $(CARGO) test --locked --test docker -- --nocapture

test-service: ## Test the Debian package on machines with a real systemd, in Docker
	NEEDLEDROP_TEST_SERVICE=1 tests/service/with $(CARGO) test --locked --test systemd -- --nocapture

deb: ## Build the Debian package into target/debian (needs cargo install --locked cargo-deb cargo-auditable cargo-cyclonedx)
	deploy/deb/build

pictures: dist ## Draw docs/pictures from the metrics of a real load on a real Cassandra node (3 minutes)
	tests/cassandra/node provision
	tests/monitoring/provision plot benches/pictures/load.py $(or $(CARGO_TARGET_DIR),target)/pictures/data

dashboards: ## Generate grafana/dashboards from grafana/build
	tests/monitoring/provision python grafana/build/build.py

release-tests:
	tests/cassandra/node with $(CARGO) test --release --locked

torture: real-files fuzz every-step ## Kill the daemon 500 times at random moments (NEEDLEDROP_KILLS, NEEDLEDROP_SEED); also runs every-step and fuzz
	NEEDLEDROP_KILLS=$(or $(NEEDLEDROP_KILLS),500) $(CARGO) test --locked --test crash -- --nocapture

every-step: ## Kill runs at every durable step, on SQLite and a real Cassandra node, or fail them at every write (`make test` does some steps)
	NEEDLEDROP_EVERY_STEP=1 $(CARGO) test --locked --test crash --test after --test replaced -- any_durable_step any_step the_next_run --nocapture
	NEEDLEDROP_EVERY_STEP=1 tests/cassandra/node with $(CARGO) test --locked --test cassandra -- crash:: killed ends_at_any any_step never_counted late:: --nocapture

fuzz: ## Test with random bytes for the reader, random folder changes and random writer actions: 5 minutes each (NEEDLEDROP_FUZZ_SECONDS, NEEDLEDROP_MODEL_SECONDS, NEEDLEDROP_SEED)
	NEEDLEDROP_FUZZ_SECONDS=$(or $(NEEDLEDROP_FUZZ_SECONDS),300) $(CARGO) test --locked --lib fuzz -- --nocapture
	NEEDLEDROP_MODEL_SECONDS=$(or $(NEEDLEDROP_MODEL_SECONDS),300) $(CARGO) test --locked --test folder_model -- --nocapture
	NEEDLEDROP_MODEL_SECONDS=$(or $(NEEDLEDROP_MODEL_SECONDS),300) tests/cassandra/node with $(CARGO) test --locked --test cassandra writer -- --nocapture

real-files:
	@if [ ! -d "$(SHARED)/events" ]; then \
	  echo "NOTE: $(SHARED)/events does not exist, so tests with the real files cannot run (set NEEDLEDROP_SHARED to their folder)"; \
	  [ -z "$(CI)" ] || exit 1; fi

bench: ## Measure speed, latency and memory, and compare them with their goals
	$(CARGO) bench --locked --bench parse --bench sqlite --bench drop --bench memory --bench answers --bench many --bench ledger --bench verify

bench-cassandra: ## Measure on one real Cassandra node, and compare with other ways to load it
	$(CARGO) bench --locked --bench cassandra --bench newest

bench-peers: ## Like bench-cassandra, also with cqlsh COPY and DSBulk (downloads both)
	benches/peers/peers provision
	$(CARGO) bench --locked --bench cassandra -- --peers

sample: ## Generate the sample files in data/event_data
	$(CARGO) run --release --locked -- sample data/event_data

clean: ## Remove all build output
	$(CARGO) clean

.PHONY: help build dist check fmt-check clippy doc deny test coverage test-all test-cluster test-monitoring test-service test-docker deb pictures dashboards release-tests torture every-step fuzz real-files bench bench-cassandra bench-peers sample clean
