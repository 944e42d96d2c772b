// A CPU as the engine sees it: a KV cache, slots, threads, and the forward pass over them.
#pragma once
#include <vector>

#include "common/executor.h"
#include "common/slot.h"
#include "cpu/attention/kv_cache.h"
#include "cpu/forward.h"
#include "cpu/model.h"
#include "cpu/threads/crew.h"

namespace scalellm {

class CpuExecutor final : public Executor {
 public:
  // Throws StatusError.
  CpuExecutor(const CpuModel& model, const sl_engine_config& config);

  // Computes the step.
  bool launch(Step& step) override;
  void finish(Step&) override {}
  void slot_set(int32_t slot, const sl_slot_params& params) override;
  void reset() override;
  ExecutorSizes sizes() const override;
  int64_t touch(int32_t num_blocks, int64_t from, int64_t most) override;
  int64_t release(int32_t first_block, int32_t num_blocks) override;

 private:
  const CpuModel& model_;
  const int32_t max_model_len_;
  KvCache cache_;
  Crew crew_;
  Forward forward_;
  const std::vector<MemoryRange> workspace_;
  std::vector<Slot> slots_;
};

}  // namespace scalellm
