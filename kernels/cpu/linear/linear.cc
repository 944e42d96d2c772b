// Linear over panels: chooses an encoding for each part, packs, and shares the panels out over the team.
#include "cpu/linear/linear.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "common/dequant.h"
#include "common/status.h"
#include "cpu/linear/linear_group_pack.h"
#include "cpu/linear/linear_panel.h"
#include "cpu/linear/weight_buffer.h"
#include "scalellm.h"

namespace scalellm {
namespace {

// Multiply-adds of the largest tile: about 6 us of a core, which is what members wait for each other at most. Those of
// the smallest: half a microsecond of reading its weights for one token, beside which a claim is small.
constexpr int64_t kMaxTileMacs = 1 << 20;
constexpr int64_t kMinTileMacs = 32 << 10;
constexpr int64_t kTilesPerMember = 24;
// Tokens whose activations are kept at hand while a range of panels streams past.
constexpr int64_t kTokenSpan = 64;

// Weights that are so many that what they begin with does not matter.
constexpr int64_t kLongStream = 4 << 20;

// How far ahead a single block of tokens fetches: measured on Zen 4, where 2 to 4 kB are slower than none, and 8 and
// more gain less.
constexpr int64_t kAheadBytes = 6400;

struct Panel {
  const uint8_t* data;
  MultiplyPanel multiply;
  Encoding encoding;
  int32_t row;    // first output row
  int32_t rows;   // 1..16
  int64_t bytes;  // of data
};

Encoding choose_encoding(const TensorView& part, int32_t weight_format) {
  if (weight_format == SL_WEIGHTS_F32) return kEncodingF32;
  if (weight_format == SL_WEIGHTS_BF16) return kEncodingBF16;
  const bool quantized = block_shape(part.dtype).values > 1;
  if (quantized || weight_format == SL_WEIGHTS_INT8) return group_encoding(part.dtype);
  if (part.scale_kind == SL_SCALE_NONE && part.dtype == SL_BF16) return kEncodingBF16;
  if (part.scale_kind == SL_SCALE_NONE && part.dtype == SL_F16) return kEncodingF16;
  return kEncodingF32;
}

// Parts share their activations, so quantised parts beside float ones run in float32.
std::vector<Encoding> choose_encodings(const LinearSpec& spec) {
  std::vector<Encoding> out;
  for (const TensorView& part : spec.parts) out.push_back(choose_encoding(part, spec.weight_format));
  const auto is_float = [](Encoding encoding) { return act_kind(encoding) == kActF32; };
  if (!std::any_of(out.begin(), out.end(), is_float)) return out;
  for (Encoding& encoding : out) {
    if (!is_float(encoding)) encoding = kEncodingF32;
  }
  return out;
}

void check(bool ok, const char* message) {
  if (!ok) throw StatusError(SL_ERR_ARGUMENT, message);
}

void check_spec(const LinearSpec& spec) {
  check(!spec.parts.empty(), "a matrix product needs at least one tensor");
  for (const TensorView& part : spec.parts) {
    check(part.rows > 0 && part.cols > 0 && part.data != nullptr, "an empty weight tensor");
    check(part.cols == spec.parts[0].cols, "stacked weight tensors differ in columns");
    check(stored_bytes(part.dtype, part.cols) > 0, "a row of a weight tensor is not whole blocks of its type");
    check(part.rope_heads <= 0 || part.rows % (2 * int64_t{part.rope_heads}) == 0,
          "rotary heads do not divide the rows of a weight tensor");
    check(part.scale_kind == SL_SCALE_NONE || part.scale != nullptr, "a scaled weight tensor without its scales");
    check(part.scale_kind != SL_SCALE_BLOCK || (part.scale_block_rows > 0 && part.scale_block_cols > 0),
          "block scales need a positive block shape");
  }
  if (!spec.gate_up) return;
  check(spec.parts.size() == 2 && spec.parts[0].rows == spec.parts[1].rows, "gate and up differ in rows");
}

class PanelLinear final : public Linear {
 public:
  PanelLinear(const LinearSpec& spec, Team& team) : kernels_(panel_kernels(spec.isa)), gated_(spec.gate_up) {
    check_spec(spec);
    cols_ = spec.parts[0].cols;
    lay_out(spec);
    act_layout_.kind = act_kind(panels_[0].encoding);
    act_layout_.cols = cols_;
    act_layout_.bytes_per_token = act_bytes(ActKind(act_layout_.kind), cols_);
    team.run([&](Member& member) {
      member.for_tiles(int64_t(panels_.size()), [&](int64_t i) {
        const Panel& panel = panels_[size_t(i)];
        const Part& part = parts_[size_t(part_of(i))];
        const int64_t first = panel.row - part.row;
        pack_panel(panel.encoding, spec.parts[size_t(part_of(i))], first, panel.rows, const_cast<uint8_t*>(panel.data));
      });
    });
  }

