#include "cpu/linear/weight_buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <mutex>

#include "common/status.h"
#include "scalellm.h"

namespace scalellm {
namespace {

constexpr size_t kHugePage = size_t{2} << 20;
// Only touched pages of a region take memory, so its size is a matter of address space alone.
constexpr size_t kRegionBytes = size_t{256} << 20;

constexpr size_t round_up(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

}  // namespace

struct WeightBuffer::Region {
  explicit Region(size_t bytes) : capacity(round_up(bytes, kHugePage)), mapped_bytes(capacity + kHugePage) {
    mapped = mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) throw StatusError(SL_ERR_MEMORY, "out of memory for packed weights");
    base = reinterpret_cast<uint8_t*>(round_up(reinterpret_cast<size_t>(mapped), kHugePage));
    madvise(base, capacity, MADV_HUGEPAGE);
  }
  ~Region() { munmap(mapped, mapped_bytes); }

  void* mapped;
  uint8_t* base;
  size_t capacity, mapped_bytes, used = 0;
};

WeightBuffer::WeightBuffer(size_t bytes) {
  // The region being filled. It is process-wide so that the matrices of a model, packed one by one, share pages.
  static std::mutex mutex;
  static std::weak_ptr<Region> filling;
  bytes = round_up(std::max<size_t>(bytes, 1), 64);
  const std::lock_guard lock(mutex);
  region_ = filling.lock();
  if (!region_ || region_->capacity - region_->used < bytes) {
    region_ = std::make_shared<Region>(std::max(bytes, kRegionBytes));
    filling = region_;
  }
  data_ = region_->base + region_->used;
  region_->used += bytes;
}

}  // namespace scalellm
