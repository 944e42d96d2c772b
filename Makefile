# ScaleLLM. `make help` lists the targets. Every target installs or builds what it needs first.
.DEFAULT_GOAL := build
SHELL := /bin/bash
MAKEFLAGS += --jobs=$(shell nproc)
BUN := node_modules/.bin/bun
CXX ?= g++
# A step prints one short line; `make V=1` prints its whole command instead.
V ?= 0
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),true,printf '  %-8s %s\n' $(1) '$(2)')

# ------------------------------------------------------------------------------------------------ native code
# The instruction set of a file is its name's suffix; everything else is baseline and runs anywhere.
ARCH := $(shell uname -m)
CXXFLAGS := -std=c++20 -O3 -g1 -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -ffp-contract=off \
  -Wall -Wextra -Werror -Ikernels/include -Ikernels -pthread -MMD -MP
FLAGS_avx2 := -mavx2 -mfma -mf16c -mbmi2
# GCC 12's own AVX-512 headers trip -W[maybe-]uninitialized (GCC bug 105593).
FLAGS_avx512 := $(FLAGS_avx2) -Wno-uninitialized -Wno-maybe-uninitialized -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16
FLAGS_amx := $(FLAGS_avx512) -mamx-tile -mamx-int8
FLAGS_neon := -march=armv8.2-a+dotprod+fp16
ALL_ISAS := avx2 avx512 amx neon
ISAS := $(if $(filter x86_64,$(ARCH)),$(filter-out neon,$(ALL_ISAS)),neon)
ALL_CPU_SOURCES := $(sort $(wildcard kernels/common/*.cc kernels/cpu/*.cc kernels/cpu/*/*.cc))
ISA_SOURCES := $(foreach isa,$(ALL_ISAS),$(filter %_$(isa).cc,$(ALL_CPU_SOURCES)))
CPU_SOURCES := $(filter-out $(ISA_SOURCES),$(ALL_CPU_SOURCES)) $(foreach isa,$(ISAS),$(filter %_$(isa).cc,$(ALL_CPU_SOURCES)))
isa_of = $(strip $(foreach isa,$(ALL_ISAS),$(if $(filter %_$(isa).cc,$(1)),$(isa))))
objects_in = $(patsubst kernels/%.cc,$(1)/%.o,$(CPU_SOURCES))
ASAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

define object_rule
$(1)/%.o: kernels/%.cc
	@mkdir -p $$(@D)
	@$$(call say,CC,$$<)
	$$(Q)$$(CXX) $$(CXXFLAGS) $(2) $$(FLAGS_$$(call isa_of,$$<)) -c $$< -o $$@
endef
$(eval $(call object_rule,build/native,))
$(eval $(call object_rule,build/asan,$(ASAN_FLAGS)))
$(eval $(call object_rule,build/aarch64,))

build/libscalellm_cpu.so: $(call objects_in,build/native)
	@$(call say,LINK,$@)
	$(Q)$(CXX) -shared -pthread -static-libstdc++ -static-libgcc -Wl,--no-undefined -o $@.partial $(filter %.o %.cc,$^)
	@mv $@.partial $@ # a running server keeps the file it opened

