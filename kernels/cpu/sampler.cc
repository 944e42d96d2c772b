// Sampling without sorting the vocabulary. Filters work on candidates found by threshold: a bound on the k-th logit
// from block maxima for top_k, bands of logits for top_p. Candidates are ordered by logit, then by lowest id, so every
// choice is a function of the row alone; the draw walks the survivors by ascending id.
#include "cpu/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "common/philox.h"

namespace scalellm {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Below this a division by temperature overflows; the distribution is a spike on the largest logit long before.
constexpr float kGreedyTemperature = 1e-5f;

int64_t blocks_of(int32_t n, int32_t block) {
  return (n + block - 1) / block;
}

void apply_penalties(const Slot& slot, float* logits) {
  for (int32_t token : slot.counts.seen()) {
    const TokenCounts::Entry entry = slot.counts[token];
    float x = logits[token];
    x = x > 0 ? x / slot.repetition_penalty : x * slot.repetition_penalty;
    if (entry.outputs) x -= slot.frequency_penalty * static_cast<float>(entry.outputs) + slot.presence_penalty;
    logits[token] = x;
  }
}

}  // namespace

Sampler::Sampler(const Kernels& kernels, int32_t vocab_size)
    : kernels_(kernels),
      vocab_size_(vocab_size),
      work_(vocab_size),
      p_(vocab_size),
      sums_(blocks_of(vocab_size, kSumBlock)),
      block_max_(blocks_of(vocab_size, kMaxBlock)),
      ids_(vocab_size),
      band_(vocab_size) {}

void Sampler::add_memory(std::vector<MemoryRange>* out) {
  out->insert(out->end(), {work_.range(), p_.range(), sums_.range(), block_max_.range(), ids_.range(), band_.range()});
}

bool Sampler::takes_largest(const Slot& slot) {
  return slot.temperature < kGreedyTemperature && !slot.adjusts();
}

int32_t Sampler::sample(const Slot& slot, const float* logits) {
  const float* x = slot.adjusts() ? adjusted(slot, logits) : logits;
  return slot.temperature < kGreedyTemperature ? kernels_.argmax(x, vocab_size_) : draw(slot, x);
}

const float* Sampler::adjusted(const Slot& slot, const float* logits) {
  std::copy_n(logits, vocab_size_, work_.data());
  for (const Slot::Bias& bias : slot.bias) work_[bias.id] += bias.value;
  if (slot.penalises()) apply_penalties(slot, work_.data());
  if (slot.masks_stops()) {
    for (int32_t id : slot.stop_ids) work_[id] = -kInfinity;
  }
  return work_.data();
}

int32_t Sampler::draw(const Slot& slot, const float* logits) {
  const int32_t best = kernels_.argmax(logits, vocab_size_);
  const float max = logits[best];
  if (!std::isfinite(max)) return best;  // nothing but NaN and infinities
  const double total = kernels_.exp_sum(logits, vocab_size_, max, 1.0f / slot.temperature, p_.data(), sums_.data());
  const double u = uniform(slot.seed, static_cast<uint64_t>(slot.num_outputs()));
  const bool top_k = slot.top_k > 0 && slot.top_k < vocab_size_, top_p = slot.top_p < 1;
  if (!top_k && !top_p && slot.min_p <= 0) return draw_any(u, total);

  int32_t count;  // candidates in ids_
  if (top_k) {
    count = keep_top_k(logits, slot.top_k);
    if (top_p) count = cut_top_p(logits, count, slot.top_p);
    std::sort(ids_.data(), ids_.data() + count);
  } else if (top_p) {
    count = keep_top_p(logits, max, slot, total);
  } else {
    count = kernels_.collect_from(p_.data(), vocab_size_, slot.min_p, ids_.data());
  }
  if (slot.min_p > 0) {  // the largest p is exactly 1
    const auto end = std::remove_if(ids_.data(), ids_.data() + count, [&](int32_t id) { return p_[id] < slot.min_p; });
    count = static_cast<int32_t>(end - ids_.data());
  }
  return count > 0 ? draw_from_ids(u, count) : best;
}

// Walks all of p_: blocks first, then the values of one block.
int32_t Sampler::draw_any(double u, double total) const {
  const double target = u * total;
  double before = 0;
  int32_t last = 0;
  for (int32_t i = 0; i < vocab_size_; i += kSumBlock) {
    const int32_t end = std::min(vocab_size_, i + kSumBlock);
    const double after = before + static_cast<double>(sums_[i / kSumBlock]);
    if (target >= after && end < vocab_size_) {
      before = after;
      continue;
    }
    for (int32_t j = i; j < end; ++j) {
      if (!(p_[j] > 0)) continue;
      before += static_cast<double>(p_[j]);
      last = j;
      if (target < before) return j;
    }
    if (last >= i) return last;  // rounding of the block's sum
  }
  return last;
}

int32_t Sampler::draw_from_ids(double u, int32_t count) const {
  double total = 0, sum = 0;
  for (int32_t i = 0; i < count; ++i) total += static_cast<double>(p_[ids_[i]]);
  int32_t last = ids_[0];
  for (int32_t i = 0; i < count; ++i) {
    if (!(p_[ids_[i]] > 0)) continue;
    last = ids_[i];
    sum += static_cast<double>(p_[last]);
    if (u * total < sum) break;
  }
  return last;
}