  void prepare(const float* x, uint8_t* acts) const override {
    if (act_layout_.kind == kActGroups) return kernels_.groups->prepare(x, cols_, acts);
    std::memcpy(acts, x, size_t(cols_) * 4);
  }

  void run(Member& member, const uint8_t* acts, int64_t tokens, float* y, int64_t y_stride, Store store,
           const float* bias) const override {
    run_tiles(member, {acts, nullptr, tokens}, {{y, y_stride, 0, store, bias}, {}, 0});
  }

  void run_largest(Member& member, const uint8_t* acts, int64_t tokens, int64_t num_largest, Largest* largest,
                   int64_t largest_stride, float* y, int64_t y_stride) const override {
    run_tiles(member, {acts, nullptr, tokens},
              {{y, y_stride, 0, Store::kAssign, nullptr}, {largest, largest_stride, 0, 0}, num_largest});
  }
  int64_t blocks() const override { return units_; }

  void run_gathered(Member& member, const uint8_t* acts, const int32_t* token_rows, int64_t count, float* y,
                    int64_t y_stride) const override {
    run_tiles(member, {acts, token_rows, count}, {{y, y_stride, 0, Store::kAssign, nullptr}, {}, 0});
  }

  void dequantize_row(int64_t row, float* out) const override {
    const auto at = std::find_if(panels_.begin(), panels_.end(),
                                 [&](const Panel& panel) { return row >= panel.row && row < panel.row + panel.rows; });
    unpack_panel_row(at->encoding, at->data, cols_, int(row - at->row), out);
  }

 private:
  struct Part {
    int64_t row;  // first output row
    int64_t first_panel;
  };
  // What becomes of the products of the first num_largest tokens, and of those of the others.
  struct Target {
    PanelTarget rows;
    LargestTarget largest;
    int64_t num_largest;
  };
  // Of a product among those of a tile: how many units the tile has, and which of its blocks of tokens this is.
  struct Place {
    int64_t units, block, blocks;
  };
  struct Tokens {
    const uint8_t* acts;
    const int32_t* rows;  // null: 0, 1, 2 ...
    int64_t count;
  };

  // Panels in the order of use: part after part; gate and up alternate.
  void lay_out(const LinearSpec& spec) {
    int64_t row = 0;
    const std::vector<Encoding> encodings = choose_encodings(spec);
    for (size_t i = 0; i < encodings.size(); ++i) {
      const TensorView& part = spec.parts[i];
      const Encoding encoding = encodings[i];
      const MultiplyPanel multiply = encoding < kNumFloatEncodings
                                         ? kernels_.multiply_floats[encoding]
                                         : kernels_.groups->multiply[encoding - kNumFloatEncodings];
      parts_.push_back({gated_ ? 0 : row, int64_t(panels_.size())});
      for (int64_t r = 0; r < part.rows; r += kPanelRows) {
        const int64_t rows = std::min<int64_t>(kPanelRows, part.rows - r);
        panels_.push_back({nullptr, multiply, encoding, int32_t((gated_ ? 0 : row) + r), int32_t(rows),
                           panel_bytes(encoding, cols_)});
      }
      row += part.rows;
    }
    rows_ = gated_ ? spec.parts[0].rows : row;
    units_ = int64_t(panels_.size()) / (gated_ ? 2 : 1);
    for (const Panel& panel : panels_) weight_bytes_ += panel.bytes;
    weights_ = WeightBuffer(size_t(weight_bytes_));
    uint8_t* at = weights_.data();
    const auto place = [&](Panel& panel) {
      panel.data = at;
      at += panel.bytes;
    };
    for (int64_t i = 0; i < units_; ++i) {
      place(panels_[size_t(i)]);
      if (gated_) place(panels_[size_t(i + units_)]);
    }
  }

  int64_t part_of(int64_t panel) const {
    int64_t part = int64_t(parts_.size()) - 1;
    while (panel < parts_[size_t(part)].first_panel) --part;
    return part;
  }

  // Tiles are ranges of the sequence (token span, panel), many enough for the members to finish together.
  void run_tiles(Member& member, const Tokens& tokens, const Target& target) const {
    if (tokens.count <= 0) return;
    const int64_t spans = (tokens.count + kTokenSpan - 1) / kTokenSpan;
    const int64_t total = spans * units_;
    const int64_t unit_macs = std::min(tokens.count, kTokenSpan) * cols_ * kPanelRows * (gated_ ? 2 : 1);
    const int64_t most = std::max<int64_t>(1, kMaxTileMacs / unit_macs);
    const int64_t least = std::max<int64_t>(1, kMinTileMacs / unit_macs);
    // A whole number of tiles each, or the members' shares would differ.
    const int64_t each = std::clamp<int64_t>(total / (least * member.size()), 1, kTilesPerMember);
    const int64_t size = std::min(most, (total + each * member.size() - 1) / (each * member.size()));
    member.for_tiles((total + size - 1) / size, [&](int64_t tile) {
      const int64_t end = std::min(total, (tile + 1) * size);
      for (int64_t at = tile * size; at < end;) {
        const int64_t span = at / units_;
        const int64_t stop = std::min(end, (span + 1) * units_);
        run_span(tokens, target, span * kTokenSpan, at - span * units_, stop - span * units_);
        at = stop;
      }
    });
  }

