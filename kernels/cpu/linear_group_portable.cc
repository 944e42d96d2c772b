// Group-quantised panel kernels in plain C++.
#include <cmath>

#include "cpu/linear_group_scales.h"

namespace scalellm {
namespace {

// Sums of half h of a group over its 16 columns, for all rows.
template <class Format>
void dot_half(const uint8_t* codes, const int8_t* q, int h, int32_t* dot) {
  constexpr bool kNibbles = Format::kBits == 4;
  for (int j = 0; j < 4; ++j) {
    const uint8_t* line = codes + 64 * (kNibbles ? j : 4 * h + j);
    for (int r = 0; r < kPanelRows; ++r) {
      for (int i = 0; i < 4; ++i) {
        const int code = kNibbles ? line[4 * r + i] >> (4 * h) & 15 : line[4 * r + i];
        dot[r] += code * q[16 * h + 4 * j + i];
      }
    }
  }
}

template <class Format>
void add_group(const uint8_t* header, const uint8_t* pair, int g, const ActGroup& a, float* sum) {
  int32_t dot[2][kPanelRows];
  for (int h = 0; h < 2; ++h) {
    for (int r = 0; r < kPanelRows; ++r) dot[h][r] = Format::kBits == 4 ? a.zero8[h] / 16 : a.zero8[h];
    dot_half<Format>(pair + g * Format::kCodeBytes, a.q, h, dot[h]);
  }
  for (int r = 0; r < kPanelRows; ++r) {
    const float first = float(dot[0][r]) * a.scale[0], second = float(dot[1][r]) * a.scale[1];
    const float scale = group_scale<Format>(header, pair, g, 0, r);
    if constexpr (Format::kHalves) {
      sum[r] += first * scale + second * group_scale<Format>(header, pair, g, 1, r);
    } else {
      sum[r] += (first + second) * scale;
    }
    if constexpr (Format::kMin) sum[r] += (group_min<Format>(header, pair, g, r) + Format::kZero * scale) * a.sum;
  }
}

template <class Format>
void multiply_token(const uint8_t* panel, int64_t cols, const ActGroup* a, float* out) {
  float sum[kPanelRows] = {};
  for (int64_t block = num_pairs(cols) / Format::kBlockPairs; block > 0; --block, panel += Format::kBlockBytes) {
    for (int i = 0; i < Format::kBlockPairs; ++i) {
      const uint8_t* pair = panel + Format::kHeaderBytes + i * Format::kPairBytes;
      for (int g = 0; g < 2; ++g) add_group<Format>(panel, pair, g, *a++, sum);
    }
  }
  for (int r = 0; r < kPanelRows; ++r) out[r] = sum[r];
}

template <class Format>
void multiply(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, float* out) {
  for (int i = 0; i < count; ++i) {
    multiply_token<Format>(panel, cols, reinterpret_cast<const ActGroup*>(acts[i]), out + i * kPanelRows);
  }
}

void prepare(const float* x, int64_t cols, uint8_t* acts) {
  ActGroup* group = reinterpret_cast<ActGroup*>(acts);
  for (int64_t first = 0; first < num_pairs(cols) * kPairCols; first += kGroup, ++group) {
    int32_t sums[2] = {};
    for (int h = 0; h < 2; ++h) {
      const int64_t at = first + h * kGroupHalf;
      float most = 0;
      for (int64_t i = at; i < at + kGroupHalf && i < cols; ++i) most = std::fmax(most, std::fabs(x[i]));
      const bool zero = !(most > kLeastAct);
      const float inverse = zero ? 0.0f : 127.0f / most;
      group->scale[h] = zero ? 0.0f : most / 127.0f;
      for (int i = 0; i < kGroupHalf; ++i) {
        const int32_t q = at + i < cols ? int32_t(std::nearbyint(x[at + i] * inverse)) : 0;
        group->q[h * kGroupHalf + i] = int8_t(q);
        sums[h] += q;
      }
    }
    finish_act_group(sums, first % kPairCols != 0, group);
  }
}

}  // namespace

const GroupKernels kGroupKernelsPortable = {
    {multiply<FormatU4>, multiply<FormatU4Min>, multiply<FormatI8>, multiply<FormatI8Min>, multiply<FormatK4>,
     multiply<FormatK5>, multiply<FormatK6>},
    prepare,
};

}  // namespace scalellm
