#include "ranks.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "common/api.h"
#include "common/philox.h"

namespace second {

using namespace scalellm;

uint64_t mix(uint64_t hash, uint64_t value) {
  uint64_t h = (hash ^ value) * 0xff51afd7ed558ccd;
  h ^= h >> 33;
  h *= 0xc4ceb9fe1a85ec53;
  return h ^ (h >> 33);
}

Stage& stage() {
  static Stage only;
  return only;
}

namespace {

// A draft before this row was rejected in this step, which drops the row.
bool follows_rejection(Step& step, int32_t row) {
  if (row == 0 || step.row_slots[row] < 0 || step.row_slots[row] != step.row_slots[row - 1]) return false;
  const int32_t token = step.token_ids()[row - 1], draft = step.row_drafts[row - 1];
  return token == -1 || (draft >= 0 && token != draft);
}

int32_t sample(const Slot& slot, const std::vector<float>& raw) {
  std::vector<float> logits = raw;
  for (const Slot::Bias& bias : slot.bias) logits[static_cast<size_t>(bias.id)] += bias.value;
  if (slot.masks_stops()) {
    for (const int32_t id : slot.stop_ids) logits[static_cast<size_t>(id)] = -INFINITY;
  }
  const int64_t best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (slot.temperature == 0) return static_cast<int32_t>(best);
  const double u = uniform(slot.seed, static_cast<uint64_t>(slot.num_outputs()));
  const int64_t vocab = static_cast<int64_t>(logits.size());
  return static_cast<int32_t>((best + static_cast<int64_t>(u * static_cast<double>(vocab))) % vocab);
}

}  // namespace

RanksExecutor::RanksExecutor(const Model& model, const sl_engine_config& config)
    : model_(model),
      config_(config),
      kv_(static_cast<size_t>(model.num_kv_heads) * static_cast<size_t>(config.num_blocks * config.block_size)),
      slots_(static_cast<size_t>(config.max_num_seqs)),
      folds_(static_cast<size_t>(model.num_kv_heads)),
      logits_(static_cast<size_t>(model.vocab_size)),
      meeting_(std::max(config.num_threads, 1)) {
  const int count = std::max(config.num_threads, 1);
  require(count <= model.num_kv_heads, "num_threads: more ranks than KV heads");
  for (int rank = 0; rank < count; ++rank) ranks_.emplace_back([this, rank] { work(rank); });
}

RanksExecutor::~RanksExecutor() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  for (std::thread& rank : ranks_) rank.join();
}

// Rank r's part of `count` things: the last rank has the most.
RanksExecutor::Range RanksExecutor::share(int32_t count, int rank) const {
  const int ranks = static_cast<int>(ranks_.size()), whole = ranks * (ranks + 1) / 2;
  const auto end = [&](int n) { return n == ranks ? count : std::max(n, count * (n * (n + 1) / 2) / whole); };
  return {end(rank), end(rank + 1)};
}

bool RanksExecutor::launch(Step& step) {
  int64_t number;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(&step);
    number = ++num_launched_;
  }
  stage().note(static_cast<int32_t>(number));
  changed_.notify_all();
  return false;
}

void RanksExecutor::finish(Step& step) {
  std::unique_lock lock(mutex_);
  require(queue_.front() == &step, "finish: not the oldest step");
  changed_.wait(lock, [&] { return num_computed_ > num_finished_; });
  queue_.pop_front();
  const int32_t number = static_cast<int32_t>(++num_finished_);
  lock.unlock();
  stage().note(2000 + number);
  const std::lock_guard guard(stage().mutex);
  if (stage().fail_step == number) throw StatusError(SL_ERR_MEMORY, "a step failed on purpose");
}

void RanksExecutor::slot_set(int32_t slot, const sl_slot_params& params) {
  slots_[static_cast<size_t>(slot)].set(params, model_.vocab_size, config_.max_model_len);
}

void RanksExecutor::reset() {
  for (Slot& slot : slots_) slot.clear();
}

ExecutorSizes RanksExecutor::sizes() const {
  const int64_t bytes = static_cast<int64_t>(kv_.size() * sizeof(uint64_t));
  return {bytes, bytes / config_.num_blocks, static_cast<int64_t>(logits_.size() * sizeof(float))};
}

void RanksExecutor::work(int rank) {
  for (int64_t n = 0;; ++n) {
    Step* step;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || num_launched_ > n; });
      if (num_launched_ <= n) return;
      step = queue_[static_cast<size_t>(n - num_finished_)];
    }
    if (rank == 0) {
      std::unique_lock lock(stage().mutex);
      stage().changed.wait(lock, [] { return !stage().held; });
      const int32_t delay_us = stage().delay_us;
      lock.unlock();
      step->start_ns = now_ns();
      std::this_thread::sleep_for(std::chrono::microseconds(delay_us));
    }
    meeting_.arrive_and_wait();
    compute(*step, rank);
    meeting_.arrive_and_wait();
    if (rank > 0) continue;
    step->end_ns = now_ns();
    stage().note(static_cast<int32_t>(1001 + n));
    {
      const std::lock_guard lock(mutex_);
      ++num_computed_;
    }
    changed_.notify_all();
  }
}

