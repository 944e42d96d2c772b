// The engine's queue and driver thread, and its entry points.
//
// A step is checked and copied on the caller's thread; the driver runs steps in the order of their tickets. The caller
// touches an entry's step only while the driver does not: before it is queued and after it is done.
#include "cpu/engine.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <string>

#include "cpu/api.h"
#include "cpu/probe.h"

using namespace scalellm;

namespace {

// After a step the driver watches for the next one this long before it sleeps: with asynchronous scheduling the next is
// usually there already, and a sleep and wake-up cost about as much.
constexpr std::chrono::microseconds kDriverSpin{50};

const sl_engine_config& checked(const sl_model& model, const sl_engine_config& c) {
  require(c.struct_bytes == sizeof(sl_engine_config), "struct_bytes: not this library's sl_engine_config");
  require(c.num_blocks >= 1 && c.num_blocks <= (1 << 30), "num_blocks: must be positive");
  require(int64_t{c.num_blocks} * c.block_size <= INT32_MAX, "num_blocks: more than 2^31 tokens");
  require(c.max_num_seqs >= 1 && c.max_num_seqs <= (1 << 16), "max_num_seqs: must be 1..65536");
  require(c.max_batched_tokens >= 1 && c.max_batched_tokens <= (1 << 20), "max_batched_tokens: must be 1..1048576");
  require(c.max_logit_rows >= 1 && c.max_logit_rows <= (1 << 20), "max_logit_rows: must be 1..1048576");
  require(c.max_model_len >= 1 && c.max_model_len <= model.max_positions, "max_model_len: must be 1..max_positions");
  return c;
}

int64_t result_words(const Step& step) {
  return static_cast<int64_t>(step.result.size());
}

}  // namespace

sl_engine::sl_engine(const sl_model& model, const sl_engine_config& config)
    : model_(model),
      config_(checked(model, config)),
      cache_(KvLayout::make(config.kv_dtype, config.block_size, model.num_kv_heads, model.head_dim), model.num_layers,
             config.num_blocks),
      crew_(resolve_threads(config.num_threads)),
      forward_(model, config_, cache_, crew_.largest()),
      workspace_(forward_.workspace()),
      slots_(static_cast<size_t>(config.max_num_seqs)),
      has_token_(static_cast<size_t>(config.max_num_seqs)) {
  int32_t widest = 0;
  bool any_full = false;
  for (const Layer& layer : model.layers) {
    any_full = any_full || layer.window == 0;
    widest = std::max(widest, layer.window);
  }
  limits_ = {config.max_batched_tokens, config.max_num_seqs, config.max_logit_rows,
             config.max_model_len,      config.max_num_seqs, config.num_blocks,
             config.block_size,         model.vocab_size,    any_full ? 0 : widest};
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
}

sl_engine_info sl_engine::info() const {
  const std::lock_guard lock(mutex_);
  sl_engine_info info = {};
  info.kv_bytes = cache_.bytes();
  info.kv_block_bytes = cache_.layout().block_bytes * model_.num_layers;
  for (const MemoryRange& range : workspace_) info.workspace_bytes += range.bytes;
  info.epoch = epoch_;
  return info;
}

bool sl_engine::busy() const {
  return std::any_of(std::begin(entries_), std::end(entries_),
                     [](const Entry& e) { return e.state == State::kQueued || e.state == State::kRunning; });
}

void sl_engine::reset() {
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [&] { return !busy(); });
  for (Entry& entry : entries_) entry.state = State::kFree;
  for (Slot& slot : slots_) slot.clear();
  std::fill(has_token_.begin(), has_token_.end(), uint8_t{0});
  last_logits_count_ = 0;
  ++epoch_;
  finished_.notify_all();
}

bool sl_engine::uses(const Step& step, int32_t slot) const {
  return std::find(step.row_slots, step.row_slots + step.num_rows, slot) != step.row_slots + step.num_rows ||
         std::find(step.input_ids, step.input_ids + step.num_tokens, -1 - slot) != step.input_ids + step.num_tokens;
}

void sl_engine::slot_set(int32_t slot, const sl_slot_params& params) {
  require(slot >= 0 && slot < config_.max_num_seqs, "slot: not in 0..max_num_seqs-1");
  check_slot_params(params, model_.vocab_size);
  const std::lock_guard lock(mutex_);
  for (const Entry& entry : entries_) {
    const bool pending = entry.state == State::kQueued || entry.state == State::kRunning;
    if (pending && uses(entry.step, slot)) throw StatusError(SL_ERR_STATE, "slot: in use by a step in flight");
  }
  slots_[static_cast<size_t>(slot)].set(params, model_.vocab_size, config_.max_model_len);
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
    require(slots_[static_cast<size_t>(step.row_slots[r])].is_set(), "row_slots: a slot that was not set");
  }
  for (int32_t r = 0; r < step.num_rows; ++r) {
    if (step.samples(r)) has_token_[static_cast<size_t>(step.row_slots[r])] = 1;
  }
}

