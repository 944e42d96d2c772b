// Memory for packed weights: zeroed, 64-byte aligned, and cut from large regions on huge pages, because a matrix of a
// small model is far smaller than a huge page and reads across 4 kB pages reach only two thirds of the memory's
// bandwidth. Matrices packed one after another lie one after another.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace scalellm {

class WeightBuffer {
 public:
  WeightBuffer() = default;
  explicit WeightBuffer(size_t bytes);  // throws StatusError (SL_ERR_MEMORY)
  uint8_t* data() const { return data_; }

 private:
  struct Region;
  std::shared_ptr<Region> region_;  // unmapped with its last buffer
  uint8_t* data_ = nullptr;
};

}  // namespace scalellm
