// The engine's queue and driver thread, and its entry points.
//
// A step is checked and copied on the caller's thread. The driver launches steps in the order of their tickets, whoever
// waits finishes them in the same order. An entry's step belongs to the caller before it is queued and after it is
// done.
#include "common/engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "common/api.h"
#include "common/backend.h"
#include "common/slot.h"

using namespace scalellm;

namespace {

// After a step the driver watches for the next one this long before it sleeps: with asynchronous scheduling the next is
// usually there already, and a sleep and wake-up cost about as much.
constexpr std::chrono::microseconds kDriverSpin{50};

const sl_engine_config& checked(const ModelNumbers& model, const sl_engine_config& c) {
  require(c.struct_bytes == sizeof(sl_engine_config), "struct_bytes: not this library's sl_engine_config");
  require(c.num_blocks >= 1 && c.num_blocks <= (1 << 30), "num_blocks: must be positive");
  require(int64_t{c.num_blocks} * c.block_size <= INT32_MAX, "num_blocks: more than 2^31 tokens");
  require(c.max_num_seqs >= 1 && c.max_num_seqs <= (1 << 16), "max_num_seqs: must be 1..65536");
  require(c.max_batched_tokens >= 1 && c.max_batched_tokens <= (1 << 20), "max_batched_tokens: must be 1..1048576");
  require(c.max_logit_rows >= 1 && c.max_logit_rows <= (1 << 20), "max_logit_rows: must be 1..1048576");
  require(c.max_model_len >= 1 && c.max_model_len <= model.max_positions, "max_model_len: must be 1..max_positions");
  return c;
}

StepLimits limits_of(const ModelNumbers& model, const sl_engine_config& c) {
  return {c.max_batched_tokens, c.max_num_seqs, c.max_logit_rows, c.max_model_len,      c.max_num_seqs,
          c.num_blocks,         c.block_size,   model.vocab_size, model.widest_window()};
}

int64_t result_words(const Step& step) {
  return static_cast<int64_t>(step.result.size());
}

bool uses(const Step& step, int32_t slot) {
  return std::find(step.row_slots, step.row_slots + step.num_rows, slot) != step.row_slots + step.num_rows ||
         std::find(step.input_ids, step.input_ids + step.num_tokens, -1 - slot) != step.input_ids + step.num_tokens;
}

// Runs work() and returns SL_OK, or the status and message of what it threw.
template <class F>
int32_t attempt(std::string* error, F&& work) {
  try {
    work();
    return SL_OK;
  } catch (const StatusError& e) {
    *error = e.what();
    return e.status;
  } catch (const std::exception& e) {
    *error = e.what();
    return SL_ERR_MEMORY;
  }
}

}  // namespace

sl_engine::sl_engine(const sl_model& model, const sl_engine_config& config)
    : vocab_size_(model.vocab_size),
      config_(checked(model, config)),
      limits_(limits_of(model, config)),
      executor_(create_executor(model, config)),
      is_set_(static_cast<size_t>(config.max_num_seqs)),
      has_token_(static_cast<size_t>(config.max_num_seqs)) {
  driver_ = std::thread([this] { drive(); });
}

sl_engine::~sl_engine() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    num_submitted_.fetch_add(1);
  }
  submitted_.notify_all();
  driver_.join();
  Lock lock(mutex_);
  finish_through(lock, next_ticket_);
}

sl_engine_info sl_engine::info() const {
  const std::lock_guard lock(mutex_);
  const ExecutorSizes sizes = executor_->sizes();
  sl_engine_info info = {};
  info.kv_bytes = sizes.kv_bytes;
  info.kv_block_bytes = sizes.kv_block_bytes;
  info.workspace_bytes = sizes.workspace_bytes;
  info.epoch = epoch_;
  return info;
}

bool sl_engine::in_flight(const Entry& entry) const {
  return entry.state >= State::kQueued && entry.state <= State::kFinishing;
}

