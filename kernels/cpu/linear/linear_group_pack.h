// Packing of group-quantised panels (linear_group.h).
#pragma once
#include "cpu/linear/linear_panel.h"

namespace scalellm {

int64_t group_panel_bytes(Encoding encoding, int64_t cols);
void pack_group_panel(Encoding encoding, const TensorView& tensor, int64_t first, int rows, uint8_t* panel);
void unpack_group_row(Encoding encoding, const uint8_t* panel, int64_t cols, int r, float* out);

// The encoding of a quantised storage type; floats are quantised to kEncodingI8.
Encoding group_encoding(int32_t dtype);

}  // namespace scalellm
