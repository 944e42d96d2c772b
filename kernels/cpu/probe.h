// What this machine offers: instruction sets, cores and memory.
#pragma once
#include <cstdint>

namespace scalellm {

int64_t cpu_features();  // SL_CPU_* bits, counting only what the operating system has enabled
int32_t best_isa();      // SL_ISA_*

// SL_ISA_AUTO to the best one; throws SL_ERR_UNSUPPORTED for one that this machine lacks, SL_ERR_ARGUMENT for an
// unknown one.
int32_t resolve_isa(int32_t isa);

// Threads for a request of `requested`: 0 is one a core this process may use. Throws SL_ERR_ARGUMENT outside 0..256.
int32_t resolve_threads(int32_t requested);

}  // namespace scalellm