  void run_span(const Tokens& tokens, const Target& target, int64_t token, int64_t unit, int64_t unit_end) const {
    const int64_t token_end = std::min(tokens.count, token + kTokenSpan);
    const int64_t blocks = (token_end - token + kernels_.groups->token_block - 1) / kernels_.groups->token_block;
    for (int64_t b = 0; b < blocks; ++b) {
      // Even blocks: 17 tokens run as 9 and 8, not as 16 and 1.
      const int count = int((token_end - token + blocks - b - 1) / (blocks - b));
      const uint8_t* acts[kMostTokens];
      for (int i = 0; i < count; ++i) {
        const int64_t row = tokens.rows ? tokens.rows[token + i] : token + i;
        acts[i] = tokens.acts + row * act_layout_.bytes_per_token;
      }
      Target block = target;
      block.num_largest = std::clamp<int64_t>(target.num_largest - token, 0, count);
      block.largest.largest += token * target.largest.stride;
      block.rows.y += std::max<int64_t>(token - target.num_largest, 0) * target.rows.stride;
      const Place place = {unit_end - unit, b, blocks};
      for (int64_t i = unit; i < unit_end; ++i) run_unit(i, acts, count, place, block);
      token += count;
    }
  }

  // A little further on where a panel is read once. The next unit's panel where it is read again and again or, of
  // several blocks that walk over the tile's units, each a part of the panel as far on in the next tile. With one token
  // the hardware's own prefetching is as good, once it has come to its stride.
  Ahead ahead_of(const Panel& panel, int count, const Place& place) const {
    if (count == 1 && weight_bytes_ > kLongStream) return {panel.data, 0};
    const int64_t passes = place.blocks * ((cols_ + kAheadCols - 1) / kAheadCols),
                  step = (panel.bytes + passes - 1) / passes;
    if (place.blocks == 1 && count <= kernels_.groups->one_pass_tokens) return {panel.data + kAheadBytes, step};
    const int64_t units = place.blocks == 1 ? 1 : place.units, distance = units * panel.bytes * (gated_ ? 2 : 1);
    return {panel.data + distance + panel.bytes * place.block / place.blocks, step};
  }

  void run_unit(int64_t unit, const uint8_t* const* acts, int count, const Place& place, Target target) const {
    alignas(64) float products[2][kMostTokens * kPanelRows];
    const Panel& panel = panels_[size_t(unit)];
    const int whole = count - int(target.num_largest);  // tokens whose products are stored
    PanelTarget& rows = target.rows;
    rows.y += panel.row;
    rows.rows = panel.rows;
    if (rows.bias) rows.bias += panel.row;
    for (int i = 0; i < whole; ++i) __builtin_prefetch(rows.y + i * rows.stride, 1);
    panel.multiply(panel.data, cols_, acts, count, ahead_of(panel, count, place), products[0]);
    if (gated_) {
      const Panel& up = panels_[size_t(unit + units_)];
      up.multiply(up.data, cols_, acts, count, ahead_of(up, count, place), products[1]);
      return kernels_.store_gated(products[0], products[1], count, rows);
    }
    if (whole < count) {
      LargestTarget& largest = target.largest;
      largest.largest += unit;
      largest.row = panel.row;
      largest.rows = panel.rows;
      kernels_.store_largest(products[0], count - whole, largest);
    }
    if (whole > 0) kernels_.store(products[0] + (count - whole) * kPanelRows, whole, rows);
  }

  const PanelKernels& kernels_;
  const bool gated_;
  int64_t units_ = 0;  // panels, or pairs of panels when gated
  std::vector<Part> parts_;
  std::vector<Panel> panels_;
  WeightBuffer weights_;
};

}  // namespace

std::unique_ptr<Linear> Linear::pack(const LinearSpec& spec, Team& team) {
  return std::make_unique<PanelLinear>(spec, team);
}

const PanelKernels& panel_kernels(int32_t isa) {
  switch (isa) {
    case SL_ISA_PORTABLE:
      return kPanelKernelsPortable;
#if defined(__x86_64__)
    case SL_ISA_AVX2:
      return kPanelKernelsAvx2;
    case SL_ISA_AVX512:
      return kPanelKernelsAvx512;
    case SL_ISA_AMX:
      return kPanelKernelsAmx;
#elif defined(__aarch64__)
    case SL_ISA_NEON:
      return kPanelKernelsNeon;
#endif
  }
  throw StatusError(SL_ERR_UNSUPPORTED, "no matrix kernels for instruction set " + std::to_string(isa));
}

}  // namespace scalellm
