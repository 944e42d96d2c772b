#!/usr/bin/env bash
# Builds llama.cpp's llama-server for this machine, as a peer for bench/http-vs-llama.ts. Its source comes whole inside the
# source package of llama-cpp-python on PyPI. Needs pip, cmake and a C++ compiler; takes some minutes.
# Usage: bench/peers/build-llama-server.sh [FOLDER]     prints the path of the server
set -euo pipefail
version=0.3.36
folder=${1:-build/llama.cpp}
mkdir -p "$folder"
cd "$folder"
if [ ! -d source ]; then
  python3 -m venv tools >&2
  tools/bin/pip install --quiet scikit-build-core[pyproject] >&2
  tools/bin/pip download --quiet --no-deps --no-binary :all: --no-build-isolation "llama-cpp-python==$version" >&2
  mkdir source.partial
  tar -xzf llama_cpp_python-$version.tar.gz -C source.partial --strip-components=1
  mv source.partial source
fi
cmake -S source/vendor/llama.cpp -B out -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >&2
cmake --build out --target llama-server --parallel "$(nproc)" >&2
realpath out/bin/llama-server
