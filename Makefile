# Every routine command. Bare `make` lists them.
PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "  %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: protos
protos: ## Generate the gRPC modules and stubs from protos/ferryman/v1/*.proto
	@$(PYTHON) protos/generate.py

.PHONY: proto-breaking
proto-breaking: ## Compare the wire contract with the recorded one (protos/v1.binpb)
	@test -f protos/v1.binpb || { \
	  echo "make proto-breaking: protos/v1.binpb is missing: nothing is recorded to compare with."; \
	  echo "  Record the contract as it is now:  .venv/bin/buf build -o protos/v1.binpb"; \
	  exit 1; }
	.venv/bin/buf breaking --against protos/v1.binpb
