#!/usr/bin/env bash
# Installs OpenVINO GenAI from PyPI into a virtual environment of its own, as a peer for bench/cpu-vs-peers.ts. Where it
# cannot be, it says so and succeeds: the bench then leaves that peer out.
# Usage: bench/peers/install-openvino.sh [FOLDER]
set -euo pipefail
folder=${1:-build/openvino}
if [ -e "$folder/installed" ]; then exit 0; fi
mkdir -p "$folder"
if python3 -m venv "$folder/venv" && "$folder/venv/bin/pip" install --quiet openvino-genai==2026.4.1.0; then
  touch "$folder/installed"
else
  echo "OpenVINO GenAI is not measured: it needs Python 3.10 or newer with venv, x86-64, and PyPI" >&2
fi