// Leaves the k first in ids_, in no order; returns how many there are. Each of the k largest block maxima is a logit,
// so the k-th largest of them bounds the k-th largest logit from below.
int32_t Sampler::keep_top_k(const float* logits, int32_t k) {
  const int64_t blocks = blocks_of(vocab_size_, kMaxBlock);
  float bound = -kInfinity;
  if (k <= blocks) {
    kernels_.block_max(logits, vocab_size_, block_max_.data());
    float* maxima = block_max_.data();
    std::nth_element(maxima, maxima + k - 1, maxima + blocks, std::greater<float>());
    bound = maxima[k - 1];
  }
  const int32_t count = kernels_.collect_from(logits, vocab_size_, bound, ids_.data());
  if (count <= k) return count;
  int32_t* ids = ids_.data();
  std::nth_element(ids, ids + k - 1, ids + count,
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  return k;
}

// Leaves in ids_ the shortest run of the most likely candidates that holds top_p of their sum.
int32_t Sampler::cut_top_p(const float* logits, int32_t count, float top_p) {
  int32_t* ids = ids_.data();
  std::sort(ids, ids + count,
            [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  double total = 0, sum = 0;
  for (int32_t i = 0; i < count; ++i) total += static_cast<double>(p_[ids[i]]);
  for (int32_t i = 0; i < count; ++i) {
    sum += static_cast<double>(p_[ids[i]]);
    if (sum >= static_cast<double>(top_p) * total) return i + 1;
  }
  return count;
}

// The same over the whole vocabulary, ids ascending. Bands of logits, each a factor 4 in probability, are added until
// they hold enough; the last is halved while it is large and then sorted to find where the run ends.
int32_t Sampler::keep_top_p(const float* logits, float max, const Slot& slot, double total) {
  constexpr float kBand = 1.3862944f;  // ln 4
  constexpr int kMaxBands = 64;        // the exponential is 0 beyond
  constexpr int32_t kSorted = 1024;
  const double target = static_cast<double>(slot.top_p) * total;
  const auto mass = [&](float least) { return kernels_.sum_from(logits, p_.data(), vocab_size_, least); };
  const auto count_above = [&](float least) { return kernels_.count_above(logits, vocab_size_, least); };
  float upper = kInfinity, lower = max;
  double sum = 0;  // of logits >= upper; below the target, which logits >= lower reach
  for (int band = 1;; ++band) {
    lower = band < kMaxBands ? max - static_cast<float>(band) * kBand * slot.temperature : -kInfinity;
    const double next = mass(lower);
    if (next >= target || lower == -kInfinity) break;
    sum = next;
    upper = lower;
  }
  while (lower > -kInfinity && count_above(lower) - count_above(upper) > kSorted) {
    const float top = std::min(upper, max), middle = lower + (top - lower) / 2;
    if (!(middle > lower && middle < top)) break;
    const double next = mass(middle);
    if (next >= target) {
      lower = middle;
    } else {
      sum = next;
      upper = middle;
    }
  }
  int32_t* ids = ids_.data();
  int32_t* const end = ids + kernels_.collect_from(logits, vocab_size_, lower, ids);
  int32_t* const band = band_.data();
  int32_t* const band_end = std::copy_if(ids, end, band, [&](int32_t id) { return logits[id] < upper; });
  const auto before = [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); };
  std::sort(band, band_end, before);
  const int32_t* last = band;
  for (; last < band_end && sum < target; ++last) sum += static_cast<double>(p_[*last]);
  if (last == band_end) return static_cast<int32_t>(end - ids);  // rounding: all of them
  const int32_t cut = *last;                                     // the first not kept
  return static_cast<int32_t>(std::remove_if(ids, end, [&](int32_t id) { return !before(id, cut); }) - ids);
}

void Sampler::logprobs(const float* logits, int32_t token, int32_t top, Logprobs* out) {
  const float max = logits[kernels_.argmax(logits, vocab_size_)];
  double log_total = 0;
  if (std::isfinite(max)) {
    log_total = std::log(kernels_.exp_sum(logits, vocab_size_, max, 1.0f, nullptr, nullptr));
  }
  const auto logprob = [&](float x) {
    if (x == max) return static_cast<float>(-log_total);
    return std::isfinite(x) ? static_cast<float>(static_cast<double>(x - max) - log_total) : -kInfinity;
  };
  out->logprob = logprob(logits[token]);
  out->rank = std::isnan(logits[token]) ? vocab_size_ : 1 + kernels_.count_above(logits, vocab_size_, logits[token]);
  if (top <= 0) return;
  int32_t* ids = ids_.data();
  const int32_t count = keep_top_k(logits, std::min(top, vocab_size_));
  std::sort(ids, ids + count,
            [&](int32_t a, int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
  for (int32_t i = 0; i < top; ++i) {
    out->top_ids[i] = i < count ? ids[i] : -1;
    out->top_logprobs[i] = i < count ? logprob(logits[ids[i]]) : 0;
  }
}

}  // namespace scalellm
