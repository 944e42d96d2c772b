// What sl_op_linear does not reach of Linear: stacked parts, gate and up, bias, residual, gathered tokens, rows read
// back, scaled fp8, rotary permutation. Against double arithmetic over read_row, whose values test/kernels checks.
#pragma once
#include "check.h"
#include "common/dequant.h"
#include "cpu/linear/linear.h"
#include "cpu/linear/linear_panel.h"
#include "cpu/linear/weight_buffer.h"
#include "emulate_amx.h"

namespace check {

using namespace scalellm;

// A tensor and the memory its view points to.
struct Tensor {
  TensorView view;
  std::vector<uint8_t> data;
  std::vector<float> scales;
};

inline Tensor random_tensor(int32_t dtype, int64_t rows, int64_t cols) {
  Tensor t;
  t.view.dtype = dtype;
  t.view.rows = rows;
  t.view.cols = cols;
  const BlockShape shape = block_shape(dtype);
  t.data.resize(static_cast<size_t>(stored_bytes(dtype, cols) * rows));
  for (auto& byte : t.data) byte = static_cast<uint8_t>(integer(0, 255));
  const auto half_at = [&](size_t at) {  // 2^-9 .. 2^-6
    t.data[at + 1] = static_cast<uint8_t>(integer(0x18, 0x24));
  };
  for (size_t at = 0; at < t.data.size(); at += static_cast<size_t>(shape.bytes)) {
    if (dtype == SL_F32) {
      const float value = normal(0.1f);
      std::memcpy(&t.data[at], &value, 4);
    } else if (dtype == SL_BF16) {
      t.data[at + 1] = static_cast<uint8_t>(0x3d | (integer(0, 1) << 7));
    } else if (dtype == SL_F8_E4M3) {
      t.data[at] &= 0xbf;
    } else {
      half_at(dtype == SL_Q6_K ? at + 208 : at);
      if (dtype == SL_Q4_1 || dtype == SL_Q5_1 || dtype == SL_Q4_K || dtype == SL_Q5_K) half_at(at + 2);
    }
  }
  t.view.data = t.data.data();
  return t;
}

inline void add_scales(Tensor& t) {
  t.view.scale_kind = pick<int32_t>({SL_SCALE_TENSOR, SL_SCALE_ROW, SL_SCALE_BLOCK});
  t.view.scale_dtype = SL_F32;
  t.view.scale_block_rows = integer(1, 20);
  t.view.scale_block_cols = integer(1, 90);
  for (int64_t i = 0; i < t.view.rows * t.view.cols; ++i) t.scales.push_back(0.1f + std::fabs(normal()));
  t.view.scale = reinterpret_cast<const uint8_t*>(t.scales.data());
}

inline Exact product(const TensorView& view, int64_t row, const float* x) {
  std::vector<float> w(static_cast<size_t>(view.cols));
  read_row(view, row, w.data());
  return dot(w.data(), x, view.cols);
}

// silu(gate) up, and how far errors of the two move it.
inline Exact gated(const Exact& gate, const Exact& up) {
  const double sigmoid = 1 / (1 + std::exp(-gate.value)), silu = gate.value * sigmoid;
  const double slope = sigmoid * (1 + gate.value * (1 - sigmoid));
  return {silu * up.value, std::hypot(slope * up.value * gate.size, silu * up.size)};
}

// Products of tokens [tokens][cols] with every output row.
inline std::vector<Exact> products(const LinearSpec& spec, int64_t rows, int64_t tokens, const float* x) {
  std::vector<Exact> out;
  for (int64_t t = 0; t < tokens; ++t) {
    const float* token = x + t * spec.parts[0].cols;
    if (spec.gate_up) {
      for (int64_t r = 0; r < rows; ++r)
        out.push_back(gated(product(spec.parts[0], r, token), product(spec.parts[1], r, token)));
      continue;
    }
    for (const TensorView& part : spec.parts) {
      for (int64_t r = 0; r < part.rows; ++r) out.push_back(product(part, r, token));
    }
  }
  return out;
}

inline void read_back(const LinearSpec& spec, const Linear& linear, const std::string& what) {
  std::vector<float> packed(static_cast<size_t>(linear.cols())), stored(packed.size());
  int64_t row = 0;
  for (const TensorView& part : spec.parts) {
    if (spec.gate_up && row > 0) return;
    for (int64_t r = 0; r < part.rows; ++r, ++row) {
      linear.dequantize_row(row, packed.data());
      read_row(part, r, stored.data());
      expect(packed == stored, what + ": row " + std::to_string(row) + " read back");
    }
  }
}

// The largest of values[0 .. rows) and its row counted from `row`.
inline Largest largest_of(const float* values, int rows, int32_t row) {
  Largest out = {-INFINITY, -1};
  for (int r = 0; r < rows; ++r) {
    if (values[r] > out.value || (out.row < 0 && values[r] == out.value)) out = {values[r], row + r};
  }
  return out;
}

// Some tokens' largest products and the others' products against all products, plain[tokens][stride].
inline void largest_and_others(const LinearSpec& spec, const Linear& linear, Team& team, const uint8_t* acts,
                               int64_t tokens, const float* plain, int64_t stride, const std::string& what) {
  const int64_t num_largest = integer(0, static_cast<int>(tokens)), rows = linear.rows(), blocks = linear.blocks();
  const int64_t largest_stride = blocks + integer(0, 3);
  std::vector<Largest> largest(static_cast<size_t>(num_largest * largest_stride));
  std::vector<float> others(static_cast<size_t>((tokens - num_largest) * rows));
  team.run([&](Member& member) {
    linear.run_largest(member, acts, tokens, num_largest, largest.data(), largest_stride, others.data(), rows);
  });
  bool same = true;
  for (int64_t t = 0; t < num_largest; ++t) {
    const Largest* at = &largest[static_cast<size_t>(t * largest_stride)];
    int32_t first = 0;
    for (const TensorView& part : spec.parts) {
      for (int32_t row = 0; row < part.rows; row += 16, ++at) {
        const int count = std::min(16, static_cast<int>(part.rows) - row);
        const Largest expected = largest_of(plain + t * stride + first + row, count, first + row);
        same = same && at->value == expected.value && at->row == expected.row;
      }
      first += static_cast<int32_t>(part.rows);
    }
    same = same && at == &largest[static_cast<size_t>(t * largest_stride)] + blocks;
  }
  for (int64_t t = num_largest; t < tokens; ++t) {
    same = same && std::equal(plain + t * stride, plain + t * stride + rows, &others[size_t((t - num_largest) * rows)]);
  }
  expect(same, what + ": largest of some tokens, products of the others");
}

// With ties, infinities and NaN, and rows that are not there.
inline void stored_largest(int32_t isa) {
  alignas(64) float products[kTokenBlock * kPanelRows];
  for (int round = 0; round < 200; ++round) {
    const int count = integer(1, kTokenBlock), rows = integer(1, kPanelRows), kinds = integer(1, 6);
    const float values[] = {NAN, -INFINITY, 1, 2, normal(), INFINITY};
    for (float& x : products) x = values[integer(0, kinds - 1)];
    std::vector<Largest> out(static_cast<size_t>(2 * count));
    panel_kernels(isa).store_largest(products, count, {out.data(), 2, 48, rows});
    for (int i = 0; i < count; ++i) {
      const Largest expected = largest_of(products + i * kPanelRows, rows, 48), got = out[static_cast<size_t>(2 * i)];
      expect(got.value == expected.value && got.row == expected.row, "store_largest isa " + std::to_string(isa));
    }
  }
}

// Activations of x[tokens][cols].
inline void prepare_all(Member& member, const Linear& linear, const std::vector<float>& x, WeightBuffer& acts) {
  const int64_t cols = linear.cols(), act_bytes = linear.act_layout().bytes_per_token;
  member.for_tiles(static_cast<int64_t>(x.size()) / cols,
                   [&](int64_t t) { linear.prepare(&x[static_cast<size_t>(t * cols)], acts.data() + t * act_bytes); });
  member.barrier();
}

inline void linear(int32_t isa, const std::vector<int32_t>& dtypes, bool gate_up, int32_t weight_format) {
  const int64_t cols = 256 * integer(1, 2), heads = 2;
  LinearSpec spec;
  spec.isa = isa;
  spec.gate_up = gate_up;
  spec.weight_format = weight_format;
  std::vector<Tensor> tensors;
  tensors.reserve(dtypes.size());
  const int64_t same_rows = 2 * integer(1, 30);
  bool floats = true;
  for (const int32_t dtype : dtypes) {
    tensors.push_back(random_tensor(dtype, gate_up ? same_rows : 2 * integer(1, 30), cols));
    Tensor& tensor = tensors.back();
    if (dtype == SL_F8_E4M3) add_scales(tensor);
    if (!gate_up && tensors.size() == 1 && tensor.view.rows % (2 * heads) == 0) tensor.view.rope_heads = heads;
    spec.parts.push_back(tensor.view);
    floats = floats && (weight_format == SL_WEIGHTS_F32 || block_shape(dtype).values == 1);
  }
  const std::string what = "linear isa " + std::to_string(isa) + " dtype " + std::to_string(dtypes[0]) +
                           (gate_up ? " gated" : "") + " format " + std::to_string(weight_format);
  Team team(integer(1, 3));
  const auto linear = Linear::pack(spec, team);
  const int64_t tokens = integer(1, 40), rows = linear->rows(), stride = rows + integer(0, 3);
  const std::vector<float> x = normals(tokens * cols), bias = normals(rows), residual = normals(tokens * stride);
  const int64_t act_bytes = linear->act_layout().bytes_per_token;
  WeightBuffer acts(static_cast<size_t>(act_bytes * tokens));
  std::vector<int32_t> chosen;
  for (int64_t i = integer(1, 20); i > 0; --i) chosen.push_back(integer(0, static_cast<int>(tokens) - 1));

  std::vector<float> sum = residual, gathered(chosen.size() * static_cast<size_t>(rows)), plain(residual.size());
  team.run([&](Member& member) {
    prepare_all(member, *linear, x, acts);
    linear->run(member, acts.data(), tokens, plain.data(), stride, Store::kAssign, nullptr);
    linear->run(member, acts.data(), tokens, sum.data(), stride, Store::kAdd, bias.data());
    linear->run_gathered(member, acts.data(), chosen.data(), static_cast<int64_t>(chosen.size()), gathered.data(),
                         rows);
  });

  const std::vector<Exact> exact = products(spec, rows, tokens, x.data());
  std::vector<float> dense;
  bool same = true;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t r = 0; r < stride; ++r) {
      const size_t at = static_cast<size_t>(t * stride + r);
      if (r < rows) dense.push_back(plain[at]);
      const float expected = r < rows ? residual[at] + (plain[at] + bias[static_cast<size_t>(r)]) : residual[at];
      same = same && sum[at] == expected;
    }
  }
  expect(same, what + ": bias and residual");
  if (!gate_up) largest_and_others(spec, *linear, team, acts.data(), tokens, plain.data(), stride, what);
  const bool rounded = weight_format == SL_WEIGHTS_BF16 || weight_format == SL_WEIGHTS_INT8;
  expect_close(dense.data(), exact, rounded || !floats ? 0.03 : 1e-5, what);
  for (size_t i = 0; i < chosen.size(); ++i) {
    const float* row = &dense[static_cast<size_t>(chosen[i] * rows)];
    expect(std::equal(row, row + rows, &gathered[i * static_cast<size_t>(rows)]), what + ": gathered");
  }
  if (!rounded) read_back(spec, *linear, what);
}

