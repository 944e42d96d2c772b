// Mapping and checking of weight files.
#include "common/weight_files.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "common/api.h"
#include "common/dequant.h"

namespace scalellm {
namespace {

const char* const kRoleNames[] = {
    "embed", "lm_head", "final_norm", "attn_norm",   "ffn_norm",  "q",           "k",      "v",
    "o",     "q_bias",  "k_bias",     "v_bias",      "o_bias",    "q_norm",      "k_norm", "gate",
    "up",    "down",    "router",     "expert_gate", "expert_up", "expert_down",
};

int64_t scale_count(const sl_tensor& t) {
  const auto blocks = [](int64_t n, int64_t block) { return (n + block - 1) / block; };
  switch (t.scale_kind) {
    case SL_SCALE_TENSOR:
      return 1;
    case SL_SCALE_ROW:
      return t.rows;
    default:
      return blocks(t.rows, t.scale_block_rows) * blocks(t.cols, t.scale_block_cols);
  }
}

}  // namespace

std::string tensor_name(const sl_tensor& t) {
  std::string name;
  if (t.layer >= 0) name += "layer " + std::to_string(t.layer) + " ";
  if (t.expert >= 0) name += "expert " + std::to_string(t.expert) + " ";
  const bool known = t.role >= 0 && t.role < static_cast<int32_t>(std::size(kRoleNames));
  return name + (known ? kRoleNames[t.role] : "role " + std::to_string(t.role));
}

WeightFiles::WeightFiles(const sl_model_desc& desc) {
  try {
    for (int32_t i = 0; i < desc.num_paths; ++i) {
      require(desc.paths[i] != nullptr, "paths: null");
      Mapping& file = files_.emplace_back();
      file.path = desc.paths[i];
      const auto fail = [&](const char* what) {
        throw StatusError(SL_ERR_IO, std::string(what) + " " + file.path + ": " + std::strerror(errno));
      };
      const int fd = open(file.path.c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0) fail("cannot open");
      struct stat info = {};
      const bool ok = fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0;
      void* data = ok ? mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
      close(fd);
      if (data == MAP_FAILED) fail("cannot map");
      file.data = static_cast<uint8_t*>(data);
      file.size = info.st_size;
    }
  } catch (...) {
    unmap();
    throw;
  }
}

WeightFiles::~WeightFiles() {
  unmap();
}

void WeightFiles::unmap() {
  for (const Mapping& file : files_) {
    if (file.data) munmap(file.data, static_cast<size_t>(file.size));
  }
}

const uint8_t* WeightFiles::range(int32_t file, int64_t offset, int64_t num_bytes) const {
  require(file >= 0 && file < static_cast<int32_t>(files_.size()), "file: not an index into paths");
  const Mapping& mapping = files_[static_cast<size_t>(file)];
  require(offset >= 0 && num_bytes >= 0, "offset, num_bytes: negative");
  if (offset > mapping.size || num_bytes > mapping.size - offset) {
    throw StatusError(SL_ERR_IO, mapping.path + " is shorter than its tensors say");
  }
  return mapping.data + offset;
}

TensorView WeightFiles::view(const sl_tensor& t) const {
  const auto check = [&](bool ok, const char* what) { require(ok, "tensor " + tensor_name(t) + ": " + what); };
  check(t.rows > 0 && t.cols > 0 && t.rows <= INT32_MAX && t.cols <= INT32_MAX, "rows and cols must be positive");
  const int64_t row_bytes = stored_bytes(t.dtype, t.cols);
  check(row_bytes > 0, "unknown dtype, or cols is no multiple of its block");
  check(t.num_bytes == row_bytes * t.rows, "num_bytes does not match dtype, rows and cols");
  TensorView view;
  view.dtype = t.dtype;
  view.rows = t.rows;
  view.cols = t.cols;
  view.rope_heads = t.rope_heads;
  view.scale_kind = t.scale_kind;
  view.data = range(t.file, t.offset, t.num_bytes);
  if (t.scale_kind == SL_SCALE_NONE) return view;

  check(t.scale_kind == SL_SCALE_TENSOR || t.scale_kind == SL_SCALE_ROW || t.scale_kind == SL_SCALE_BLOCK,
        "unknown scale_kind");
  check(t.scale_dtype == SL_F32 || t.scale_dtype == SL_BF16, "scale_dtype must be float32 or bfloat16");
  check(t.scale_kind != SL_SCALE_BLOCK || (t.scale_block_rows > 0 && t.scale_block_cols > 0),
        "scale blocks must have a size");
  const int64_t bytes = scale_count(t) * (t.scale_dtype == SL_F32 ? 4 : 2);
  check(t.scale_num_bytes == bytes, "scale_num_bytes does not match the scales its shape needs");
  view.scale_dtype = t.scale_dtype;
  view.scale_block_rows = t.scale_block_rows;
  view.scale_block_cols = t.scale_block_cols;
  view.scale = range(t.scale_file, t.scale_offset, bytes);
  return view;
}

void WeightFiles::drop(int32_t file, int64_t offset, int64_t num_bytes) const {
  const Mapping& mapping = files_[static_cast<size_t>(file)];
  const int64_t page = sysconf(_SC_PAGESIZE);
  const int64_t begin = offset / page * page, end = (offset + num_bytes + page - 1) / page * page;
  madvise(mapping.data + begin, static_cast<size_t>(end - begin), MADV_DONTNEED);
}

void WeightFiles::release(const sl_tensor& t) const {
  drop(t.file, t.offset, t.num_bytes);
  if (t.scale_kind != SL_SCALE_NONE) drop(t.scale_file, t.scale_offset, t.scale_num_bytes);
}

}  // namespace scalellm
