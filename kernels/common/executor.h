// The seam between the engine, which every backend shares, and a device or several ranks of it.
#pragma once
#include <cstdint>

#include "common/step.h"
#include "scalellm.h"

namespace scalellm {

struct ExecutorSizes {
  int64_t kv_bytes;         // of the whole KV cache, all ranks
  int64_t kv_block_bytes;   // of a block, all layers, K and V
  int64_t workspace_bytes;  // what a step computes in
};

// Computes the steps of one engine on all of its ranks.
//
// A step is launched, computed, finished. Two may be launched and not finished; the second may refer to what slots
// sample in the first. Both functions throw StatusError: a step whose launch threw is not finished.
class Executor {
 public:
  virtual ~Executor() = default;  // no step is launched and not finished

  // Starts a checked step, in the order of tickets, on the engine's own thread, as soon as it was submitted: the step
  // before may still be computing. Returns whether the step is computed already; else it is the device's until finish()
  // has returned. The step stays where it is until then.
  virtual bool launch(Step& step) = 0;

  // Waits until the step is computed; from then on its results, its times and, if it is profiled, its stages are filled
  // in. Called in the order of launches, one call at a time, by the thread that waits: meanwhile launch may run for the
  // next step.
  virtual void finish(Step& step) = 0;

  // Sets a slot, with checked parameters. May run beside launch and finish of steps that do not use the slot.
  virtual void slot_set(int32_t slot, const sl_slot_params& params) = 0;

  // Forgets what was set in all slots. Nothing is launched.
  virtual void reset() = 0;

  virtual ExecutorSizes sizes() const = 0;

  // sl_engine_touch and sl_engine_release, with checked arguments. Nothing is launched.
  virtual int64_t touch(int32_t num_blocks, int64_t from, int64_t most) = 0;
  virtual int64_t release(int32_t first_block, int32_t num_blocks) = 0;
};

}  // namespace scalellm