bool sl_engine::busy() const {
  return std::any_of(std::begin(entries_), std::end(entries_), [&](const Entry& e) { return in_flight(e); });
}

// The entry of the lowest ticket among those in one of these states, or null.
sl_engine::Entry* sl_engine::oldest(State first, State last) {
  Entry* found = nullptr;
  for (Entry& entry : entries_) {
    if (entry.state < first || entry.state > last) continue;
    if (!found || entry.ticket < found->ticket) found = &entry;
  }
  return found;
}

void sl_engine::reset() {
  Lock lock(mutex_);
  while (busy()) {
    changed_.wait(lock, [&] { return !oldest(State::kQueued, State::kLaunching); });
    finish_through(lock, next_ticket_);
  }
  for (Entry& entry : entries_) entry.state = State::kFree;
  executor_->reset();
  std::fill(is_set_.begin(), is_set_.end(), uint8_t{0});
  std::fill(has_token_.begin(), has_token_.end(), uint8_t{0});
  last_logits_count_ = 0;
  ++epoch_;
  changed_.notify_all();
}

void sl_engine::slot_set(int32_t slot, const sl_slot_params& params) {
  require(slot >= 0 && slot < config_.max_num_seqs, "slot: not in 0..max_num_seqs-1");
  check_slot_params(params, vocab_size_);
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    if (in_flight(entry) && uses(entry.step, slot)) throw StatusError(SL_ERR_STATE, "slot: in use by a step in flight");
  }
  executor_->slot_set(slot, params);
  is_set_[static_cast<size_t>(slot)] = 1;
  has_token_[static_cast<size_t>(slot)] = params.num_output_tokens > 0;
}

// Slots must have been set, and have a token where one is referred to; called with the queue locked.
void sl_engine::check_slots(const Step& step) {
  for (int32_t t = 0; t < step.num_tokens; ++t) {
    if (step.input_ids[t] >= 0) continue;
    require(has_token_[static_cast<size_t>(-1 - step.input_ids[t])], "input_ids: a slot that has sampled nothing yet");
  }
  for (int32_t r = 0; r < step.num_rows; ++r) {
    if (!step.samples(r)) continue;
    require(is_set_[static_cast<size_t>(step.row_slots[r])], "row_slots: a slot that was not set");
  }
  for (int32_t r = 0; r < step.num_rows; ++r) {
    if (step.samples(r)) has_token_[static_cast<size_t>(step.row_slots[r])] = 1;
  }
}

int64_t sl_engine::submit(const int32_t* source, int64_t num_words) {
  Lock lock(mutex_);
  const auto entry =
      std::find_if(std::begin(entries_), std::end(entries_), [](const Entry& e) { return e.state == State::kFree; });
  if (entry == std::end(entries_)) throw StatusError(SL_ERR_STATE, "two steps are in flight: wait for one first");
  entry->step.assign(source, num_words, limits_);
  check_slots(entry->step);
  entry->ticket = next_ticket_++;
  entry->submitted_ns = now_ns();
  entry->counted = false;
  entry->status = SL_OK;
  entry->state = State::kQueued;
  const int64_t ticket = entry->ticket;
  num_submitted_.fetch_add(1);
  lock.unlock();
  submitted_.notify_one();
  return ticket;
}

void sl_engine::wait(int64_t ticket, int32_t* result, int64_t num_words) {
  Lock lock(mutex_);
  const auto at = std::find_if(std::begin(entries_), std::end(entries_),
                               [&](const Entry& e) { return e.state != State::kFree && e.ticket == ticket; });
  if (at == std::end(entries_))
    throw StatusError(SL_ERR_STATE, "ticket: unknown, waited for already, or of an old epoch");
  Entry& entry = *at;
  require(result != nullptr || num_words == 0, "result: null");
  require(num_words == result_words(entry.step), "num_words: does not match the step's results");
  const int32_t epoch = epoch_;
  changed_.wait(lock, [&] { return epoch_ != epoch || entry.state >= State::kLaunched; });
  if (epoch_ == epoch) finish_through(lock, ticket);
  if (epoch_ != epoch) throw StatusError(SL_ERR_STATE, "ticket: the engine was reset");
  entry.state = State::kFree;
  if (entry.status != SL_OK) throw StatusError(entry.status, entry.error);
  if (num_words > 0) std::memcpy(result, entry.step.result.data(), static_cast<size_t>(num_words) * sizeof(int32_t));
  last_logits_ = std::move(entry.step.logits);
  last_logits_count_ = last_logits_.empty() ? 0 : int64_t{entry.step.num_rows} * vocab_size_;
}