void RanksExecutor::compute(Step& step, int rank) {
  const size_t places = static_cast<size_t>(config_.num_blocks * config_.block_size);
  const Range heads = share(model_.num_kv_heads, rank);
  for (int32_t c = 0; c < step.num_copies; ++c) {
    for (int32_t h = heads.begin; h < heads.end; ++h) {
      const auto head = kv_.begin() + static_cast<int64_t>(places) * h;
      std::copy_n(head + step.copies[2 * c] * config_.block_size, config_.block_size,
                  head + step.copies[2 * c + 1] * config_.block_size);
    }
  }
  if (rank == 0) {
    for (int32_t& token : step.tokens) {
      if (token < 0) token = slots_[static_cast<size_t>(-1 - token)].last_token();
    }
  }
  meeting_.arrive_and_wait();
  int32_t row = 0;
  for (int32_t s = 0; s < step.num_seqs; ++s) {
    for (int32_t t = step.cu_seqlens[s]; t < step.cu_seqlens[s + 1]; ++t) {
      compute_token(step, s, t, rank);
      for (; row < step.num_rows && step.row_tokens[row] == t; ++row) {
        const Range ids = share(model_.vocab_size, rank);
        uint64_t state = model_.weights;
        for (const uint64_t fold : folds_) state = mix(state, fold);
        for (int32_t id = ids.begin; id < ids.end; ++id) {
          const uint64_t bits = mix(state, static_cast<uint64_t>(id));
          logits_[static_cast<size_t>(id)] = static_cast<float>(static_cast<double>(bits >> 40) * 0x1p-20);
        }
        meeting_.arrive_and_wait();
        if (rank == 0) compute_row(step, row);
        meeting_.arrive_and_wait();
      }
    }
  }
}

// Fills this rank's part of folds_; all of it is there when this returns.
void RanksExecutor::compute_token(Step& step, int32_t seq, int32_t token, int rank) {
  const int64_t places = int64_t{config_.num_blocks} * config_.block_size;
  const int32_t position = step.positions[token], size = config_.block_size, window = model_.widest_window();
  const int32_t first = window > 0 ? std::max(0, position - window + 1) : 0;
  const Range heads = share(model_.num_kv_heads, rank);
  for (int32_t h = heads.begin; h < heads.end; ++h) {
    uint64_t fold = mix(model_.weights, static_cast<uint64_t>(h));
    for (int32_t p = first; p < position; ++p) {
      const int64_t place = int64_t{step.table(seq)[p / size]} * size + p % size;
      fold = mix(fold, kv_[static_cast<size_t>(h * places + place)]);
    }
    fold =
        mix(mix(fold, static_cast<uint64_t>(step.tokens[static_cast<size_t>(token)])), static_cast<uint64_t>(position));
    kv_[static_cast<size_t>(h * places + step.slot_mapping[token])] = fold;
    folds_[static_cast<size_t>(h)] = fold;
  }
  meeting_.arrive_and_wait();
}

void RanksExecutor::compute_row(Step& step, int32_t row) {
  const auto vocab = static_cast<int64_t>(logits_.size());
  if (!step.logits.empty()) std::copy(logits_.begin(), logits_.end(), step.logits.data() + row * vocab);
  if (follows_rejection(step, row)) {
    step.token_ids()[row] = -1;
    return;
  }
  int32_t token = step.row_targets[row];
  if (step.samples(row)) {
    Slot& slot = slots_[static_cast<size_t>(step.row_slots[row])];
    token = sample(slot, logits_);
    slot.commit(token);
  }
  step.token_ids()[row] = token;
  const int32_t top = step.row_tops[row];
  if (top < 0) return;
  const float max = *std::max_element(logits_.begin(), logits_.end());
  double sum = 0;
  for (const float x : logits_) sum += std::exp(static_cast<double>(x - max));
  const auto logprob = [&](int32_t id) {
    return static_cast<float>(static_cast<double>(logits_[static_cast<size_t>(id)] - max) - std::log(sum));
  };
  const float own = logits_[static_cast<size_t>(token)];
  step.ranks()[row] =
      1 + static_cast<int32_t>(std::count_if(logits_.begin(), logits_.end(), [&](float x) { return x > own; }));
  step.logprobs()[row] = logprob(token);
  std::vector<int32_t> ids(logits_.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  std::stable_sort(ids.begin(), ids.end(), [&](int32_t a, int32_t b) {
    return logits_[static_cast<size_t>(a)] > logits_[static_cast<size_t>(b)];
  });
  for (int32_t k = 0; k < std::min<int32_t>(top, static_cast<int32_t>(vocab)); ++k) {
    step.top_ids(row)[k] = ids[static_cast<size_t>(k)];
    step.top_logprobs(row)[k] = logprob(ids[static_cast<size_t>(k)]);
  }
}

}  // namespace second
