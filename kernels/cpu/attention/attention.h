// Paged attention with online softmax (FlashAttention-2, Dao 2023, arXiv 2307.08691), split over the context as in
// Flash-Decoding.
//
// The context is cut at absolute positions into segments of kSegment and these into tiles of kTile. A query's softmax
// runs over the tiles of a segment in order, and the segments' results are merged in order, always: whether one thread
// walks all segments or several take one each, and whatever other queries share the walk, the arithmetic of a query is
// the same.
#pragma once
#include <cstdint>

#include "cpu/attention/kv_cache.h"

namespace scalellm {

constexpr int32_t kTile = 64;
constexpr int32_t kSegment = 256;
// Rows (queries x query heads of one KV head) that share a walk over the context.
constexpr int32_t kMaxAttendRows = 64;

// Keys or values of one head that lie together.
struct KvRange {
  const uint8_t* data;
  int64_t bytes;
};

// One KV head's attention for some queries of one sequence.
struct AttendArgs {
  const KvLayout* layout;
  const uint8_t* layer;  // block 0 of this layer
  const int32_t* table;  // the sequence's block numbers
  int32_t kv_head;
  int32_t num_heads;  // query heads a KV head; rows = num_queries * num_heads <= kMaxAttendRows
  int32_t num_queries;
  const int32_t* tokens;     // [num_queries] rows of q and out
  const int32_t* positions;  // [num_queries] ascending; a query sees positions <= its own
  int32_t window;            // 0, or how many positions a query sees, its own included
  int32_t segment;           // >= 0: this segment alone, its partial results to `partials`; -1: all, finished to `out`
  const float* q;            // token's heads at q + token * q_stride, rotated, not scaled; the first of this KV head's
  int64_t q_stride;
  float* out;  // likewise
  int64_t out_stride;
  float* partials;       // [rows][partial_floats(head_dim)]
  float* scratch;        // attend_scratch_floats(head_dim), 64-byte aligned
  const KvRange* ahead;  // [num_ahead] what will be read next, to be fetched meanwhile
  int32_t num_ahead;
};

// A partial result: the largest score (15 unused floats after it), 16 sums of exponentials (position modulo 16), and
// padded_dim weighted values.
constexpr int64_t kPartialSums = 16, kPartialValues = 32;
static inline int64_t partial_floats(int32_t head_dim) {
  return kPartialValues + (head_dim + 15) / 16 * 16;
}

// Queries with these rows, two partial results a row, a tile of scores, for blocks under 16 tokens a tile of K and V
// and its scales put together from several blocks, and a tile widened to float32.
static inline int64_t attend_scratch_floats(int32_t head_dim) {
  return kMaxAttendRows * (3 * partial_floats(head_dim) + kTile) + kTile * (4 * partial_floats(head_dim) + 2);
}

}  // namespace scalellm
