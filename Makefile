# ScaleLLM. `make help` lists the targets. Every target installs or builds what it needs first.
.DEFAULT_GOAL := build
SHELL := /bin/bash
BUN := node_modules/.bin/bun
CXX ?= g++

# ------------------------------------------------------------------------------------------------ native code
# The instruction set of a file is its name's suffix; everything else is baseline and runs anywhere.
ARCH := $(shell uname -m)
CXXFLAGS := -std=c++20 -O3 -g1 -fPIC -fvisibility=hidden -fno-math-errno -fno-trapping-math -ffp-contract=off \
  -Wall -Wextra -Werror -Ikernels/include -Ikernels -pthread -MMD -MP
FLAGS_avx2 := -mavx2 -mfma -mf16c -mbmi2
FLAGS_avx512 := $(FLAGS_avx2) -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16
FLAGS_amx := $(FLAGS_avx512) -mamx-tile -mamx-int8
FLAGS_neon := -march=armv8.2-a+dotprod+fp16
ISAS := $(if $(filter x86_64,$(ARCH)),avx2 avx512 amx,neon)
ALL_CPU_SOURCES := $(sort $(wildcard kernels/common/*.cc kernels/cpu/*.cc))
ISA_SOURCES := $(foreach isa,avx2 avx512 amx neon,$(filter %_$(isa).cc,$(ALL_CPU_SOURCES)))
CPU_SOURCES := $(filter-out $(ISA_SOURCES),$(ALL_CPU_SOURCES)) $(foreach isa,$(ISAS),$(filter %_$(isa).cc,$(ALL_CPU_SOURCES)))
isa_of = $(strip $(foreach isa,avx2 avx512 amx neon,$(if $(filter %_$(isa).cc,$(1)),$(isa))))
objects_in = $(patsubst kernels/%.cc,$(1)/%.o,$(CPU_SOURCES))
ASAN_FLAGS := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all

define object_rule
$(1)/%.o: kernels/%.cc
	@mkdir -p $$(@D)
	$$(CXX) $$(CXXFLAGS) $(2) $$(FLAGS_$$(call isa_of,$$<)) -c $$< -o $$@
endef
$(eval $(call object_rule,build/native,))
$(eval $(call object_rule,build/asan,$(ASAN_FLAGS)))

build/libscalellm_cpu.so: $(call objects_in,build/native)
	$(CXX) -shared -pthread -static-libstdc++ -static-libgcc -Wl,--no-undefined -o $@ $^

build/asan/kernel_check: $(call objects_in,build/asan) test/kernels/native/kernel_check.cc
	$(CXX) $(CXXFLAGS) $(ASAN_FLAGS) -o $@ $^

-include $(patsubst %.o,%.d,$(call objects_in,build/native) $(call objects_in,build/asan))

.PHONY: native
native: build/libscalellm_cpu.so ## Build the CPU library

.PHONY: proto
proto: ## Regenerate src/gen from proto/ (no network needed)
	cd proto && ../node_modules/.bin/buf lint && ../node_modules/.bin/buf generate
