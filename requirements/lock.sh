#!/bin/sh
# Write the hash-locked sets from the needs in the pyproject.toml files. Versions already locked stay; pass
# --upgrade, or --upgrade-package NAME, to let them rise. Called by `make lock`; needs uv and the network.
set -eu
cd "$(dirname "$0")/.."
if ! uv --version >/dev/null 2>&1; then
  echo "make lock: uv is needed to resolve for all platforms at once (pipx install uv)" >&2
  exit 1
fi

compile() { # compile OUTPUT ARGUMENT...
  out=$1
  shift
  # No addresses and no header with this machine's command line: a lock must mean the same everywhere.
  UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --universal --python-version 3.11 \
    --generate-hashes --no-emit-index-url --no-header --no-progress \
    --no-emit-package ferryman-protos --output-file "$out" "$@" >/dev/null
}

compile requirements/dev.lock protos/pyproject.toml client/pyproject.toml agent/pyproject.toml \
  coordinator/pyproject.toml --group pyproject.toml:dev "$@"
# The other two follow the first, so that one version of each library is in use.
compile requirements/coordinator.lock protos/pyproject.toml coordinator/pyproject.toml \
  --constraint requirements/dev.lock "$@"
compile requirements/agent.lock protos/pyproject.toml agent/pyproject.toml \
  --constraint requirements/dev.lock "$@"
