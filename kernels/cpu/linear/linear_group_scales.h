// Scalar access to the scales of group-quantised panels, for packing and the portable kernels.
#pragma once
#include "common/dequant.h"
#include "cpu/linear/linear_group.h"

namespace scalellm {

// Scale of half h of group g for row r.
template <class Format>
float group_scale(Pair pair, int g, int h, int r) {
  const uint8_t* scales = pair.data + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return f16_to_float(reinterpret_cast<const uint16_t*>(scales)[r]);
  const float d = f16_to_float(reinterpret_cast<const uint16_t*>(pair.header)[r]);
  if constexpr (Format::kHalves) return d * float(reinterpret_cast<const int8_t*>(scales)[kPanelRows * h + r]);
  return d * float(scales[r]);
}

template <class Format>
float group_min(Pair pair, int g, int r) {
  const uint8_t* mins = pair.data + Format::kMinOffset + g * Format::kScaleBytes;
  if constexpr (!Format::kSuper) return f16_to_float(reinterpret_cast<const uint16_t*>(mins)[r]);
  return -(f16_to_float(reinterpret_cast<const uint16_t*>(pair.header + 32)[r]) * float(mins[r]));
}

}  // namespace scalellm
