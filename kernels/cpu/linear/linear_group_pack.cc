// Packing of group-quantised panels: a row's codes and scales in one normal form (common/dequant.h), then laid out by
// format.
#include "cpu/linear/linear_group_pack.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "common/dequant.h"
#include "cpu/linear/linear_group.h"
#include "cpu/linear/linear_group_scales.h"
#include "scalellm.h"

namespace scalellm {
namespace {

// One row, padded with zero weights to whole pairs.
struct RowCodes {
  explicit RowCodes(int64_t cols)
      : code(size_t(num_pairs(cols) * kPairCols)), scale(code.size() / kGroupHalf), min(scale.size()) {}
  std::vector<uint8_t> code;
  std::vector<float> scale, min;
};

// What is added to a code of the storage type to make the stored byte of 8-bit formats, whose zero is 128.
int stored_shift(int32_t dtype) {
  switch (dtype) {
    case SL_Q5_0:
    case SL_Q5_1:
    case SL_Q5_K:
      return 128 - 16;
    case SL_Q6_K:
      return 128 - 32;
  }
  return 0;
}

// The smallest binary16 not below value, so that a group's largest weight keeps a code of at most 127.
float f16_above(float value) {
  uint16_t half = float_to_f16(value);
  if (f16_to_float(half) < value) ++half;
  return f16_to_float(half);
}

// Floats to int8 in groups of 32, as Q8_0 would have them.
void quantize_row(const TensorView& tensor, int64_t row, RowCodes& out) {
  std::vector<float> x(out.code.size());
  read_row(tensor, row, x.data());
  for (size_t first = 0; first < x.size(); first += kGroup) {
    float most = 0;
    for (size_t i = first; i < first + kGroup; ++i) most = std::max(most, std::fabs(x[i]));
    const float scale = f16_above(most / 127.0f);
    for (size_t h = 0; h < 2; ++h) {
      out.scale[first / kGroupHalf + h] = scale;
      out.min[first / kGroupHalf + h] = -128 * scale;
    }
    for (size_t i = first; i < first + kGroup; ++i) {
      const float q = scale > 0 ? std::nearbyint(x[i] / scale) : 0.0f;
      out.code[i] = uint8_t(int(std::clamp(q, -127.0f, 127.0f)) + 128);
    }
  }
}

void read_codes(const TensorView& tensor, int64_t row, RowCodes& out) {
  if (block_shape(tensor.dtype).values == 1) return quantize_row(tensor, row, out);
  const uint8_t* data = tensor.data + source_row(tensor, row) * stored_bytes(tensor.dtype, tensor.cols);
  decode_codes(tensor.dtype, data, tensor.cols, {out.code.data(), out.scale.data(), out.min.data()});
  const int shift = stored_shift(tensor.dtype);
  for (int64_t i = 0; i < tensor.cols; ++i) out.code[size_t(i)] = uint8_t(out.code[size_t(i)] + shift);
}

template <class Format>
struct Packer {
  static int64_t bytes(int64_t cols) {
    return (num_pairs(cols) + Format::kBlockPairs - 1) / Format::kBlockPairs * Format::kBlockBytes;
  }

  static void pack_codes(const uint8_t* code, int r, uint8_t* lines) {
    constexpr int kMask = (1 << Format::kBits) - 1;
    for (int k = 0; k < kGroup; ++k) {
      uint8_t& byte = lines[code_offset<Format>(r, k)];
      byte = uint8_t((byte & ~(kMask << code_shift<Format>(r))) | code[k] << code_shift<Format>(r));
    }
  }

  // binary16 scales and mins from the normal form.
  static void pack_scales(const RowCodes& row, int r, uint8_t* panel) {
    for (size_t group = 0; group < row.code.size() / kGroup; ++group) {
      uint8_t* scales = pair_of<Format>(panel, int64_t(group / 2)).data + group % 2 * Format::kScaleBytes;
      reinterpret_cast<uint16_t*>(scales)[r] = float_to_f16(row.scale[2 * group]);
      if (!Format::kMin) continue;
      reinterpret_cast<uint16_t*>(scales + Format::kMinOffset)[r] = float_to_f16(row.min[2 * group]);
    }
  }

