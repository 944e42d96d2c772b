// A second, trivial backend over kernels/common: what must hold for every backend is tested with it, above all that
// nothing relies on a step being computed when it has been launched.
#include "common/backend.h"

#include <algorithm>

#include "common/api.h"
#include "common/dequant.h"
#include "common/weight_table.h"
#include "ranks.h"

namespace scalellm {

BackendName backend_name() {
  return {"second", "toy arithmetic"};
}

std::unique_ptr<sl_model> load_model(const sl_model_desc& desc) {
  auto model = std::make_unique<second::Model>(desc);
  WeightTable table(desc);
  uint64_t hash = 1;
  const auto matrix = [&](int32_t role, int32_t layer = -1, int32_t expert = -1) {
    const sl_tensor& t = table.take(role, layer, expert);
    const TensorView view = table.view(t);
    Buffer<float> row(t.cols);
    for (int64_t r = 0; r < t.rows; ++r) {
      read_row(view, r, row.data());
      for (int64_t c = 0; c < t.cols; ++c) hash = second::mix(hash, float_to_bits(row[c]));
    }
    table.release(t);
  };
  const auto vector = [&](int32_t role, int32_t layer = -1) {
    if (table.has(role, layer)) hash = second::mix(hash, float_to_bits(table.vector(role, layer)[0]));
  };
  matrix(SL_ROLE_EMBED);
  if (table.has(SL_ROLE_LM_HEAD)) matrix(SL_ROLE_LM_HEAD);
  vector(SL_ROLE_FINAL_NORM);
  for (int32_t l = 0; l < desc.num_layers; ++l) {
    for (const int32_t role : {SL_ROLE_Q, SL_ROLE_K, SL_ROLE_V, SL_ROLE_O}) matrix(role, l);
    for (int32_t role = SL_ROLE_Q_BIAS; role <= SL_ROLE_K_NORM; ++role) vector(role, l);
    for (const int32_t role : {SL_ROLE_ATTN_NORM, SL_ROLE_FFN_NORM}) vector(role, l);
    if (!table.has(SL_ROLE_ROUTER, l)) {
      for (const int32_t role : {SL_ROLE_GATE, SL_ROLE_UP, SL_ROLE_DOWN}) matrix(role, l);
      continue;
    }
    matrix(SL_ROLE_ROUTER, l);
    for (int32_t e = 0; e < desc.num_experts; ++e) {
      for (const int32_t role : {SL_ROLE_EXPERT_GATE, SL_ROLE_EXPERT_UP, SL_ROLE_EXPERT_DOWN}) matrix(role, l, e);
    }
  }
  table.check_all_used();
  model->weights = hash;
  model->info.isa = SL_ISA_PORTABLE;
  model->info.file_bytes = table.file_bytes();
  model->info.num_parameters = table.num_parameters();
  return model;
}

int64_t kv_block_bytes(const sl_model& model, int32_t block_size, int32_t) {
  return int64_t{model.num_kv_heads} * block_size * 8;
}

std::unique_ptr<Executor> create_executor(const sl_model& model, const sl_engine_config& config) {
  require(config.block_size > 0, "block_size: must be positive");
  return std::make_unique<second::RanksExecutor>(static_cast<const second::Model&>(model), config);
}

}  // namespace scalellm

using namespace scalellm;

extern "C" int32_t sl_probe(const char*, sl_probe_info* out) {
  *out = {};
  out->best_isa = SL_ISA_PORTABLE;
  out->num_cores = 1;
  return SL_OK;
}

extern "C" int32_t sl_measure_limits(int32_t, int32_t, sl_limits*) {
  return guarded([]() -> int32_t { throw StatusError(SL_ERR_UNSUPPORTED, "the second backend has no limits"); });
}

// For tests. Held, the device does not begin the next step; a step takes delay_us; fail_step's finish() throws.
extern "C" SL_API void second_set(int32_t held, int32_t delay_us, int32_t fail_step) {
  const std::lock_guard lock(second::stage().mutex);
  second::stage().held = held != 0;
  second::stage().delay_us = delay_us;
  second::stage().fail_step = fail_step;
  second::stage().changed.notify_all();
}

// Copies the events since the last call (Stage) and returns how many there are; at most `most`.
extern "C" SL_API int32_t second_events(int32_t* out, int32_t most) {
  const std::lock_guard lock(second::stage().mutex);
  auto& events = second::stage().events;
  const auto count = std::min<size_t>(events.size(), static_cast<size_t>(most));
  std::copy_n(events.begin(), count, out);
  events.erase(events.begin(), events.begin() + static_cast<int64_t>(count));
  return static_cast<int32_t>(count);
}
