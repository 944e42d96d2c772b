// Types of the KV cache, and its writes, for the including file's instruction set. kv_cache.h has the layout.
#pragma once
#include "cpu/attention/kv_cache.h"
#include "cpu/vec.h"
#include "scalellm.h"

namespace scalellm::SL_VEC {

// T: a stored value. Query: what queries are laid out as, one value or a pair of them. kWidens: tiles can be widened to
// float32 for the products.
struct StoredF32 {
  using T = float;
  using Query = float;
  static constexpr bool kScaled = false, kPaired = false, kWidens = false;
  SL_INLINE V load(const T* p) { return SL_VEC::load(p); }
  SL_INLINE void store(T* p, V x) { SL_VEC::store(p, x); }
};
// float32 widened from a type with scales.
struct WidenedInt8 : StoredF32 {
  static constexpr bool kScaled = true;
};
struct StoredF16 {
  using Widened = StoredF32;
  using T = uint16_t;
  using Query = float;
  static constexpr bool kScaled = false, kPaired = false, kWidens = true;
  SL_INLINE V load(const T* p) { return load_f16(p); }
  SL_INLINE void store(T* p, V x) { store_f16(p, x); }
};
// Products of bfloat16 pairs: queries and weights are rounded to bfloat16, too; sums are float32.
struct StoredBf16 {
  using T = uint16_t;
  using Query = uint32_t;
  static constexpr bool kScaled = false, kPaired = true, kWidens = false;
  SL_INLINE void store(T* p, V x) { store_bf16(p, x); }
};
struct StoredInt8 {
  using Widened = WidenedInt8;
  using T = int8_t;
  using Query = float;
  static constexpr bool kScaled = true, kPaired = false, kWidens = true;
  SL_INLINE V load(const T* p) { return load_i8(p); }
  SL_INLINE void store(T* p, V x) {
    float values[kLanes];
    SL_VEC::store(values, nearest(min(max(x, set1(-127.0f)), set1(127.0f))));
    for (int i = 0; i < kLanes; ++i) p[i] = static_cast<int8_t>(values[i]);
  }
};

template <class E>
float write_scale(const float* x, int n) {
  V most = zero();
  for (int d = 0; d < n; d += kLanes) {
    const V v = load_n(x + d, smaller(kLanes, n - d));
    most = max(max(v, sub(zero(), v)), most);
  }
  return largest(most) / 127.0f;
}

static void kv_write_pairs(const KvLayout& l, uint8_t* block, int32_t offset, const float* k, const float* v) {
  uint32_t* to_k = reinterpret_cast<uint32_t*>(block) + offset / l.group * l.group * l.head_dim / 2 + offset % l.group;
  uint16_t* to_v = reinterpret_cast<uint16_t*>(block + l.v_offset) + offset / 2 * 2 * l.padded_dim + offset % 2;
  for (int d = 0; d < l.head_dim; d += kLanes) {
    const int n = smaller(kLanes, l.head_dim - d);
    uint16_t packed[kLanes];
    uint32_t packed_pairs[kLanes / 2];
    store_bf16(packed, load_n(k + d, n));
    memcpy(packed_pairs, packed, sizeof(packed));
    for (int i = 0; i < n / 2; ++i) to_k[(d / 2 + i) * l.group] = packed_pairs[i];
    store_bf16(packed, load_n(v + d, n));
    for (int i = 0; i < kLanes; ++i) to_v[2 * (d + i)] = packed[i];
  }
}

template <class E>
void kv_write_typed(const KvLayout& l, uint8_t* block, int32_t offset, const float* k, const float* v) {
  using T = typename E::T;
  V k_factor = set1(1.0f), v_factor = k_factor;
  if constexpr (E::kScaled) {
    const float k_scale = write_scale<E>(k, l.head_dim), v_scale = write_scale<E>(v, l.head_dim);
    float* scales = reinterpret_cast<float*>(block + l.scale_offset);
    scales[offset] = k_scale;
    scales[l.block_size + offset] = v_scale;
    k_factor = set1(k_scale > 0 ? 1.0f / k_scale : 0.0f);
    v_factor = set1(v_scale > 0 ? 1.0f / v_scale : 0.0f);
  }
  if constexpr (E::kPaired) return kv_write_pairs(l, block, offset, k, v);
  T* to_k = reinterpret_cast<T*>(block) + offset / l.group * l.group * l.head_dim + offset % l.group;
  T* to_v = reinterpret_cast<T*>(block + l.v_offset) + offset * l.padded_dim;
  for (int d = 0; d < l.head_dim; d += kLanes) {
    const int n = smaller(kLanes, l.head_dim - d);
    T packed[kLanes];
    E::store(packed, mul(load_n(k + d, n), k_factor));
    for (int i = 0; i < n; ++i) to_k[(d + i) * l.group] = packed[i];
    E::store(to_v + d, mul(load_n(v + d, n), v_factor));
  }
}

// Stores one token's key and value of one KV head at `offset` in its block.
static void kv_write(const KvLayout& l, uint8_t* block, int32_t offset, const float* k, const float* v) {
  switch (l.dtype) {
    case SL_KV_F32:
      return kv_write_typed<StoredF32>(l, block, offset, k, v);
    case SL_KV_F16:
      return kv_write_typed<StoredF16>(l, block, offset, k, v);
    case SL_KV_BF16:
      return kv_write_typed<StoredBf16>(l, block, offset, k, v);
    default:
      return kv_write_typed<StoredInt8>(l, block, offset, k, v);
  }
}

}  // namespace scalellm::SL_VEC
