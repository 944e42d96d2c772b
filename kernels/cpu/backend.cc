// The CPU as a backend.
#include "common/backend.h"

#include "cpu/executor.h"

namespace scalellm {

BackendName backend_name() {
#if defined(__x86_64__)
  return {"cpu", "x86_64; portable, avx2, avx512, amx"};
#elif defined(__aarch64__)
  return {"cpu", "aarch64; portable, neon"};
#else
  return {"cpu", "portable"};
#endif
}

int64_t kv_block_bytes(const sl_model& model, int32_t block_size, int32_t kv_dtype) {
  return KvLayout::make(kv_dtype, block_size, model.num_kv_heads, model.head_dim).block_bytes * model.num_layers;
}

std::unique_ptr<Executor> create_executor(const sl_model& model, const sl_engine_config& config) {
  // Every model of this library is one that its load_model() made.
  return std::make_unique<CpuExecutor>(static_cast<const CpuModel&>(model), config);
}

}  // namespace scalellm
