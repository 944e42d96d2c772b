// Memory for packed weights: zeroed, page-aligned, on huge pages where the system grants them.
#pragma once
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "common/status.h"
#include "scalellm.h"

namespace scalellm {

class WeightBuffer {
 public:
  WeightBuffer() = default;
  explicit WeightBuffer(size_t bytes) : bytes_(bytes) {
    void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) throw StatusError(SL_ERR_MEMORY, "out of memory for packed weights");
    madvise(data, bytes, MADV_HUGEPAGE);
    data_ = static_cast<uint8_t*>(data);
  }
  WeightBuffer(WeightBuffer&& other) noexcept { *this = std::move(other); }
  WeightBuffer& operator=(WeightBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~WeightBuffer() {
    if (data_) munmap(data_, bytes_);
  }
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace scalellm
