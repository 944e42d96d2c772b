// Packing of tensors into panels, and back.
#include <vector>

#include "common/dequant.h"
#include "cpu/linear/linear_group.h"
#include "cpu/linear/linear_group_pack.h"
#include "cpu/linear/linear_panel.h"

namespace scalellm {
namespace {

constexpr int64_t round_up(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

int64_t float_bytes(Encoding encoding) {
  return encoding == kEncodingF32 ? 4 : 2;
}

// [cols][16] of one float type.
void pack_floats(Encoding encoding, const TensorView& tensor, int64_t first, int rows, uint8_t* panel) {
  std::vector<float> row(size_t(tensor.cols));
  for (int r = 0; r < rows; ++r) {
    read_row(tensor, first + r, row.data());
    for (int64_t k = 0; k < tensor.cols; ++k) {
      const int64_t at = k * kPanelRows + r;
      const float value = row[size_t(k)];
      if (encoding == kEncodingF32) {
        reinterpret_cast<float*>(panel)[at] = value;
      } else {
        reinterpret_cast<uint16_t*>(panel)[at] = encoding == kEncodingF16 ? float_to_f16(value) : float_to_bf16(value);
      }
    }
  }
}

void unpack_floats(Encoding encoding, const uint8_t* panel, int64_t cols, int r, float* out) {
  for (int64_t k = 0; k < cols; ++k) {
    const int64_t at = k * kPanelRows + r;
    if (encoding == kEncodingF32) {
      out[k] = reinterpret_cast<const float*>(panel)[at];
    } else {
      const uint16_t bits = reinterpret_cast<const uint16_t*>(panel)[at];
      out[k] = encoding == kEncodingF16 ? f16_to_float(bits) : bf16_to_float(bits);
    }
  }
}

}  // namespace

ActKind act_kind(Encoding encoding) {
  return encoding < kNumFloatEncodings ? kActF32 : kActGroups;
}

int64_t act_bytes(ActKind kind, int64_t cols) {
  if (kind == kActGroups) return int64_t(sizeof(ActRow)) + num_pairs(cols) * 2 * int64_t(sizeof(ActGroup));
  return round_up(cols * 4, 64);
}

int64_t panel_bytes(Encoding encoding, int64_t cols) {
  if (encoding >= kNumFloatEncodings) return group_panel_bytes(encoding, cols);
  return round_up(cols * kPanelRows * float_bytes(encoding), 64);
}

void pack_panel(Encoding encoding, const TensorView& tensor, int64_t first, int rows, uint8_t* panel) {
  if (encoding >= kNumFloatEncodings) return pack_group_panel(encoding, tensor, first, rows, panel);
  pack_floats(encoding, tensor, first, rows, panel);
}

void unpack_panel_row(Encoding encoding, const uint8_t* panel, int64_t cols, int r, float* out) {
  if (encoding >= kNumFloatEncodings) return unpack_group_row(encoding, panel, cols, r, out);
  unpack_floats(encoding, panel, cols, r, out);
}

}  // namespace scalellm