// Any number of tokens, side by side or gathered, and each alone: the same bits.
inline void together_and_alone(int32_t isa, int32_t dtype) {
  const int64_t cols = 256 * integer(1, 3), tokens = integer(2, 140);
  const Tensor tensor = random_tensor(dtype, integer(1, 40), cols);
  LinearSpec spec;
  spec.isa = isa;
  spec.parts = {tensor.view};
  Team team(integer(1, 2));
  const auto linear = Linear::pack(spec, team);
  const auto rows = static_cast<size_t>(linear->rows()), size = static_cast<size_t>(tokens) * rows;
  const std::vector<float> x = normals(tokens * cols);
  const int64_t act_bytes = linear->act_layout().bytes_per_token;
  WeightBuffer acts(static_cast<size_t>(act_bytes * tokens));
  const std::vector<int32_t> order = permutation(static_cast<int>(tokens));
  std::vector<float> together(size), gathered(size), alone(size);
  const auto stride = static_cast<int64_t>(rows);
  team.run([&](Member& member) {
    prepare_all(member, *linear, x, acts);
    linear->run(member, acts.data(), tokens, together.data(), stride, Store::kAssign, nullptr);
    linear->run_gathered(member, acts.data(), order.data(), tokens, gathered.data(), stride);
    for (int64_t t = 0; t < tokens; ++t) {
      linear->run(member, acts.data() + t * act_bytes, 1, &alone[static_cast<size_t>(t) * rows], stride, Store::kAssign,
                  nullptr);
    }
  });
  const std::string what = "linear isa " + std::to_string(isa) + " dtype " + std::to_string(dtype) + " of " +
                           std::to_string(tokens) + " tokens: ";
  expect(together == alone, what + "together and alone");
  for (size_t i = 0; i < order.size(); ++i) {
    const float* row = &alone[static_cast<size_t>(order[i]) * rows];
    expect(std::equal(row, row + rows, &gathered[i * rows]), what + "gathered and alone");
  }
}

