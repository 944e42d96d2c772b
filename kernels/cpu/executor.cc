#include "cpu/executor.h"

#include "cpu/pages.h"
#include "cpu/probe.h"

namespace scalellm {

CpuExecutor::CpuExecutor(const CpuModel& model, const sl_engine_config& config)
    : model_(model),
      max_model_len_(config.max_model_len),
      cache_(KvLayout::make(config.kv_dtype, config.block_size, model.num_kv_heads, model.head_dim), model.num_layers,
             config.num_blocks),
      crew_(resolve_threads(config.num_threads)),
      forward_(model, config, cache_, crew_.largest()),
      workspace_(forward_.workspace()),
      slots_(static_cast<size_t>(config.max_num_seqs)) {}

bool CpuExecutor::launch(Step& step) {
  step.start_ns = now_ns();
  const uint64_t cpu_ns = forward_.run(step, slots_, crew_.team(step.start_ns));
  step.end_ns = now_ns();
  crew_.report(step.start_ns, step.end_ns, cpu_ns);
  return true;
}

void CpuExecutor::slot_set(int32_t slot, const sl_slot_params& params) {
  slots_[static_cast<size_t>(slot)].set(params, model_.vocab_size, max_model_len_);
}

void CpuExecutor::reset() {
  for (Slot& slot : slots_) slot.clear();
}

ExecutorSizes CpuExecutor::sizes() const {
  ExecutorSizes sizes = {cache_.bytes(), cache_.layout().block_bytes * model_.num_layers, 0};
  for (const MemoryRange& range : workspace_) sizes.workspace_bytes += range.bytes;
  return sizes;
}

int64_t CpuExecutor::touch(int32_t num_blocks, int64_t from, int64_t most) {
  std::vector<MemoryRange> ranges = workspace_;
  const std::vector<MemoryRange> blocks = cache_.ranges(0, num_blocks);
  ranges.insert(ranges.end(), blocks.begin(), blocks.end());
  return touch_pages(ranges, from, most);
}

int64_t CpuExecutor::release(int32_t first_block, int32_t num_blocks) {
  int64_t bytes = 0;
  for (const MemoryRange& range : cache_.ranges(first_block, num_blocks)) bytes += drop_pages(range);
  return bytes;
}

}  // namespace scalellm