// Finishes launched steps up to a ticket, oldest first. The lock is given up meanwhile. Another thread may be at the
// same, after a Worker died in wait(): each step is finished once.
void sl_engine::finish_through(Lock& lock, int64_t ticket) {
  for (;;) {
    Entry* entry = oldest(State::kLaunched, State::kFinishing);
    if (!entry || entry->ticket > ticket) return;
    if (entry->state == State::kFinishing) {
      changed_.wait(lock);
      continue;
    }
    entry->state = State::kFinishing;
    lock.unlock();
    const int32_t status = attempt(&entry->error, [&] { executor_->finish(entry->step); });
    lock.lock();
    entry->status = status;
    entry->state = State::kDone;
    if (status == SL_OK) count(*entry);
    changed_.notify_all();
  }
}

// Adds a computed step to the totals, once.
void sl_engine::count(Entry& entry) {
  const Step& step = entry.step;
  if (entry.counted) return;
  entry.counted = true;
  if (profile_.steps > 0)
    profile_.idle_ns += step.start_ns - std::min(step.start_ns, std::max(last_end_ns_, entry.submitted_ns));
  last_end_ns_ = step.end_ns;
  ++profile_.steps;
  profile_.tokens += static_cast<uint64_t>(step.num_tokens);
  profile_.step_ns += step.end_ns - step.start_ns;
  for (int i = 0; i < SL_NUM_STAGES; ++i) {
    profile_.stage_ns[i] += step.stages.ns[i];
    profile_.stage_bytes[i] += step.stages.bytes[i];
    profile_.stage_ops[i] += step.stages.ops[i];
  }
}

void sl_engine::logits(float* out, int64_t num_floats) {
  const std::lock_guard lock(mutex_);
  if (last_logits_count_ == 0) throw StatusError(SL_ERR_STATE, "the step last waited for did not return logits");
  require(out != nullptr, "out: null");
  require(num_floats == last_logits_count_, "num_floats: not rows times vocab_size of the step last waited for");
  std::memcpy(out, last_logits_.data(), static_cast<size_t>(num_floats) * sizeof(float));
}

int64_t sl_engine::touch(int32_t num_blocks, int64_t from, int64_t most) {
  require(num_blocks >= 0 && num_blocks <= config_.num_blocks, "num_blocks: more than the cache has");
  require(from >= 0 && most >= 0, "from, most: negative");
  const std::lock_guard lock(mutex_);
  if (busy()) throw StatusError(SL_ERR_STATE, "a step is in flight");
  return executor_->touch(num_blocks, from, most);
}

int64_t sl_engine::release(int32_t first_block, int32_t num_blocks) {
  require(first_block >= 0 && num_blocks >= 0 && num_blocks <= config_.num_blocks - first_block,
          "first_block, num_blocks: not blocks of the cache");
  const std::lock_guard lock(mutex_);
  if (busy()) throw StatusError(SL_ERR_STATE, "a step is in flight");
  return executor_->release(first_block, num_blocks);
}

sl_profile sl_engine::profile(bool enable) {
  const std::lock_guard lock(mutex_);
  profiling_ = enable;
  return profile_;
}

