// The weight files of a model while it loads: mapped read-only, every range checked before it is read, pages dropped as
// soon as their tensor is packed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "common/tensor_view.h"
#include "scalellm.h"

namespace scalellm {

class WeightFiles {
 public:
  // Opens and maps the files. A file may be the running executable itself. Throws SL_ERR_IO.
  explicit WeightFiles(const sl_model_desc& desc);
  ~WeightFiles();
  WeightFiles(const WeightFiles&) = delete;
  WeightFiles& operator=(const WeightFiles&) = delete;

  // The tensor as it lies in its file. Throws SL_ERR_ARGUMENT or SL_ERR_UNSUPPORTED for an inconsistent description,
  // SL_ERR_IO for a range outside the file.
  TensorView view(const sl_tensor& tensor) const;

  // Drops the resident pages of the tensor and of its scales.
  void release(const sl_tensor& tensor) const;

 private:
  struct Mapping {
    std::string path;
    uint8_t* data = nullptr;
    int64_t size = 0;
  };
  const uint8_t* range(int32_t file, int64_t offset, int64_t num_bytes) const;
  void drop(int32_t file, int64_t offset, int64_t num_bytes) const;
  void unmap();
  std::vector<Mapping> files_;
};

// "layer 3 expert 1 gate" for messages.
std::string tensor_name(const sl_tensor& tensor);

}  // namespace scalellm
