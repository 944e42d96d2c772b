// Rows of a tensor as it lies in a file: permutation of rotary pairs, scales of fp8 checkpoints, dequantisation.
#include "common/tensor_view.h"

#include <cstring>

#include "common/dequant.h"
#include "scalellm.h"

namespace scalellm {
namespace {

float read_scale(const TensorView& tensor, int64_t index) {
  if (tensor.scale_dtype == SL_BF16) {
    uint16_t bits;
    std::memcpy(&bits, tensor.scale + 2 * index, 2);
    return bf16_to_float(bits);
  }
  float value;
  std::memcpy(&value, tensor.scale + 4 * index, 4);
  return value;
}

void scale_row(const TensorView& tensor, int64_t row, float* out) {
  int64_t width = tensor.cols;
  int64_t index = 0;
  if (tensor.scale_kind == SL_SCALE_ROW) index = row;
  if (tensor.scale_kind == SL_SCALE_BLOCK) {
    width = tensor.scale_block_cols;
    index = row / tensor.scale_block_rows * ((tensor.cols + width - 1) / width);
  }
  for (int64_t first = 0; first < tensor.cols; first += width, ++index) {
    const float scale = read_scale(tensor, index);
    const int64_t end = first + width < tensor.cols ? first + width : tensor.cols;
    for (int64_t i = first; i < end; ++i) out[i] *= scale;
  }
}

}  // namespace

int64_t source_row(const TensorView& tensor, int64_t row) {
  if (tensor.rope_heads <= 0) return row;
  const int64_t head_dim = tensor.rows / tensor.rope_heads, half = head_dim / 2;
  const int64_t in_head = row % head_dim;
  return row - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
}

void read_row(const TensorView& tensor, int64_t row, float* out) {
  const int64_t source = source_row(tensor, row);
  dequantize(tensor.dtype, tensor.data + source * stored_bytes(tensor.dtype, tensor.cols), tensor.cols, out);
  if (tensor.scale_kind != SL_SCALE_NONE) scale_row(tensor, source, out);
}

}  // namespace scalellm
