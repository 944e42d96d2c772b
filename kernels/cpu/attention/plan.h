// How a step is cut up: chunks of tokens that go through all layers together, and the attention work of each.
#pragma once
#include <cstdint>
#include <vector>

#include "common/step.h"
#include "cpu/attention/attention.h"

namespace scalellm {

// Most tokens in a chunk: their activations stay in cache while the weights stream past once a chunk.
constexpr int32_t kChunkTokens = 256;
// Sequences with at most so many queries in a chunk split their context over tiles of work, segment by segment.
constexpr int32_t kSplitQueries = 4;
// Rows (queries x query heads of one KV head) that an item is cut to where a head group is no larger: fewer than may
// share a walk, so that members finish together.
constexpr int32_t kItemRows = 32;
// Bound on partial results held at once, in query rows; sequences beyond it walk their context in one piece.
constexpr int32_t kMaxPartialRows = 8192;

// Attention of some queries of one sequence, for every KV head.
struct AttendItem {
  int32_t seq;
  int32_t first, count;  // range in AttendPlan::tokens
  int32_t segment;       // or -1: all of them
  int32_t partial_row;   // where the partial results of KV head 0 go; KV head h follows at + h * head_rows
  int32_t head_rows;
};

// Where a token's attention output is: finished, or in partial results to be merged.
struct Partials {
  int32_t count = 0;      // 0: finished
  int32_t row = 0;        // of segment 0, KV head 0, query head 0
  int32_t stride = 0;     // rows from one segment to the next
  int32_t head_rows = 0;  // rows from one KV head to the next
};

// Queries of a chunk and the items that cover them, in the order of their tokens: a member's share of them is much the
// same tokens as its share of the products before and after, whose rows are then in its own cache.
struct AttendPlan {
  std::vector<int32_t> tokens;     // rows of the chunk, ascending
  std::vector<int32_t> positions;  // [tokens]
  std::vector<Partials> partials;  // [tokens]
  std::vector<AttendItem> items;
  int64_t keys = 0;      // query-key pairs of one query head, for the profile
  int64_t contexts = 0;  // context tokens of the sequences
};

struct Chunk {
  int32_t begin = 0, end = 0;          // tokens of the step
  int32_t row_begin = 0, row_end = 0;  // logit rows that come after these tokens
  AttendPlan all;                      // every token
  AttendPlan wanted;                   // the last layer: tokens with logit rows alone
  std::vector<int32_t> row_queries;    // [rows] index into wanted.tokens
  bool decodes = false;                // every sequence has one token here
  int32_t size() const { return end - begin; }
};

// Fills `chunks` (its capacity is reused) and returns how many there are. group: query heads a KV head.
int32_t plan_step(const Step& step, int32_t num_kv_heads, int32_t group, std::vector<Chunk>* chunks);

}  // namespace scalellm
