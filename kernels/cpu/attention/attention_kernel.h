// Paged attention for the including file's instruction set; attention.h has the contract, kv_cache.h the layout.
//
// A tile of kTile positions is scored against a few rows at once, so that a vector of keys is loaded and widened once
// for all of them, then the softmax state of these rows is advanced, then their weighted values. Positions that a row
// may not see have weight exactly 0, and a tile of only such positions leaves a row's state as it was, bit for bit.
#pragma once
#include "cpu/attention/attention.h"
#include "cpu/attention/kv_kernel.h"

namespace scalellm::SL_VEC {

// Register blocks: rows at once, groups of 16 positions at once in scores, vectors of values at once. From kWidenRows
// on a tile is widened to float32 once instead of in every register block.
#if defined(SL_VEC_AVX512)
constexpr int kRows = 6, kGroups = 4, kValues = 4, kWidenRows = kMaxAttendRows + 1;
#elif defined(SL_VEC_AVX2) || defined(SL_VEC_NEON)
constexpr int kRows = 6, kGroups = 1, kValues = 1, kWidenRows = 2 * kRows;
#else
constexpr int kRows = 2, kGroups = 1, kValues = 1, kWidenRows = 1;
#endif
constexpr int kTileGroups = kTile / kLanes;
constexpr float kNoScore = -1e30f;  // the state before the first visible position; finite, so that differences are too

// Where the four groups of a tile lie. Groups with no visible position have null pointers.
template <class E>
struct Tile {
  const typename E::T* k[kTileGroups];  // [head_dim][16], or pairs of dimensions [head_dim / 2][16][2]
  const typename E::T* v[kTileGroups];  // [16][padded_dim], or pairs of positions [8][padded_dim][2]
  const float* k_scale[kTileGroups];
  const float* v_scale[kTileGroups];
};

// What will be read next, fetched into the second-level cache a little with each load of what is read now: a core has
// too few misses in flight to wait for one after the other, and a burst of fetches would stop it.
struct KvAhead {
  const KvRange* range;
  int num_ranges;
  int64_t at;  // in the first of them
};

SL_INLINE void fetch(KvAhead& ahead, int64_t bytes) {
  if (ahead.num_ranges == 0) return;
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(ahead.range->data + ahead.at + i, 0, 2);
  ahead.at += bytes;
  if (ahead.at < ahead.range->bytes) return;
  ahead.at = 0;
  ++ahead.range;
  --ahead.num_ranges;
}

template <class Query>
struct Rows {
  const Query* q;  // [rows][q_stride], scaled
  int q_stride;
  float* state;  // [rows][partial_floats]
  int64_t state_stride;
  int head_dim, padded_dim;
  KvAhead* ahead;
};

template <class E, int R, int P>
SL_INLINE void score_groups(const typename E::Query* q, int q_stride, int head_dim, const typename E::T* const* k,
                            float* scores, KvAhead& ahead) {
  V acc[R][P];
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) acc[r][p] = zero();
  }
  if constexpr (E::kPaired) {
    for (int d = 0; d < head_dim / 2; ++d) {
      fetch(ahead, P * kLanes * 2 * int64_t(sizeof(typename E::T)));
      Pairs key[P];
      for (int p = 0; p < P; ++p) key[p] = load_pairs(reinterpret_cast<const uint32_t*>(k[p]) + d * kLanes);
      for (int r = 0; r < R; ++r) {
        const Pairs x = set1_pairs(q[r * q_stride + d]);
        for (int p = 0; p < P; ++p) acc[r][p] = dot_pairs(x, key[p], acc[r][p]);
      }
    }
  } else {
    for (int d = 0; d < head_dim; ++d) {
      fetch(ahead, P * kLanes * int64_t(sizeof(typename E::T)));
      V key[P];
      for (int p = 0; p < P; ++p) key[p] = E::load(k[p] + d * kLanes);
      for (int r = 0; r < R; ++r) {
        const V x = set1(q[r * q_stride + d]);
        for (int p = 0; p < P; ++p) acc[r][p] = fma(x, key[p], acc[r][p]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int p = 0; p < P; ++p) store(scores + r * kTile + p * kLanes, acc[r][p]);
  }
}

// state's values = values * decay + sum over positions [from, to) of the tile of weight * value.
template <class E, int R, int D>
SL_INLINE void weigh(const Tile<E>& tile, int from, int to, const float* weights, const float* decay, int offset,
                     const Rows<typename E::Query>& rows, float* state) {
  V acc[R][D];
  for (int r = 0; r < R; ++r) {
    const V factor = set1(decay[r]);
    for (int d = 0; d < D; ++d) {
      acc[r][d] = mul(SL_VEC::load(state + r * rows.state_stride + kPartialValues + offset + d * kLanes), factor);
    }
  }
  for (int g = from / kLanes; g * kLanes < to; ++g) {
    const int first = larger(from, g * kLanes), last = smaller(to, (g + 1) * kLanes);
    if constexpr (E::kPaired) {
      const uint32_t* v = reinterpret_cast<const uint32_t*>(tile.v[g]) + (first / 2 - g * kLanes / 2) * rows.padded_dim;
      for (int j = first / 2; 2 * j < last; ++j, v += rows.padded_dim) {
        fetch(*rows.ahead, D * kLanes * 2 * int64_t(sizeof(typename E::T)));
        // The half of a pair that no row sees may be another sequence's leavings, even NaN.
        const uint32_t seen = (2 * j < from ? 0u : 0x0000ffffu) | (2 * j + 1 < to ? 0xffff0000u : 0u);
        Pairs value[D];
        for (int d = 0; d < D; ++d) value[d] = load_pairs(v + offset + d * kLanes);
        if (seen != ~0u) {
          for (int d = 0; d < D; ++d) value[d] = keep_pairs(value[d], seen);
        }
        for (int r = 0; r < R; ++r) {
          uint32_t pair;
          memcpy(&pair, weights + r * kTile + j, sizeof(pair));
          for (int d = 0; d < D; ++d) acc[r][d] = dot_pairs(set1_pairs(pair), value[d], acc[r][d]);
        }
      }
    } else {
      const typename E::T* v = tile.v[g] + (first - g * kLanes) * rows.padded_dim + offset;
      for (int j = first; j < last; ++j, v += rows.padded_dim) {
        fetch(*rows.ahead, D * kLanes * int64_t(sizeof(typename E::T)));
        V value[D];
        for (int d = 0; d < D; ++d) value[d] = E::load(v + d * kLanes);
        for (int r = 0; r < R; ++r) {
          const V weight = set1(weights[r * kTile + j]);
          for (int d = 0; d < D; ++d) acc[r][d] = fma(weight, value[d], acc[r][d]);
        }
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int d = 0; d < D; ++d) {
      SL_VEC::store(state + r * rows.state_stride + kPartialValues + offset + d * kLanes, acc[r][d]);
    }
  }
}

// Advances R rows over one tile. Row r sees positions [begin[r], end[r]) of the tile, relative to it; [from, to) covers
// all.
template <class E, int R>
void advance(const Tile<E>& tile, const int* begin, const int* end, int from, int to, int row,
             const Rows<typename E::Query>& rows, float* scores) {
  const typename E::Query* q = rows.q + row * rows.q_stride;
  float* state = rows.state + row * rows.state_stride;
  const int first_group = from / kLanes, last_group = (to + kLanes - 1) / kLanes;
  int g = first_group;
  for (; g + kGroups <= last_group; g += kGroups) {
    score_groups<E, R, kGroups>(q, rows.q_stride, rows.head_dim, tile.k + g, scores + g * kLanes, *rows.ahead);
  }
  for (; g < last_group; ++g) {
    score_groups<E, R, 1>(q, rows.q_stride, rows.head_dim, tile.k + g, scores + g * kLanes, *rows.ahead);
  }
  float before[kLanes] = {}, after[kLanes] = {}, decay[kLanes];  // of the rows
  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kTile;
    V most = set1(kNoScore);
    const bool sees_all = begin[r] <= first_group * kLanes && end[r] >= last_group * kLanes;
    for (g = first_group; g < last_group; ++g) {
      V x = load(s + g * kLanes);
      if constexpr (E::kScaled) x = mul(x, load(tile.k_scale[g]));
      if (!sees_all) x = select(lanes_in(g * kLanes, begin[r], end[r]), x, set1(-__builtin_inff()));
      if (E::kScaled || !sees_all) store(s + g * kLanes, x);
      most = max(x, most);
    }
    const float tile_most = largest(most);
    before[r] = state[r * rows.state_stride];
    after[r] = state[r * rows.state_stride] = tile_most > before[r] ? tile_most : before[r];
  }
  store(decay, exp(sub(load(before), load(after))));
  for (int r = 0; r < R; ++r) {
    float* s = scores + r * kTile;
    float* const row_state = state + r * rows.state_stride;
    V total = mul(load(row_state + kPartialSums), set1(decay[r]));
    for (g = first_group; g < last_group; ++g) {
      const V below = sub(load(s + g * kLanes), set1(after[r]));
      if constexpr (E::kPaired) {
        // In place: half as wide as the scores, and never past those already read.
        uint16_t* const packed = reinterpret_cast<uint16_t*>(s) + g * kLanes;
        store_bf16(packed, exp_short(below));
        total = add(total, load_bf16(packed));
      } else {
        V weight = exp(below);
        total = add(total, weight);
        if constexpr (E::kScaled) weight = mul(weight, load(tile.v_scale[g]));
        store(s + g * kLanes, weight);
      }
    }
    store(row_state + kPartialSums, total);
  }
  int d = 0;
  for (; d + kValues * kLanes <= rows.padded_dim; d += kValues * kLanes) {
    weigh<E, R, kValues>(tile, from, to, scores, decay, d, rows, state);
  }
  for (; d < rows.padded_dim; d += kLanes) weigh<E, R, 1>(tile, from, to, scores, decay, d, rows, state);
}

template <class E, int R = kRows>
SL_INLINE void advance_rows(int count, const Tile<E>& tile, const int* begin, const int* end, int from, int to, int row,
                            const Rows<typename E::Query>& rows, float* scores) {
  if constexpr (R > 1) {
    if (count < R) return advance_rows<E, R - 1>(count, tile, begin, end, from, to, row, rows, scores);
  }
  advance<E, R>(tile, begin, end, from, to, row, rows, scores);
}

// Points at positions [from, to) (relative to `start`) of the tile at absolute position `start`; blocks of 8 tokens are
// first joined to groups of 16 in `scratch`.
template <class E>
void locate(const AttendArgs& a, int start, int from, int to, float* scratch, Tile<E>* tile) {
  using T = typename E::T;
  const KvLayout& l = *a.layout;
  const int64_t head = a.kv_head * l.head_bytes;
  const auto block_of = [&](int position) { return a.layer + a.table[position / l.block_size] * l.block_bytes + head; };
  for (int g = 0; g < kTileGroups; ++g) {
    tile->k[g] = tile->v[g] = nullptr;
    if ((g + 1) * kLanes <= from || g * kLanes >= to) continue;
    const int position = start + g * kLanes;
    if (l.group == kLanes) {
      const uint8_t* block = block_of(position);
      const int in_block = position & (l.block_size - 1);
      tile->k[g] = reinterpret_cast<const T*>(block) + in_block * l.head_dim;
      tile->v[g] = reinterpret_cast<const T*>(block + l.v_offset) + in_block * l.padded_dim;
      const float* scales = reinterpret_cast<const float*>(block + l.scale_offset);
      tile->k_scale[g] = scales + in_block;
      tile->v_scale[g] = scales + l.block_size + in_block;
      continue;
    }
    float* const k_scale = scratch + g * kLanes;
    float* const v_scale = scratch + kTile + g * kLanes;
    T* const k = reinterpret_cast<T*>(scratch + 2 * kTile + g * kLanes * l.padded_dim);
    T* const v = reinterpret_cast<T*>(scratch + 2 * kTile + (kTile + g * kLanes) * l.padded_dim);
    for (int half = 0; half < 2; ++half) {
      const int at = g * kLanes + half * l.group;
      const bool visible = at + l.group > from && at < to;
      const uint8_t* block = visible ? block_of(start + at) : nullptr;
      constexpr int kDims = E::kPaired ? 2 : 1;  // side by side
      const int values = kDims * l.group;
      for (int d = 0; d < l.head_dim / kDims; ++d) {
        T* to_k = k + (2 * d + half) * values;
        if (visible) {
          memcpy(to_k, reinterpret_cast<const T*>(block) + d * values, sizeof(T) * static_cast<size_t>(values));
        } else {
          memset(to_k, 0, sizeof(T) * static_cast<size_t>(values));
        }
      }
      T* to_v = v + half * l.group * l.padded_dim;
      const size_t v_bytes = sizeof(T) * static_cast<size_t>(l.group * l.padded_dim);
      const size_t scale_bytes = sizeof(float) * static_cast<size_t>(l.group);
      if (!visible) {
        memset(to_v, 0, v_bytes);
        memset(k_scale + half * l.group, 0, scale_bytes);
        memset(v_scale + half * l.group, 0, scale_bytes);
        continue;
      }
      memcpy(to_v, block + l.v_offset, v_bytes);
      if constexpr (E::kScaled) {
        memcpy(k_scale + half * l.group, block + l.scale_offset, scale_bytes);
        memcpy(v_scale + half * l.group, block + l.scale_offset + scale_bytes, scale_bytes);
      }
    }
    tile->k[g] = k;
    tile->v[g] = v;
    tile->k_scale[g] = k_scale;
    tile->v_scale[g] = v_scale;
  }
}

SL_INLINE int first_visible(const AttendArgs& a, int query) {
  return a.window > 0 ? larger(0, a.positions[query] - a.window + 1) : 0;
}

SL_INLINE void clear_state(float* state, int64_t stride, int rows) {
  memset(state, 0, sizeof(float) * static_cast<size_t>(stride * rows));
  for (int r = 0; r < rows; ++r) state[r * stride] = kNoScore;
}

// into = into + next, both partial results of one row, `into` of the earlier positions. Empty results are neutral.
SL_INLINE void merge(float* into, const float* next, int padded_dim) {
  const float most = next[0] > into[0] ? next[0] : into[0];
  const V a = exp(set1(into[0] - most)), b = exp(set1(next[0] - most));
  into[0] = most;
  for (int64_t i = kPartialSums; i < kPartialValues + padded_dim; i += kLanes) {
    store(into + i, fma(load(into + i), a, mul(load(next + i), b)));
  }
}

SL_INLINE void finish(const float* state, int head_dim, float* out) {
  const V total = set1(sum(load(state + kPartialSums)));
  for (int d = 0; d < head_dim; d += kLanes) {
    const int n = smaller(kLanes, head_dim - d);
    store_n(out + d, div(load(state + kPartialValues + d), total), n);
  }
}

// The same tile in float32, which changes no result: widening is exact.
template <class E>
Tile<typename E::Widened> widen(const Tile<E>& tile, int head_dim, int padded_dim, float* scratch) {
  Tile<typename E::Widened> out;
  for (int g = 0; g < kTileGroups; ++g) {
    out.k[g] = out.v[g] = nullptr;
    if (!tile.k[g]) continue;
    float* const k = scratch + g * kLanes * padded_dim;
    float* const v = k + kTile * padded_dim;
    for (int i = 0; i < head_dim * kLanes; i += kLanes) store(k + i, E::load(tile.k[g] + i));
    for (int i = 0; i < padded_dim * kLanes; i += kLanes) store(v + i, E::load(tile.v[g] + i));
    out.k[g] = k;
    out.v[g] = v;
    out.k_scale[g] = tile.k_scale[g];
    out.v_scale[g] = tile.v_scale[g];
  }
  return out;
}

// Advances all rows over the tile at absolute position `start`.
template <class E>
void advance_tile(const AttendArgs& a, const Tile<E>& tile, int start, const Rows<typename E::Query>& rows,
                  float* scores) {
  const int num_rows = a.num_queries * a.num_heads;
  for (int row = 0; row < num_rows; row += kRows) {
    const int count = smaller(kRows, num_rows - row);
    int begin[kRows], end[kRows];
    for (int r = 0; r < count; ++r) {
      const int query = (row + r) / a.num_heads;
      begin[r] = first_visible(a, query) - start;
      end[r] = a.positions[query] + 1 - start;
    }
    const int from = larger(0, begin[0]), to = smaller(kTile, end[count - 1]);
    if (from < to) advance_rows<E>(count, tile, begin, end, from, to, row, rows, scores);
  }
}

// One segment's tiles for all rows.
template <class E>
void attend_segment(const AttendArgs& a, int segment, const Rows<typename E::Query>& rows, float* scores,
                    float* joined) {
  const int lowest = first_visible(a, 0), highest = a.positions[a.num_queries - 1] + 1;
  const int begin = larger(segment * kSegment, lowest / kTile * kTile),
            end = smaller((segment + 1) * kSegment, highest);
  float* const widened = joined + kTile * (2 * rows.padded_dim + 2);
  for (int start = begin; start < end; start += kTile) {
    Tile<E> tile;
    locate<E>(a, start, larger(0, lowest - start), smaller(kTile, highest - start), joined, &tile);
    if constexpr (E::kWidens) {
      if (a.num_queries * a.num_heads >= kWidenRows) {
        advance_tile(a, widen(tile, rows.head_dim, rows.padded_dim, widened), start, rows, scores);
        continue;
      }
    }
    advance_tile(a, tile, start, rows, scores);
  }
}

template <class E>
void attend_typed(const AttendArgs& a) {
  const int hd = a.layout->head_dim, pd = a.layout->padded_dim, num_rows = a.num_queries * a.num_heads;
  const int64_t stride = partial_floats(hd);
  using Query = typename E::Query;
  Query* const q = reinterpret_cast<Query*>(a.scratch);
  float* const total = a.scratch + kMaxAttendRows * stride;
  float* const part = total + kMaxAttendRows * stride;
  float* const scores = part + kMaxAttendRows * stride;
  float* const joined = scores + kMaxAttendRows * kTile;
  const int q_stride = E::kPaired ? pd / 2 : pd;
  const V scale = set1(1.0f / __builtin_sqrtf(static_cast<float>(hd)));
  for (int i = 0; i < a.num_queries; ++i) {
    const float* x = a.q + a.tokens[i] * a.q_stride;
    for (int h = 0; h < a.num_heads; ++h, x += hd) {
      Query* const row = q + (i * a.num_heads + h) * q_stride;
      for (int d = 0; d < pd; d += kLanes) {
        const V scaled = mul(load_n(x + d, smaller(kLanes, hd - d)), scale);
        if constexpr (E::kPaired) {
          store_bf16(reinterpret_cast<uint16_t*>(row) + d, scaled);
        } else {
          store(row + d, scaled);
        }
      }
    }
  }
  KvAhead ahead = {a.ahead, a.num_ahead, 0};
  Rows<Query> rows{q, q_stride, a.segment >= 0 ? a.partials : total, stride, hd, pd, &ahead};
  clear_state(rows.state, stride, num_rows);
  if (a.segment >= 0) return attend_segment<E>(a, a.segment, rows, scores, joined);

  const int first = first_visible(a, 0) / kSegment, last = a.positions[a.num_queries - 1] / kSegment;
  attend_segment<E>(a, first, rows, scores, joined);
  for (int segment = first + 1; segment <= last; ++segment) {
    Rows<Query> next = rows;
    next.state = part;
    clear_state(part, stride, num_rows);
    attend_segment<E>(a, segment, next, scores, joined);
    for (int r = 0; r < num_rows; ++r) merge(total + r * stride, part + r * stride, pd);
  }
  for (int i = 0; i < a.num_queries; ++i) {
    for (int h = 0; h < a.num_heads; ++h) {
      finish(total + (i * a.num_heads + h) * stride, hd, a.out + a.tokens[i] * a.out_stride + h * hd);
    }
  }
}

static void attend(const AttendArgs& a) {
  switch (a.layout->dtype) {
    case SL_KV_F32:
      return attend_typed<StoredF32>(a);
    case SL_KV_F16:
      return attend_typed<StoredF16>(a);
    case SL_KV_BF16:
      return attend_typed<StoredBf16>(a);
    default:
      return attend_typed<StoredInt8>(a);
  }
}

// out[head_dim] from `count` partial results of one row, `stride` floats apart, in the order of their segments.
static void attend_combine(const float* first, int32_t count, int64_t stride, int32_t head_dim, float* work,
                           float* out) {
  memcpy(work, first, sizeof(float) * static_cast<size_t>(partial_floats(head_dim)));
  for (int i = 1; i < count; ++i) merge(work, first + i * stride, (head_dim + kLanes - 1) / kLanes * kLanes);
  finish(work, head_dim, out);
}

}  // namespace scalellm::SL_VEC