// Those of the machine and, where AVX-512 is among them, that of AMX, emulated if need be.
inline std::vector<int32_t> linear_isas() {
  std::vector<int32_t> out = isas();
#if defined(__x86_64__)
  if (out.back() == SL_ISA_AVX512) {
    amx::emulate();
    out.push_back(SL_ISA_AMX);
  }
#endif
  return out;
}

inline void linears() {
  for (const int32_t isa : linear_isas()) {
    stored_largest(isa);
    for (const int32_t dtype : {SL_BF16, SL_Q4_0, SL_Q4_1, SL_Q8_0, SL_Q5_1, SL_Q4_K, SL_Q5_K, SL_Q6_K}) {
      together_and_alone(isa, dtype);
    }
    for (int32_t dtype = SL_F32; dtype <= SL_Q6_K; ++dtype) {
      if (dtype == SL_F16) continue;  // random bytes are no sensible binary16
      for (const bool gated : {false, true}) {
        linear(isa, {dtype, dtype}, gated, SL_WEIGHTS_AUTO);
        linear(isa, {dtype, dtype}, gated, SL_WEIGHTS_F32);
      }
    }
    linear(isa, {SL_Q4_K, SL_Q4_K, SL_Q6_K}, false, SL_WEIGHTS_AUTO);
    linear(isa, {SL_Q4_1, SL_Q8_0}, true, SL_WEIGHTS_AUTO);
    linear(isa, {SL_F32, SL_Q8_0}, false, SL_WEIGHTS_AUTO);
    linear(isa, {SL_F32, SL_BF16}, false, SL_WEIGHTS_INT8);
    linear(isa, {SL_BF16, SL_F8_E4M3}, true, SL_WEIGHTS_BF16);
  }
}

}  // namespace check