# Toy arithmetic over kernels/common, for tests of what all backends share.
build/libscalellm_second.so: $(filter build/native/common/%,$(call objects_in,build/native)) $(wildcard test/kernels/second-backend/*)
	@$(call say,LINK,$@)
	$(Q)$(CXX) $(filter-out -MMD -MP,$(CXXFLAGS)) -shared -static-libstdc++ -static-libgcc -Wl,--no-undefined -o $@.partial $(filter %.o %.cc,$^)
	@mv $@.partial $@

build/asan/kernel_check: $(call objects_in,build/asan) $(wildcard test/kernels/native/*)
	@$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) $(ASAN_FLAGS) -o $@ $(filter %.o %.cc,$^)

build/aarch64/kernel_check: $(call objects_in,build/aarch64) $(wildcard test/kernels/native/*)
	@$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) -static -o $@ $(filter %.o %.cc,$^)

build/linear_bench: $(call objects_in,build/native) bench/kernels/linear_bench.cc
	@$(call say,LINK,$@)
	$(Q)$(CXX) $(CXXFLAGS) -o $@ $^

-include $(patsubst %.o,%.d,$(foreach dir,native asan aarch64,$(call objects_in,build/$(dir))))

# ------------------------------------------------------------------------------------------------ everything else
DEPS := node_modules/.package-lock.json
MODEL := models/SmolLM2-135M-Instruct.Q4_1.gguf
SOURCES = $(shell find src -name '*.ts' -not -path '*/.*')
# Workers are entry points of their own; Bun finds them in the binary by their path.
ENTRYPOINTS := src/main.ts src/engine/worker.ts src/text/tokenizer-worker.ts

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  %-19s %s\n", $$1, $$2}'

# Of all packages only bun needs its install script, which links the binary that came with it. Packages that ask for a newer
# node than Debian's run in bun; npm would warn of them.
$(DEPS): package.json package-lock.json
	@$(call say,NPM,node_modules)
	$(Q)npm ci --ignore-scripts --no-fund --no-audit --loglevel=error
	$(Q)node node_modules/bun/install.js
	@touch $@

.PHONY: deps
deps: $(DEPS) ## Install the pinned packages, bun included

# Made from what the bundler takes in, so after every change of a source.
NOTICES := build/third-party-notices.txt
LICENSES := $(wildcard src/licenses/*.* src/licenses/*/*)
$(NOTICES): $(DEPS) build/libscalellm_cpu.so $(MODEL) package.json $(SOURCES) $(LICENSES)
	@$(call say,NOTICES,$@)
	$(Q)$(BUN) src/licenses/notices.ts

.PHONY: sbom
sbom: $(DEPS) build/libscalellm_cpu.so $(MODEL) ## Write the binary's parts to build/sbom.cdx.json (CycloneDX 1.6)
	$(BUN) src/licenses/sbom.ts build/sbom.cdx.json

dist/scalellm: $(DEPS) build/libscalellm_cpu.so $(MODEL) $(NOTICES) package.json $(SOURCES)
	@mkdir -p dist
	@$(call say,BUNDLE,$@)
	$(Q)$(BUN) build --compile --no-compile-autoload-bunfig --no-compile-autoload-dotenv --minify-whitespace --minify-syntax \
	  --outfile $@ $(ENTRYPOINTS) >build/bundle.log 2>&1 || { cat build/bundle.log; exit 1; }

.PHONY: build
build: dist/scalellm ## Build dist/scalellm: server, kernels and bundled model in one file

.PHONY: serve
serve: build ## Serve the bundled model (ARGS="--port 9000" for options)
	dist/scalellm serve $(ARGS)

.PHONY: native
native: build/libscalellm_cpu.so build/libscalellm_second.so ## Build the CPU kernels alone, and the backend for tests

.PHONY: go-tools
go-tools: $(DEPS) ## Build h2spec and Connect's conformance suite, where Go is installed
	@test/conformance/build-go-tools

.PHONY: h2spec
h2spec: go-tools ## HTTP/2 as its specification has it, on both ports (needs Go)
	$(BUN) test --timeout 120000 test/conformance/h2spec.test.ts

.PHONY: conformance-connect
conformance-connect: go-tools ## Connect's conformance suite against our Connect, gRPC-Web and gRPC (needs Go)
	$(BUN) test test/conformance/connect-conformance.test.ts

.PHONY: test
test: build native check test-asan go-tools ## Run every test; the last line counts them
	BUN=$(BUN) test/run-all

.PHONY: test-asan
test-asan: build/asan/kernel_check ## Run the kernels' own checks under AddressSanitizer and UBSan
	build/asan/kernel_check

.PHONY: test-node18
test-node18: ## Install and start the tools with Debian 12's node and npm (needs the registry)
	test/with-node18

.PHONY: test-neon
test-neon: ## The same checks with the NEON kernels, emulated (needs Debian's g++-aarch64-linux-gnu and qemu-user)
	$(MAKE) ARCH=aarch64 CXX=aarch64-linux-gnu-g++ build/aarch64/kernel_check
	qemu-aarch64 build/aarch64/kernel_check $(ARGS)

.PHONY: sim
sim: $(DEPS) ## Simulate the engine under 10,000 seeds (ARGS="--seed 7" repeats one)
	$(BUN) test/sim/run.ts --seeds 10000 $(ARGS)

.PHONY: sim-aborts
sim-aborts: $(DEPS) ## Abort 1,000,000 simulated requests and look for what is left
	$(BUN) test/sim/aborts.ts 1000000

.PHONY: hashes
hashes: $(DEPS) native $(MODEL) ## Hash all outputs of the test models and the bundled one, for each instruction set of this machine
	$(BUN) test/hashes/run.ts

.PHONY: canary
canary: $(DEPS) ## Hostile requests and faults at every seam, a chat after each must be answered (ROUNDS=5000 SEED=7)
	CANARY_ROUNDS=$(ROUNDS) CANARY_SEED=$(SEED) $(BUN) test --timeout 3600000 test/canary

.PHONY: event-loop
event-loop: $(DEPS) ## No request of legal size keeps the main thread over 50 ms of CPU in one turn
	$(BUN) test --timeout 600000 test/loop

.PHONY: check
check: $(DEPS) ## Type checks, lint and format checks
	@$(call say,TYPES,src test bench)
	$(Q)node_modules/.bin/tsc -p .
	@$(call say,LINT,src test bench)
	$(Q)node_modules/.bin/biome check --error-on-warnings src test bench
	@$(call say,FORMAT,kernels bench test)
	$(Q)node_modules/.bin/clang-format --dry-run --Werror $(shell find kernels bench test -name '*.cc' -o -name '*.h' | grep -v node_modules)

.PHONY: proto
proto: $(DEPS) ## Regenerate src/gen from proto/ (no network needed)
	cd proto && ../node_modules/.bin/buf lint && ../node_modules/.bin/buf generate

build/llama.cpp/out/bin/llama-peer: bench/peers/build-llama-server.sh bench/peers/llama-peer.cc
	bench/peers/build-llama-server.sh build/llama.cpp llama

.PHONY: bench-peers
bench-peers: build/llama.cpp/out/bin/llama-peer ## Install what our CPU engine is compared with: llama.cpp, OpenVINO GenAI
	bench/peers/install-openvino.sh

.PHONY: bench-cpu
bench-cpu: $(DEPS) native bench-peers ## Our CPU engine beside llama.cpp and OpenVINO, interleaved (ARGS="--rounds 9")
	$(BUN) bench/cpu-vs-peers.ts $(ARGS)

LARGE := build/gguf/llama-1b-q4_k.gguf build/gguf/mistral-7b-q4_k.gguf
.PHONY: bench-large
bench-large: $(LARGE) native bench-peers ## The same on a 1B and a 7B shape in Q4_K_M of random weights (5 GB of disk, 16 of memory)
	$(BUN) bench/cpu-vs-peers.ts --model build/gguf/llama-1b-q4_k.gguf --rounds 3 $(ARGS)
	$(BUN) bench/cpu-vs-peers.ts --model build/gguf/mistral-7b-q4_k.gguf --rounds 3 --streams 1,4,16 --decode-tokens 16 --peers llama.cpp $(ARGS)

.PHONY: bench-stolen-core
bench-stolen-core: $(DEPS) native ## What our CPU engine keeps of its speed when another process takes a core
	$(BUN) bench/stolen-core.ts $(ARGS)

# Checkpoints of random weights: Q4_0, K-quants and mixtures of experts in sizes that a small machine runs.
QUANTS := $(patsubst %,build/gguf/%.gguf,smollm2-q4_0 llama-q4_k qwen3moe-q4_k qwen3moe-q8_0 mixtral-q4_k)
build/gguf/%.gguf: bench/make-gguf.ts test/model/gguf/random-gguf.ts test/model/gguf/gguf-writer.ts | $(DEPS) build/libscalellm_cpu.so $(MODEL)
	$(BUN) bench/make-gguf.ts $@

.PHONY: bench-quants
bench-quants: $(QUANTS) native bench-peers ## The same on Q4_0, K-quants and mixtures of experts of random weights
	@for file in $(QUANTS); do echo "$$file"; $(BUN) bench/cpu-vs-peers.ts --model $$file $(ARGS) || exit 1; done

.PHONY: format
format: $(DEPS) ## Format all code
	node_modules/.bin/biome check --write src test bench
	node_modules/.bin/clang-format -i $(shell find kernels bench test -name '*.cc' -o -name '*.h' | grep -v node_modules)

.PHONY: clean
clean: ## Remove what was built
	rm -rf build dist

# ------------------------------------------------------------------------------------------------ measurements
.PHONY: bench-quality
bench-quality: build/libscalellm_cpu.so $(DEPS) ## How far the served precision is from float32, over every reference position
	$(BUN) bench/quality.ts

.PHONY: bench-engine
bench-engine: $(DEPS) ## CPU a token costs around the device: scheduling, messages, text
	$(BUN) bench/engine/scheduler-overhead.ts

.PHONY: bench-mixed
bench-mixed: $(DEPS) build/libscalellm_cpu.so ## Short prompts among long ones on the bundled model (ARGS="--itl-target-ms 100")
	$(BUN) bench/engine/mixed-load.ts $(ARGS)

.PHONY: bench-client
bench-client: build ## The bench client: what it can drive, what it adds, and its agreement with the openai package
	$(BUN) bench/client-capacity.ts
	$(BUN) bench/client-agreement.ts
	$(BUN) bench/client-agreement.ts --serve

.PHONY: bench-report
bench-report: build ## Benchmark the bundled model at 1 to 64 streams; build/report.html is checked in Chromium
	dist/scalellm bench --html build/report.html --output build/report.json $(ARGS)
	$(BUN) bench/check-report.ts build/report.html --picture build/report.png

.PHONY: bench-tracing
bench-tracing: $(DEPS) build/libscalellm_cpu.so ## What timing a server's stages costs
	$(BUN) bench/tracing-overhead.ts $(ARGS)

.PHONY: soak
soak: build ## 64 streams over every protocol, many going away: memory over time (ARGS="--minutes 60")
	$(BUN) bench/engine/soak.ts $(ARGS)

.PHONY: bench-startup
bench-startup: build ## Time from start to ready, and memory
	$(BUN) bench/startup.ts

.PHONY: bench-http
bench-http: build ## Our server beside llama-server, which bench/peers/build-llama-server.sh builds (ARGS="--rounds 3")
	$(BUN) bench/http-vs-llama.ts $(ARGS)

.PHONY: bench-http-share
bench-http-share: build ## How much of the engine's throughput arrives through HTTP
	$(BUN) bench/http-share.ts $(ARGS)

.PHONY: bench-answers
bench-answers: $(DEPS) build/libscalellm_cpu.so ## How good the bundled model's answers are under different sampling (ARGS="--setting 0.2,0.9,1.1 --show")
	$(BUN) bench/answers.ts $(ARGS)
