#!/bin/sh
# Make .venv with everything in requirements/dev.lock and the four distributions in development mode.
# Works with uv and, without it, with the venv and pip that come with Python; from the same lock, hashes checked.
# PYTHON=/path/to/python names the interpreter to use. Called by `make setup`; running it again repairs.
set -eu
cd "$(dirname "$0")/.."

say() { echo "make setup: $*" >&2; }

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
  if [ -n "${PYTHON:-}" ]; then
    new_enough "$PYTHON" && { echo "$PYTHON"; return; }
    say "PYTHON=$PYTHON is no Python 3.11 or newer that runs here"
    return 1
  fi
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    new_enough "$candidate" && { echo "$candidate"; return; }
  done
  say "Python 3.11 or newer is needed; python3 here is $(python3 --version 2>/dev/null || echo missing)."
  say "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name one: make setup PYTHON=/path/to/python3.12"
  return 1
}

if [ -z "${FERRYMAN_SETUP_WITHOUT_UV:-}" ] && uv --version >/dev/null 2>&1; then
  with_uv=yes
else
  with_uv=
fi

venv=.venv/bin/python
if ! new_enough "$venv"; then
  python=$(find_python)
  if [ -n "$with_uv" ]; then
    say "making .venv with $("$python" --version) and uv"
    uv venv --quiet --clear --python "$(command -v "$python")" .venv
  else
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      release=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
      say "$python has no venv or ensurepip module. Debian, Ubuntu: apt install python3-venv"
      say "(for a Python beside the system's own: apt install $release-venv)"
      exit 1
    fi
    say "making .venv with $("$python" --version) and pip"
    "$python" -m venv --clear .venv
  fi
fi

if [ -n "$with_uv" ]; then
  install() { uv pip install --quiet --python "$venv" "$@"; }
else
  "$venv" -m pip --version >/dev/null 2>&1 || "$venv" -m ensurepip >/dev/null
  install() { "$venv" -m pip --disable-pip-version-check --no-input --quiet install "$@"; }
fi
say "installing requirements/dev.lock"
install --require-hashes --requirement requirements/dev.lock
# Built with what the lock has just installed; nothing else is fetched.
install --no-deps --no-build-isolation \
  --editable protos --editable client --editable agent --editable coordinator
date > .venv/.ready