int64_t sl_engine::submit(const int32_t* source, int64_t num_words) {
  std::unique_lock lock(mutex_);
  const auto entry =
      std::find_if(std::begin(entries_), std::end(entries_), [](const Entry& e) { return e.state == State::kFree; });
  if (entry == std::end(entries_)) throw StatusError(SL_ERR_STATE, "two steps are in flight: wait for one first");
  entry->step.assign(source, num_words, limits_);
  check_slots(entry->step);
  entry->ticket = next_ticket_++;
  entry->submitted_ns = now_ns();
  entry->state = State::kQueued;
  const int64_t ticket = entry->ticket;
  num_submitted_.fetch_add(1);
  lock.unlock();
  submitted_.notify_one();
  return ticket;
}

void sl_engine::wait(int64_t ticket, int32_t* result, int64_t num_words) {
  std::unique_lock lock(mutex_);
  const auto at = std::find_if(std::begin(entries_), std::end(entries_),
                               [&](const Entry& e) { return e.state != State::kFree && e.ticket == ticket; });
  if (at == std::end(entries_))
    throw StatusError(SL_ERR_STATE, "ticket: unknown, waited for already, or of an old epoch");
  Entry& entry = *at;
  require(result != nullptr || num_words == 0, "result: null");
  require(num_words == result_words(entry.step), "num_words: does not match the step's results");
  const int32_t epoch = epoch_;
  finished_.wait(lock, [&] { return epoch_ != epoch || entry.state == State::kDone || entry.state == State::kFailed; });
  if (epoch_ != epoch) throw StatusError(SL_ERR_STATE, "ticket: the engine was reset");
  const State state = entry.state;
  entry.state = State::kFree;
  if (state == State::kFailed) throw StatusError(entry.status, entry.error);
  if (num_words > 0) std::memcpy(result, entry.step.result.data(), static_cast<size_t>(num_words) * sizeof(int32_t));
  last_logits_ = std::move(entry.step.logits);
  last_logits_count_ = last_logits_.empty() ? 0 : int64_t{entry.step.num_rows} * model_.vocab_size;
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
  std::vector<MemoryRange> ranges = workspace_;
  const std::vector<MemoryRange> blocks = cache_.ranges(0, num_blocks);
  ranges.insert(ranges.end(), blocks.begin(), blocks.end());
  return touch_pages(ranges, from, most);
}

int64_t sl_engine::release(int32_t first_block, int32_t num_blocks) {
  require(first_block >= 0 && num_blocks >= 0 && num_blocks <= config_.num_blocks - first_block,
          "first_block, num_blocks: not blocks of the cache");
  const std::lock_guard lock(mutex_);
  if (busy()) throw StatusError(SL_ERR_STATE, "a step is in flight");
  int64_t bytes = 0;
  for (const MemoryRange& range : cache_.ranges(first_block, num_blocks)) bytes += drop_pages(range);
  return bytes;
}

sl_profile sl_engine::profile(bool enable) {
  const std::lock_guard lock(mutex_);
  profiling_ = enable;
  return profile_.totals;
}

sl_engine::Entry* sl_engine::next_queued() {
  Entry* next = nullptr;
  for (Entry& entry : entries_) {
    if (entry.state == State::kQueued && (!next || entry.ticket < next->ticket)) next = &entry;
  }
  return next;
}

void sl_engine::run(Entry& entry) {
  try {
    const uint64_t start = now_ns();
    const uint64_t cpu_ns = forward_.run(entry.step, slots_, profile_, crew_.team(start));
    crew_.report(start, now_ns(), cpu_ns);
    entry.status = SL_OK;
  } catch (const StatusError& error) {
    entry.status = error.status;
    entry.error = error.what();
  } catch (const std::exception& error) {
    entry.status = SL_ERR_MEMORY;
    entry.error = error.what();
  }
}

void sl_engine::drive() {
  std::unique_lock lock(mutex_);
  for (;;) {
    Entry* entry = next_queued();
    if (!entry) {
      if (stop_) return;
      // Spin on the counter without the lock, then sleep.
      const int64_t seen = num_submitted_.load();
      lock.unlock();
      const auto end = std::chrono::steady_clock::now() + kDriverSpin;
      while (num_submitted_.load(std::memory_order_relaxed) == seen && std::chrono::steady_clock::now() < end) {
      }
      lock.lock();
      submitted_.wait(lock, [&] { return stop_ || next_queued(); });
      continue;
    }
    entry->state = State::kRunning;
    profile_.begin(profiling_);
    lock.unlock();
    const uint64_t start = now_ns();
    run(*entry);
    const uint64_t end = now_ns();
    lock.lock();
    sl_profile& totals = profile_.totals;
    if (totals.steps > 0) totals.idle_ns += start - std::min(start, std::max(last_end_ns_, entry->submitted_ns));
    last_end_ns_ = end;
    ++totals.steps;
    totals.tokens += static_cast<uint64_t>(entry->step.num_tokens);
    totals.step_ns += end - start;
    entry->state = entry->status == SL_OK ? State::kDone : State::kFailed;
    finished_.notify_all();
  }
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
    return KvLayout::make(kv_dtype, block_size, model->num_kv_heads, model->head_dim).block_bytes * model->num_layers;
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
