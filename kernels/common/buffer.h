// An array of plain values on a 64-byte boundary. Its contents start undefined and its pages untouched.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace scalellm {

// Bytes in a row.
struct MemoryRange {
  uint8_t* begin;
  int64_t bytes;
};

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t count) : count_(count) {
    if (count <= 0) return;
    const size_t bytes = (static_cast<size_t>(count) * sizeof(T) + 63) / 64 * 64;
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    if (!data_) throw std::bad_alloc();
  }
  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  T& operator[](int64_t i) { return data_.get()[i]; }
  const T& operator[](int64_t i) const { return data_.get()[i]; }
  bool empty() const { return count_ <= 0; }
  int64_t bytes() const { return count_ * static_cast<int64_t>(sizeof(T)); }
  MemoryRange range() { return {reinterpret_cast<uint8_t*>(data()), bytes()}; }

 private:
  struct Free {
    void operator()(T* p) const { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  int64_t count_ = 0;
};

}  // namespace scalellm