void sl_engine::drive() {
  Lock lock(mutex_);
  for (;;) {
    Entry* entry = oldest(State::kQueued, State::kQueued);
    if (!entry) {
      if (stop_) return;
      spin(lock);
      submitted_.wait(lock, [&] { return stop_ || oldest(State::kQueued, State::kQueued); });
      continue;
    }
    entry->state = State::kLaunching;
    entry->step.profiled = profiling_;
    lock.unlock();
    bool computed = false;
    const int32_t status = attempt(&entry->error, [&] { computed = executor_->launch(entry->step); });
    lock.lock();
    entry->status = status;
    entry->state = status == SL_OK ? State::kLaunched : State::kDone;
    if (computed) count(*entry);
    changed_.notify_all();
  }
}

// Watches for the next step for a while, without the lock.
void sl_engine::spin(Lock& lock) {
  const int64_t seen = num_submitted_.load();
  lock.unlock();
  const auto end = std::chrono::steady_clock::now() + kDriverSpin;
  while (num_submitted_.load(std::memory_order_relaxed) == seen && std::chrono::steady_clock::now() < end) {
  }
  lock.lock();
}

extern "C" int32_t sl_engine_create(sl_model* model, const sl_engine_config* config, sl_engine** out) {
  return guarded([&] {
    require(model != nullptr && config != nullptr && out != nullptr, "model, config, out: null");
    *out = new sl_engine(*model, *config);
    return SL_OK;
  });
}

extern "C" int32_t sl_engine_get_info(const sl_engine* engine, sl_engine_info* out) {
  return guarded([&] {
    require(engine != nullptr && out != nullptr, "engine, out: null");
    *out = engine->info();
    return SL_OK;
  });
}

extern "C" int32_t sl_engine_reset(sl_engine* engine) {
  return guarded([&] {
    require(engine != nullptr, "engine: null");
    engine->reset();
    return SL_OK;
  });
}

extern "C" int64_t sl_engine_touch(sl_engine* engine, int32_t num_blocks, int64_t from, int64_t most) {
  return guarded<int64_t>([&] {
    require(engine != nullptr, "engine: null");
    return engine->touch(num_blocks, from, most);
  });
}

extern "C" int64_t sl_engine_release(sl_engine* engine, int32_t first_block, int32_t num_blocks) {
  return guarded<int64_t>([&] {
    require(engine != nullptr, "engine: null");
    return engine->release(first_block, num_blocks);
  });
}

extern "C" void sl_engine_free(sl_engine* engine) {
  delete engine;
}

extern "C" int64_t sl_kv_block_bytes(const sl_model* model, int32_t block_size, int32_t kv_dtype) {
  return guarded<int64_t>([&] {
    require(model != nullptr, "model: null");
    return kv_block_bytes(*model, block_size, kv_dtype);
  });
}

extern "C" int32_t sl_engine_slot_set(sl_engine* engine, int32_t slot, const sl_slot_params* params) {
  return guarded([&] {
    require(engine != nullptr && params != nullptr, "engine, params: null");
    engine->slot_set(slot, *params);
    return SL_OK;
  });
}

extern "C" int64_t sl_engine_submit(sl_engine* engine, const int32_t* step, int64_t num_words) {
  return guarded<int64_t>([&] {
    require(engine != nullptr, "engine: null");
    return engine->submit(step, num_words);
  });
}

extern "C" int32_t sl_engine_wait(sl_engine* engine, int64_t ticket, int32_t* result, int64_t num_words) {
  return guarded([&] {
    require(engine != nullptr, "engine: null");
    engine->wait(ticket, result, num_words);
    return SL_OK;
  });
}

extern "C" int32_t sl_engine_logits(sl_engine* engine, float* out, int64_t num_floats) {
  return guarded([&] {
    require(engine != nullptr, "engine: null");
    engine->logits(out, num_floats);
    return SL_OK;
  });
}

extern "C" int32_t sl_engine_profile(sl_engine* engine, int32_t enable, sl_profile* out) {
  return guarded([&] {
    require(engine != nullptr && out != nullptr, "engine, out: null");
    *out = engine->profile(enable != 0);
    return SL_OK;
  });
}
