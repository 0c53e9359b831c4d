# The menu. CI calls it too: what is green here is green there.
.DEFAULT_GOAL := help
CARGO := cargo
SHARED := $(or $(NEEDLEDROP_SHARED),../shared)
# Most tests wait for a daemon, a lease or a node: twice as many as cores run at a time.
export RUST_TEST_THREADS ?= $(shell echo $$((2 * $$(nproc 2>/dev/null || echo 2))))

help: ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: ## The release binary
	$(CARGO) build --release --locked

dist: ## The binary of packages and images: takes longer to build, and loads faster
	$(CARGO) build --profile dist --locked

check: fmt-check clippy doc deny ## Format, lints, docs, licences

fmt-check:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy --all-targets --locked -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --no-deps --locked --document-private-items

deny: ## Licences, bans and sources of what we depend on, where cargo-deny is installed
	@if $(CARGO) deny --version >/dev/null 2>&1; then \
	  $(CARGO) deny --offline --locked check licenses bans sources; \
	else echo "deny: NOT RUN, cargo-deny is not installed (cargo install --locked cargo-deny)"; \
	  [ -z "$(CI)" ] || echo "::warning title=make check::licences, bans and sources were NOT checked: cargo-deny is not installed"; fi

test: real-files ## All tests: unit, SQLite, one real Cassandra node, the real files, the daemon, short crash runs
	tests/cassandra/node with $(CARGO) test --locked

coverage: real-files ## The share of lines that the tests of `make test` reach, at least 85 % (cargo install --locked cargo-llvm-cov; rustup component add llvm-tools)
	tests/cassandra/node with $(CARGO) llvm-cov --locked --summary-only --fail-under-lines 85 --ignore-filename-regex 'src/(store/suite|pipeline/fuzz)/'

test-all: test release-tests torture test-cluster test-monitoring test-service test-docker ## What takes longer as well: release build, more kills, a cluster, Prometheus, systemd, Docker

test-cluster: ## Three real Cassandra nodes, killed and stopped; a node with login and TLS
	tests/cassandra/node provision
	NEEDLEDROP_TEST_CLUSTER=1 $(CARGO) test --locked --test cluster -- --nocapture

test-monitoring: ## A real Prometheus on real daemons, alerts and dashboards
	tests/monitoring/provision
	tests/monitoring/provision python grafana/build/build.py --check
	NEEDLEDROP_TEST_PROMETHEUS=1 tests/cassandra/node with $(CARGO) test --locked --test monitoring

test-docker: real-files ## The image and the composition on a real Docker; what is stood in for is said
	NEEDLEDROP_TEST_DOCKER=1 tests/docker/with $(CARGO) test --locked --test docker -- --nocapture

test-service: ## The Debian package on machines with a real systemd, in Docker
	NEEDLEDROP_TEST_SERVICE=1 tests/service/with $(CARGO) test --locked --test systemd -- --nocapture

deb: ## The Debian package, into target/debian (cargo install --locked cargo-deb cargo-auditable cargo-cyclonedx)
	deploy/deb/build

pictures: dist ## Draw docs/pictures from the Prometheus of a real load on a real Cassandra node (3 minutes)
	tests/cassandra/node provision
	tests/monitoring/provision plot benches/pictures/load.py $(or $(CARGO_TARGET_DIR),target)/pictures/data

dashboards: ## Write grafana/dashboards again from grafana/build
	tests/monitoring/provision python grafana/build/build.py

release-tests:
	tests/cassandra/node with $(CARGO) test --release --locked

torture: real-files fuzz every-step ## 500 kills at random moments (NEEDLEDROP_KILLS, NEEDLEDROP_SEED), every-step, and fuzz
	NEEDLEDROP_KILLS=$(or $(NEEDLEDROP_KILLS),500) $(CARGO) test --locked --test crash -- --nocapture

every-step: ## Kill runs on a real Cassandra node at every durable step, or cut them off at every write (`make test`: at some)
	NEEDLEDROP_EVERY_STEP=1 tests/cassandra/node with $(CARGO) test --locked --test cassandra -- crash:: killed ends_at_any late:: --nocapture

fuzz: ## Random bytes for the reader, random stories of a folder and of a writer: 5 minutes each (NEEDLEDROP_FUZZ_SECONDS, NEEDLEDROP_MODEL_SECONDS, NEEDLEDROP_SEED)
	NEEDLEDROP_FUZZ_SECONDS=$(or $(NEEDLEDROP_FUZZ_SECONDS),300) $(CARGO) test --locked --lib fuzz -- --nocapture
	NEEDLEDROP_MODEL_SECONDS=$(or $(NEEDLEDROP_MODEL_SECONDS),300) $(CARGO) test --locked --test folder_model -- --nocapture
	NEEDLEDROP_MODEL_SECONDS=$(or $(NEEDLEDROP_MODEL_SECONDS),300) tests/cassandra/node with $(CARGO) test --locked --test cassandra writer -- --nocapture

real-files:
	@if [ ! -d "$(SHARED)/events" ]; then \
	  echo "NOTE: $(SHARED)/events is not there: tests on the real files cannot run (NEEDLEDROP_SHARED names another place)"; \
	  [ -z "$(CI)" ] || exit 1; fi

bench: ## Speed, latency and memory against their goals
	$(CARGO) bench --locked --bench parse --bench sqlite --bench drop --bench memory --bench answers --bench many --bench ledger

bench-cassandra: ## The same on one real Cassandra node, beside what else could load it
	$(CARGO) bench --locked --bench cassandra

bench-peers: ## With cqlsh COPY and DSBulk, which it fetches
	benches/peers/peers provision
	$(CARGO) bench --locked --bench cassandra -- --peers

sample: ## Generate the shipped sample again
	$(CARGO) run --release --locked -- sample data/event_data

clean: ## Remove what was built
	$(CARGO) clean

.PHONY: help build dist check fmt-check clippy doc deny test coverage test-all test-cluster test-monitoring test-service test-docker deb pictures dashboards release-tests torture every-step fuzz real-files bench bench-cassandra bench-peers sample clean