  // Scales of super-blocks as the file has them.
  static void pack_super_scales(const TensorView& tensor, int64_t source, int r, uint8_t* panel) {
    const BlockShape shape = block_shape(tensor.dtype);
    const uint8_t* block = tensor.data + source * stored_bytes(tensor.dtype, tensor.cols);
    for (int64_t first = 0; first < tensor.cols; first += shape.values, block += shape.bytes) {
      SuperScales super;
      read_super_scales(tensor.dtype, block, &super);
      uint8_t* header = pair_of<Format>(panel, first / kPairCols).header;
      reinterpret_cast<uint16_t*>(header)[r] = super.d;
      reinterpret_cast<uint16_t*>(header + 32)[r] = super.d_min;
      for (int j = 0; j < shape.values / kGroup; ++j) {
        uint8_t* scales = pair_of<Format>(panel, first / kPairCols + j / 2).data + j % 2 * Format::kScaleBytes;
        if (Format::kHalves) {
          scales[r] = super.scale[2 * j];
          scales[kPanelRows + r] = super.scale[2 * j + 1];
        } else {
          scales[r] = super.scale[j];
          scales[Format::kMinOffset + r] = super.min[j];
        }
      }
    }
  }

  static void pack_row(const TensorView& tensor, int64_t index, RowCodes& row, int r, uint8_t* panel) {
    read_codes(tensor, index, row);
    for (size_t group = 0; group < row.code.size() / kGroup; ++group) {
      const PairOf<uint8_t> pair = pair_of<Format>(panel, int64_t(group / 2));
      pack_codes(&row.code[group * kGroup], r, codes_of<Format>(pair, int(group % 2)));
    }
    if constexpr (Format::kSuper) {
      pack_super_scales(tensor, source_row(tensor, index), r, panel);
    } else {
      pack_scales(row, r, panel);
    }
  }

  static void unpack_row(const uint8_t* panel, int64_t cols, int r, float* out) {
    // What lies between a stored byte and the code that the file's scale and min, or scale alone, are for.
    constexpr int kShift = Format::kMin ? (Format::kBits == 4 ? 0 : 128 - Format::kZero) : Format::kBits == 4 ? 8 : 128;
    for (int64_t k = 0; k < cols; ++k) {
      const Pair pair = pair_of<Format>(panel, k / kPairCols);
      const int g = int(k / kGroup % 2), in_group = int(k % kGroup);
      const int code = code_at<Format>(codes_of<Format>(pair, g), r, in_group) - kShift;
      out[k] = group_scale<Format>(pair, g, in_group / kGroupHalf, r) * float(code);
      if constexpr (Format::kMin) out[k] += group_min<Format>(pair, g, r);
    }
  }
};

// Calls visit(Packer<Format>) for an encoding's format.
template <class F>
auto with_packer(Encoding encoding, F&& visit) {
  switch (encoding) {
    case kEncodingU4:
      return visit(Packer<FormatU4>());
    case kEncodingU4Min:
      return visit(Packer<FormatU4Min>());
    case kEncodingI8Min:
      return visit(Packer<FormatI8Min>());
    case kEncodingK4:
      return visit(Packer<FormatK4>());
    case kEncodingK5:
      return visit(Packer<FormatK5>());
    case kEncodingK6:
      return visit(Packer<FormatK6>());
    default:
      return visit(Packer<FormatI8>());
  }
}

}  // namespace

int64_t group_panel_bytes(Encoding encoding, int64_t cols) {
  return with_packer(encoding, [&](auto packer) { return packer.bytes(cols); });
}

void pack_group_panel(Encoding encoding, const TensorView& tensor, int64_t first, int rows, uint8_t* panel) {
  RowCodes row(tensor.cols);
  for (int r = 0; r < rows; ++r) {
    with_packer(encoding, [&](auto packer) { packer.pack_row(tensor, first + r, row, r, panel); });
  }
}

void unpack_group_row(Encoding encoding, const uint8_t* panel, int64_t cols, int r, float* out) {
  with_packer(encoding, [&](auto packer) { packer.unpack_row(panel, cols, r, out); });
}

Encoding group_encoding(int32_t dtype) {
  switch (dtype) {
    case SL_Q4_0:
      return kEncodingU4;
    case SL_Q4_1:
      return kEncodingU4Min;
    case SL_Q4_K:
      return kEncodingK4;
    case SL_Q5_1:
      return kEncodingI8Min;
    case SL_Q5_K:
      return kEncodingK5;
    case SL_Q6_K:
      return kEncodingK6;
  }
  return kEncodingI8;
}

}  // namespace scalellm
