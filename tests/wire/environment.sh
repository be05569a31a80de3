#!/usr/bin/env bash
# Gives the tests a Python with pinned gRPC and WebSocket packages, in
# ${XDG_CACHE_HOME:-~/.cache}/audit-agent/wire, made once. Packages come from the index that pip is configured for.
# Progress goes to stderr; stdout is the path of the Python. Needs: python3 with venv.
set -euo pipefail

readonly PACKAGES=(grpcio==1.85.1 websockets==17.4)
readonly KEY=$(sha256sum <<<"${PACKAGES[*]}" | cut -c 1-16)
readonly CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/audit-agent/wire
readonly VENV=$CACHE/venv-$KEY
export PIP_DISABLE_PIP_VERSION_CHECK=1

mkdir -p "$CACHE"
exec 9>"$CACHE/lock"
flock 9
if [ ! -e "$VENV/.complete" ]; then
  echo "wire: making a Python environment with ${PACKAGES[*]}" >&2
  python3 -m venv "$VENV" >&2 || { echo "wire: python3 cannot make a venv; install python3-venv" >&2; exit 1; }
  "$VENV/bin/pip" install --quiet "${PACKAGES[@]}" >&2
  touch "$VENV/.complete"
fi
echo "$VENV/bin/python"
