// Linear: y = x w^T for every weight format, packed once at load in the order of use. The seam between the forward pass
// (forward.cc) and the matrix kernels (linear_*.cc): the forward pass knows no weight format, the kernels know no
// model.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "common/tensor_view.h"
#include "cpu/threads/team.h"

namespace scalellm {

struct LinearSpec {
  std::vector<TensorView> parts;  // stacked along rows in this order (q, k, v); equal cols, dtypes may differ
  bool gate_up = false;       // two parts of equal shape: the product is silu(x gate^T) * (x up^T), rows = gate's rows
  int32_t weight_format = 0;  // SL_WEIGHTS_*
  int32_t isa = 0;            // SL_ISA_*, already resolved
};

// How activations must be laid out for a Linear; equal layouts can share one buffer (q, k, v of one norm).
struct ActLayout {
  int32_t kind = 0;
  int64_t cols = 0;
  int64_t bytes_per_token = 0;
  bool operator==(const ActLayout&) const = default;
};

enum class Store {
  kAssign,  // y[t][r]  = product (+ bias[r])
  kAdd,     // y[t][r] += product (+ bias[r]); the residual
};

// The largest of a block's products and its row; the row is -1 when all are NaN.
struct Largest {
  float value;
  int32_t row;
};

class Linear {
 public:
  // Packs with all of the team's threads. Throws StatusError.
  static std::unique_ptr<Linear> pack(const LinearSpec& spec, Team& team);
  virtual ~Linear() = default;

  int64_t rows() const { return rows_; }  // output features (of the gated product: gate's rows)
  int64_t cols() const { return cols_; }
  int64_t weight_bytes() const { return weight_bytes_; }
  const ActLayout& act_layout() const { return act_layout_; }

  // Converts one token's float32[cols] to this layout at acts + token * bytes_per_token (64-byte aligned). Depends on x
  // alone, so any member may do any token.
  virtual void prepare(const float* x, uint8_t* acts) const = 0;

  // Called by every member (SPMD), tiles are shared out by member.for_tiles; ends without a barrier.
  // acts: [tokens] in act_layout; y: [tokens] rows of y_stride floats. bias: float32[rows] or null.
  // The result for a token is bit-identical whatever tokens surround it and however many members there are.
  virtual void run(Member& member, const uint8_t* acts, int64_t tokens, float* y, int64_t y_stride, Store store,
                   const float* bias) const = 0;

  // For tokens of which some only choose their largest product, to spare the memory traffic of whole rows: the first
  // num_largest tokens get one Largest for each of the blocks() of rows, in order, at largest + token * largest_stride,
  // the others their products as by kAssign, the first of them at y. Not for gated products.
  virtual void run_largest(Member& member, const uint8_t* acts, int64_t tokens, int64_t num_largest, Largest* largest,
                           int64_t largest_stride, float* y, int64_t y_stride) const = 0;
  virtual int64_t blocks() const = 0;

  // As run, for a few chosen experts' tokens: token_rows[i] names the token in acts, and product i is stored at
  // y + i * y_stride. Used by mixture of experts, where the tokens of one expert are scattered.
  virtual void run_gathered(Member& member, const uint8_t* acts, const int32_t* token_rows, int64_t count, float* y,
                            int64_t y_stride) const = 0;

  // Row r of the weights as float32[cols], exact for the stored format: the embedding look-up of tied weights.
  virtual void dequantize_row(int64_t row, float* out) const = 0;

 protected:
  int64_t rows_ = 0, cols_ = 0, weight_bytes_ = 0;
  ActLayout act_layout_;
};

}  // namespace scalellm
