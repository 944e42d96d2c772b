// The tensors of a description by role, layer and expert. Each must have the shape that its role calls for; none may be
// missing, come twice or be left over. Every backend loads from this table.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <tuple>

#include "common/buffer.h"
#include "common/tensor_view.h"
#include "common/weight_files.h"
#include "scalellm.h"

namespace scalellm {

class WeightTable {
 public:
  // Checks roles, places and ranges of all tensors before any is read. Keeps a reference to desc. Throws StatusError.
  explicit WeightTable(const sl_model_desc& desc);

  bool has(int32_t role, int32_t layer = -1, int32_t expert = -1) const;

  // The tensor, used from now on. Throws SL_ERR_ARGUMENT where it is missing or has not its role's shape.
  const sl_tensor& take(int32_t role, int32_t layer = -1, int32_t expert = -1);

  // A tensor that was taken, as it lies in its file, until release() drops its pages.
  TensorView view(const sl_tensor& tensor) const { return files_.view(tensor); }
  void release(const sl_tensor& tensor) const { files_.release(tensor); }

  // Takes a norm or a bias and reads it as float32. A bias of interleaved rotary rows is permuted as its matrix is.
  Buffer<float> vector(int32_t role, int32_t layer = -1);

  // Throws SL_ERR_ARGUMENT naming a tensor that nothing took.
  void check_all_used() const;

  int64_t file_bytes() const { return file_bytes_; }          // of all tensors
  int64_t num_parameters() const { return num_parameters_; }  // of those taken, each once

 private:
  using Key = std::tuple<int32_t, int32_t, int32_t>;  // role, layer, expert
  struct Shape {
    int64_t rows, cols;
  };
  Shape expected(int32_t role) const;

  const sl_model_desc& desc_;
  WeightFiles files_;
  std::map<Key, const sl_tensor*> tensors_;
  std::set<Key> used_;
  int64_t file_bytes_ = 0, num_parameters_ = 0;
};

}  // namespace scalellm
