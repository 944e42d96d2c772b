// A weight matrix as it lies in a file, and its exact values.
#pragma once
#include <cstdint>

namespace scalellm {

// Data may be unaligned. The pages behind it can be dropped once it has been read.
struct TensorView {
  int32_t dtype = 0;  // SL_F32 ... of scalellm.h
  int64_t rows = 0, cols = 0;
  const uint8_t* data = nullptr;
  int32_t rope_heads = 0;  // > 0: permute interleaved rotary pairs to halves within each head while reading
  int32_t scale_kind = 0;  // SL_SCALE_*
  int32_t scale_dtype = 0;
  const uint8_t* scale = nullptr;
  int32_t scale_block_rows = 0, scale_block_cols = 0;
};

// Where a row lies in the file: elsewhere than in the matrix if rotary pairs are interleaved there.
int64_t source_row(const TensorView& tensor, int64_t row);

// Reads one row (after rope permutation and scaling) as float32[cols].
void read_row(const TensorView& tensor, int64_t row, float* out);

}  // namespace scalellm
