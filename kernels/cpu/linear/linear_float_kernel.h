// Panel kernels over float weights (float32, binary16, bfloat16) with float32 activations and sums, and the epilogues
// of every panel kernel, for the including file's instruction set. Products of a row are added in the order of the
// columns in blocks of kFloatSumBlock, so that the result is the same for any count of tokens.
#include "cpu/linear/linear_panel.h"
#include "cpu/vec.h"

namespace scalellm::SL_VEC {

#if defined(SL_VEC_AVX512)
constexpr int kFloatTokens = 16;  // sums in registers at once
#elif defined(SL_VEC_AVX2)
constexpr int kFloatTokens = 6;
#elif defined(SL_VEC_NEON)
constexpr int kFloatTokens = 4;
#else
constexpr int kFloatTokens = 2;
#endif

struct F32Column {
  float value[kPanelRows];
  SL_INLINE V load_column(const F32Column* p) { return load(p->value); }
};
struct F16Column {
  uint16_t bits[kPanelRows];
  SL_INLINE V load_column(const F16Column* p) { return load_f16(p->bits); }
};
struct BF16Column {
  uint16_t bits[kPanelRows];
  SL_INLINE V load_column(const BF16Column* p) { return load_bf16(p->bits); }
};

template <class Column, int kCount>
static void multiply_float_tokens(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, float* out) {
  const Column* weights = reinterpret_cast<const Column*>(panel);
  const float* x[kCount];
  V total[kCount];
  for (int i = 0; i < kCount; ++i) {
    x[i] = reinterpret_cast<const float*>(acts[i]);
    total[i] = zero();
  }
  for (int64_t first = 0; first < cols; first += kFloatSumBlock) {
    V sum[kCount];
    for (int i = 0; i < kCount; ++i) sum[i] = zero();
    const int64_t end = first + kFloatSumBlock < cols ? first + kFloatSumBlock : cols;
    for (int64_t k = first; k < end; ++k) {
      const V w = Column::load_column(weights + k);
      for (int i = 0; i < kCount; ++i) sum[i] = fma(w, set1(x[i][k]), sum[i]);
    }
    for (int i = 0; i < kCount; ++i) total[i] = add(total[i], sum[i]);
  }
  for (int i = 0; i < kCount; ++i) store(out + i * kPanelRows, total[i]);
}

template <class Column, int kCount = kFloatTokens>
static void multiply_float(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead,
                           float* out) {
  for (; count >= kCount; count -= kCount, acts += kCount, out += kCount * kPanelRows) {
    multiply_float_tokens<Column, kCount>(panel, cols, acts, out);
  }
  if constexpr (kCount > 1) {
    if (count > 0) multiply_float<Column, kCount - 1>(panel, cols, acts, count, {}, out);
  }
}

// y = value + bias, or y += value + bias.
SL_INLINE void store_products(V value, V bias, const PanelTarget& target, int token) {
  float* y = target.y + token * target.stride;
  value = add(value, bias);
  if (target.rows == kPanelRows) {
    store(y, target.store == Store::kAdd ? add(load(y), value) : value);
  } else {
    store_n(y, target.store == Store::kAdd ? add(load_n(y, target.rows), value) : value, target.rows);
  }
}

SL_INLINE V load_bias(const PanelTarget& target) {
  return target.bias ? load_n(target.bias, target.rows) : zero();
}

static void store_panel(const float* products, int count, const PanelTarget& target) {
  const V bias = load_bias(target);
  for (int i = 0; i < count; ++i) store_products(load(products + i * kPanelRows), bias, target, i);
}

static void store_gated_panel(const float* gate, const float* up, int count, const PanelTarget& target) {
  const V bias = load_bias(target);
  for (int i = 0; i < count; ++i) {
    const V g = load(gate + i * kPanelRows);
    const V silu = div(g, add(set1(1.0f), exp(sub(zero(), g))));
    store_products(mul(silu, load(up + i * kPanelRows)), bias, target, i);
  }
}

static void store_largest_panel(const float* products, int count, const LargestTarget& target) {
  const V none = set1(-__builtin_inff());
  const uint32_t rows = lanes_in(0, 0, target.rows);
  for (int i = 0; i < count; ++i) {
    const V value = load(products + i * kPanelRows);
    const float most = largest(select(rows, max(value, none), none));  // max takes its second operand for NaN
    const uint32_t found = at_least(value, set1(most)) & rows;
    target.largest[i * target.stride] = {most, found ? target.row + __builtin_ctz(found) : -1};
  }
}

// The including file's kernels, beside its kernels for groups.
static constexpr PanelKernels panel_kernels_with(const GroupKernels* groups) {
  return {{multiply_float<F32Column>, multiply_float<F16Column>, multiply_float<BF16Column>},
          groups,
          store_panel,
          store_gated_panel,
          store_largest_panel};
}

}  // namespace scalellm::SL_VEC
