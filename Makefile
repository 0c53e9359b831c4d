bench: ## Speed, latency and memory against their goals
	cargo bench --bench parse --bench sqlite --bench drop --bench memory

.PHONY: bench
