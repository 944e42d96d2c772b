// The paged KV cache: a block holds block_size tokens of one sequence, in every layer, K and V.
//
//   memory    [layer][block][kv head] of head_bytes
//   one head  K [block_size / group][head_dim][group]   keys of `group` tokens side by side, so that a vector of scores
//                                                       is a sum of key vectors scaled by one query value each
//             V [block_size][padded_dim]                zero beyond head_dim
//             BF16 holds pairs, which two-element dot products take as they lie: K of two dimensions
//             [block_size / group][head_dim / 2][group][2], V of two tokens [block_size / 2][padded_dim][2]
//             INT8 only: float k_scale[block_size], v_scale[block_size]   value = stored * scale, one a token and head
#pragma once
#include <cstdint>
#include <vector>

#include "cpu/pages.h"

namespace scalellm {

struct KvLayout {
  int32_t dtype = 0;  // SL_KV_*
  int32_t block_size = 0;
  int32_t num_kv_heads = 0;
  int32_t head_dim = 0;
  int32_t group = 0;       // min(block_size, 16)
  int32_t padded_dim = 0;  // head_dim rounded up to 16
  int32_t value_bytes = 0;
  int64_t v_offset = 0;      // in a head, in bytes
  int64_t scale_offset = 0;  // likewise; INT8 only
  int64_t head_bytes = 0;    // a multiple of 64
  int64_t block_bytes = 0;   // of one layer

  // Throws SL_ERR_ARGUMENT for a bad block size, SL_ERR_UNSUPPORTED for a dtype without kernels.
  static KvLayout make(int32_t dtype, int32_t block_size, int32_t num_kv_heads, int32_t head_dim);
};

class KvCache {
 public:
  // Reserves the memory; pages become resident when first written, and read as zeros before.
  KvCache(const KvLayout& layout, int32_t num_layers, int32_t num_blocks);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvLayout& layout() const { return layout_; }
  int64_t bytes() const { return bytes_; }
  uint8_t* layer(int32_t layer) const { return base_ + layer * layer_bytes_; }
  uint8_t* head(int32_t layer, int32_t block, int32_t head) const {
    return this->layer(layer) + block * layout_.block_bytes + head * layout_.head_bytes;
  }
  // Where blocks [first, first + count) lie: one range a layer.
  std::vector<MemoryRange> ranges(int32_t first, int32_t count) const;
  void copy_block(int32_t layer, int32_t from, int32_t to) const;

 private:
  KvLayout layout_;
  int64_t layer_bytes_ = 0, bytes_ = 0;
  uint8_t* base_ = nullptr;
};

}  // namespace scalellm
