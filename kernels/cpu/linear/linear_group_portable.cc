// Group-quantised panel kernels in plain C++.
#include <cmath>

#include "cpu/linear/linear_group_act.h"
#include "cpu/linear/linear_group_scales.h"

namespace scalellm {
namespace {

// Products of half h of a group over its 16 columns, for all rows, less those of the codes' zero.
template <class Format>
void dot_half(const uint8_t* codes, const ActGroup& a, int h, int32_t* dot) {
  for (int r = 0; r < kPanelRows; ++r) {
    dot[r] = Format::kBits == 4 ? a.zero[h] : a.zero[h] * 16;
    for (int j = 0; j < 4; ++j) {
      for (int i = 0; i < 4; ++i) dot[r] += code_at<Format>(codes, r, 16 * h + 4 * j + i) * a.q[8 * j + 4 * h + i];
    }
  }
}

template <class Format>
void add_group(Pair pair, int g, const ActGroup& a, float* sum) {
  int32_t dot[2][kPanelRows];
  for (int h = 0; h < 2; ++h) dot_half<Format>(codes_of<Format>(pair, g), a, h, dot[h]);
  for (int r = 0; r < kPanelRows; ++r) {
    const float first = float(dot[0][r]) * a.scale[0], second = float(dot[1][r]) * a.scale[1];
    const float scale = group_scale<Format>(pair, g, 0, r);
    if constexpr (Format::kHalves) {
      sum[r] += first * scale + second * group_scale<Format>(pair, g, 1, r);
    } else {
      sum[r] += (first + second) * scale;
    }
    if constexpr (Format::kMin) sum[r] += (group_min<Format>(pair, g, r) + Format::kZero * scale) * a.sum;
  }
}

template <class Format>
void multiply_token(const uint8_t* panel, int64_t cols, const uint8_t* acts, float* out) {
  const ActGroup* a = act_groups(acts);
  float sum[kPanelRows] = {};
  for (int64_t block = num_pairs(cols) / Format::kBlockPairs; block > 0; --block, panel += Format::kBlockBytes) {
    for (int i = 0; i < Format::kBlockPairs; ++i) {
      const Pair pair = {panel, panel + Format::kHeaderBytes + i * Format::kPairBytes};
      for (int g = 0; g < 2; ++g) add_group<Format>(pair, g, *a++, sum);
    }
  }
  const float unit = reinterpret_cast<const ActRow*>(acts)->unit;
  for (int r = 0; r < kPanelRows; ++r) out[r] = sum[r] * unit;
}

template <class Format>
void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead, float* out) {
  for (int i = 0; i < count; ++i) multiply_token<Format>(panel, cols, acts[i], out + i * kPanelRows);
}

int32_t quantize_half(const float* x, float unit, int h, ActGroup* group) {
  float most = 0;
  for (int i = 0; i < kGroupHalf; ++i) most = std::fmax(most, std::fabs(x[i]));
  const float factor = weigh_half(most, unit, h, group);
  int8_t q[kGroupHalf];
  int32_t sum = 0;
  for (int i = 0; i < kGroupHalf; ++i) {
    q[i] = int8_t(std::nearbyint(x[i] * factor));
    sum += q[i];
  }
  place_half(q, h, group);
  return sum;
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  float range = 0;
  for (int64_t i = 0; i < cols; ++i) range = std::fmax(range, std::fabs(x[i]));
  prepare_halves(x, cols, range, acts, quantize_half);
}

}  // namespace

const GroupKernels kGroupKernelsPortable = {
    .multiply = {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>,
                 multiply<FormatK4>, multiply<FormatK5>, multiply<FormatK6>},
    .token_block = kTokenBlock,
    .prepare = prepare,
    .one_pass_tokens = kMostTokens,
};

}  // namespace scalellm
