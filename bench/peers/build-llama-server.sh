#!/usr/bin/env bash
# Builds llama.cpp for this machine, as a peer: bench/peers/llama-peer.cc over its library for bench/cpu-vs-peers.ts,
# llama-server for bench/http-vs-llama.ts, and its own llama-bench and llama-batched-bench. Its source comes whole inside
# the source package of llama-cpp-python on PyPI. Needs pip, cmake and a C++ compiler; takes 5 minutes on two idle cores.
# Usage: bench/peers/build-llama-server.sh [FOLDER [TARGET...]]     prints the folder of the programs
# TARGET: llama (the library and llama-peer alone, in half the time), llama-server, llama-bench, llama-batched-bench
set -euo pipefail
version=0.3.36
peer=$(realpath "$(dirname "$0")")/llama-peer.cc
folder=${1:-build/llama.cpp}
targets=("${@:2}")
if [ ${#targets[@]} -eq 0 ]; then targets=(llama llama-server llama-bench llama-batched-bench); fi
mkdir -p "$folder"
cd "$folder"
if [ ! -d source ]; then
  python3 -m venv tools >&2
  tools/bin/pip install --quiet scikit-build-core[pyproject] >&2
  tools/bin/pip download --quiet --no-deps --no-binary :all: --no-build-isolation "llama-cpp-python==$version" >&2
  mkdir -p source.partial
  tar -xzf llama_cpp_python-$version.tar.gz -C source.partial --strip-components=1
  mv source.partial source
fi
cpp=source/vendor/llama.cpp
cmake -S $cpp -B out -DCMAKE_BUILD_TYPE=Release -DGGML_NATIVE=ON -DLLAMA_CURL=OFF \
  -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF >&2
cmake --build out --target "${targets[@]}" --parallel "$(nproc)" >&2
if [[ " ${targets[*]} " == *" llama "* ]]; then
  ${CXX:-g++} -std=c++17 -O2 -Wall -Wextra -DPEER_VERSION="\"of llama-cpp-python $version\"" -I$cpp/include \
    -I$cpp/ggml/include -o out/bin/llama-peer "$peer" -Lout/bin -lllama -lggml -lggml-base '-Wl,-rpath,$ORIGIN' >&2
fi
realpath out/bin
