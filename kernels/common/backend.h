// What a backend provides to the code that all backends share. Each library defines these once.
#pragma once
#include <cstdint>
#include <memory>

#include "common/executor.h"
#include "common/model.h"
#include "scalellm.h"

namespace scalellm {

// For sl_build_info: "cpu" or "cuda", and what of it was compiled in.
struct BackendName {
  const char* name;
  const char* targets;
};
BackendName backend_name();

// Reads every tensor of a description that check_desc() passed, and packs it. Throws StatusError.
std::unique_ptr<sl_model> load_model(const sl_model_desc& desc);

// Bytes of a KV block, all layers, K and V. Throws StatusError for a block size or dtype that the backend lacks.
int64_t kv_block_bytes(const sl_model& model, int32_t block_size, int32_t kv_dtype);

// For a model of load_model(), which outlives it, and a configuration that the engine has checked but for its block
// size, KV dtype and threads. Throws StatusError.
std::unique_ptr<Executor> create_executor(const sl_model& model, const sl_engine_config& config);

}  // namespace scalellm
