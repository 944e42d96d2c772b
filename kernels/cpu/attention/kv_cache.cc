// Layout arithmetic and memory of the paged KV cache.
#include "cpu/attention/kv_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "common/api.h"

namespace scalellm {
namespace {

int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

int32_t bytes_of(int32_t dtype) {
  switch (dtype) {
    case SL_KV_F32:
      return 4;
    case SL_KV_F16:
    case SL_KV_BF16:
      return 2;
    case SL_KV_INT8:
      return 1;
    case SL_KV_F8_E4M3:
      throw StatusError(SL_ERR_UNSUPPORTED, "kv_dtype: the CPU backend has no fp8 KV cache; use int8");
    default:
      throw StatusError(SL_ERR_ARGUMENT, "kv_dtype: unknown");
  }
}

}  // namespace

KvLayout KvLayout::make(int32_t dtype, int32_t block_size, int32_t num_kv_heads, int32_t head_dim) {
  require(block_size >= 8 && block_size <= 256 && (block_size & (block_size - 1)) == 0,
          "block_size: must be a power of two from 8 to 256");
  KvLayout l;
  l.dtype = dtype;
  l.block_size = block_size;
  l.num_kv_heads = num_kv_heads;
  l.head_dim = head_dim;
  l.group = std::min(block_size, 16);
  l.padded_dim = static_cast<int32_t>(round_up(head_dim, 16));
  l.value_bytes = bytes_of(dtype);
  l.v_offset = round_up(int64_t{block_size} * head_dim * l.value_bytes, 64);
  l.scale_offset = l.v_offset + round_up(int64_t{block_size} * l.padded_dim * l.value_bytes, 64);
  l.head_bytes = l.scale_offset + (dtype == SL_KV_INT8 ? round_up(2 * int64_t{block_size} * 4, 64) : 0);
  l.block_bytes = l.head_bytes * num_kv_heads;
  return l;
}

KvCache::KvCache(const KvLayout& layout, int32_t num_layers, int32_t num_blocks) : layout_(layout) {
  layer_bytes_ = layout.block_bytes * num_blocks;
  bytes_ = layer_bytes_ * num_layers;
  void* memory = mmap(nullptr, static_cast<size_t>(bytes_), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // A step walks blocks from all over the cache: with small pages that is a TLB miss every few kilobytes.
  madvise(memory, static_cast<size_t>(bytes_), MADV_HUGEPAGE);
  base_ = static_cast<uint8_t*>(memory);
}

KvCache::~KvCache() {
  munmap(base_, static_cast<size_t>(bytes_));
}

std::vector<MemoryRange> KvCache::ranges(int32_t first, int32_t count) const {
  std::vector<MemoryRange> out;
  for (int64_t layer = 0; layer < bytes_; layer += layer_bytes_) {
    out.push_back({base_ + layer + first * layout_.block_bytes, count * layout_.block_bytes});
  }
  return out;
}

void KvCache::copy_block(int32_t layer, int32_t from, int32_t to) const {
  std::memmove(head(layer, to, 0), head(layer, from, 0), static_cast<size_t>(layout_.block_bytes));
}

}  // namespace scalellm
