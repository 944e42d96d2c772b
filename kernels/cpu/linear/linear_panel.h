// Panels: the packed form of every weight matrix. A panel is 16 output rows by all columns, in the order the kernels
// read it, and is the same for every instruction set: a 64-byte line is one AVX-512 register or two AVX2 registers.
#pragma once
#include <cstddef>
#include <cstdint>

#include "cpu/linear/linear.h"

namespace scalellm {

constexpr int kPanelRows = 16;
constexpr int kTokenBlock = 16;  // tokens whose sums fill half the AVX-512 registers
constexpr int kMostTokens = 64;  // that any kernel takes at once

enum Encoding : int32_t {
  kEncodingF32,   // float32 [cols][16]
  kEncodingF16,   // binary16 [cols][16]
  kEncodingBF16,  // bfloat16 [cols][16]
  kNumFloatEncodings,
  kEncodingU4 = kNumFloatEncodings,  // the group formats of linear_group.h, in its order
  kEncodingU4Min,
  kEncodingI8,
  kEncodingI8Min,
  kEncodingK4,
  kEncodingK5,
  kEncodingK6,
  kNumEncodings,
};
constexpr int kNumGroupEncodings = kNumEncodings - kNumFloatEncodings;

enum ActKind : int32_t {
  kActF32,     // float32[cols]
  kActGroups,  // ActGroup[], linear_group.h
};

// Float products are summed in blocks of this many columns, which keeps the rounding error of long rows small.
constexpr int64_t kFloatSumBlock = 256;

// What will be read next, to be fetched into the second-level cache while a panel is multiplied: `step` bytes from
// `data` on with every kAheadCols columns. Spread out like this it keeps memory a little busy all the time; a burst
// would wait for the few misses that a core can have in flight.
constexpr int64_t kAheadCols = 32;
struct Ahead {
  const uint8_t* data;
  int64_t step;
};

// out[i * 16 + r] = product of token i with row r of the panel, for count (1..kMostTokens) tokens. The arithmetic for a
// token is the same whatever count is.
using MultiplyPanel = void (*)(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                               float* out);

// Where a block of products goes: `rows` (1..16) columns of y at y + i * stride.
struct PanelTarget {
  float* y;
  int64_t stride;
  int rows;
  Store store;
  const float* bias;  // [rows] or null
};

// Where the largest of a block's `rows` products go: largest + i * stride. They are rows row .. of the matrix.
struct LargestTarget {
  Largest* largest;
  int64_t stride;
  int32_t row;
  int rows;
};

// The kernels of one instruction set.
struct GroupKernels {
  MultiplyPanel multiply[kNumGroupEncodings];
  int token_block;  // most tokens of a call, at most kMostTokens
  // Quantises one token's float32[cols].
  void (*prepare)(const float* x, int64_t cols, uint8_t* acts);
  int one_pass_tokens;  // most tokens for which a call reads its panel once, from its begin to its end
};
struct PanelKernels {
  MultiplyPanel multiply_floats[kNumFloatEncodings];
  const GroupKernels* groups;
  void (*store)(const float* products, int count, const PanelTarget& target);
  // silu(gate) * up, gate and up being [count][16]
  void (*store_gated)(const float* gate, const float* up, int count, const PanelTarget& target);
  void (*store_largest)(const float* products, int count, const LargestTarget& target);
};
const PanelKernels& panel_kernels(int32_t isa);  // throws StatusError for one this build lacks

extern const PanelKernels kPanelKernelsPortable;
extern const GroupKernels kGroupKernelsPortable;
#if defined(__x86_64__)
extern const PanelKernels kPanelKernelsAvx2;
extern const PanelKernels kPanelKernelsAvx512;
extern const PanelKernels kPanelKernelsAmx;
extern const GroupKernels kGroupKernelsAvx2;
extern const GroupKernels kGroupKernelsAvx512;
extern const GroupKernels kGroupKernelsAmx;
#elif defined(__aarch64__)
extern const PanelKernels kPanelKernelsNeon;
extern const GroupKernels kGroupKernelsNeon;
#endif

ActKind act_kind(Encoding encoding);
int64_t act_bytes(ActKind kind, int64_t cols);
int64_t panel_bytes(Encoding encoding, int64_t cols);

// Packs rows [first, first + rows) of a tensor; missing rows of the last panel are zero.
void pack_panel(Encoding encoding, const TensorView& tensor, int64_t first, int rows, uint8_t* panel);
// Row r (0..15) of a panel as float32.
void unpack_panel_row(Encoding encoding, const uint8_t* panel, int64_t cols, int r, float* out);

}  // namespace scalellm
