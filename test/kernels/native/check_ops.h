// Every sl_op_* at random shapes against double arithmetic.
#pragma once
#include <algorithm>

#include "check.h"

namespace check {

inline void close_to(const std::vector<float>& out, const std::vector<double>& exact, double tolerance,
                     const std::string& what) {
  double most = 1e-30, worst = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    most = std::max(most, std::fabs(exact[i]));
    const double difference = std::fabs(out[i] - exact[i]);
    worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
  }
  expect(worst <= tolerance * most, what + ": error " + std::to_string(worst / most));
}

inline void elementwise(int32_t isa) {
  const int tokens = integer(0, 4), cols = integer(1, 150);
  const std::vector<float> x = normals(int64_t{tokens} * cols, 3), w = normals(cols),
                           up = normals(int64_t{tokens} * cols);
  std::vector<float> y(x.size());
  std::vector<double> exact(x.size());
  const float eps = 1e-5f;
  const sl_op_rms_norm_args norm = {isa, tokens, cols, eps, x.data(), w.data(), y.data()};
  // An empty vector's data may be null, which is refused.
  if (tokens > 0) expect_ok(sl_op_rms_norm(&norm), "rms_norm");
  for (int t = 0; t < tokens; ++t) {
    double sum = 0;
    for (int c = 0; c < cols; ++c)
      sum += static_cast<double>(x[static_cast<size_t>(t * cols + c)]) * x[static_cast<size_t>(t * cols + c)];
    for (int c = 0; c < cols; ++c) {
      exact[static_cast<size_t>(t * cols + c)] =
          x[static_cast<size_t>(t * cols + c)] / std::sqrt(sum / cols + eps) * w[static_cast<size_t>(c)];
    }
  }
  close_to(y, exact, 2e-6, "rms_norm");
  const sl_op_silu_mul_args silu = {isa, tokens, cols, 0, x.data(), up.data(), y.data()};
  if (tokens > 0) expect_ok(sl_op_silu_mul(&silu), "silu_mul");
  for (size_t i = 0; i < x.size(); ++i) exact[i] = x[i] / (1 + std::exp(-static_cast<double>(x[i]))) * up[i];
  close_to(y, exact, 2e-6, "silu_mul");
}

inline void rotation(int32_t isa) {
  const int tokens = integer(1, 3), heads = integer(1, 4), half = integer(1, 70);
  std::vector<float> x = normals(int64_t{tokens} * heads * half * 2), inv_freq;
  std::vector<int32_t> positions;
  for (int d = 0; d < half; ++d) inv_freq.push_back(std::pow(1e4f, -static_cast<float>(d) / static_cast<float>(half)));
  for (int t = 0; t < tokens; ++t) positions.push_back(integer(0, 100000));
  std::vector<double> exact(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    const int d = static_cast<int>(i) % (2 * half);
    const double angle = positions[i / static_cast<size_t>(heads * 2 * half)] *
                         static_cast<double>(inv_freq[static_cast<size_t>(d % half)]);
    const double other = d < half ? -x[i + static_cast<size_t>(half)] : x[i - static_cast<size_t>(half)];
    exact[i] = x[i] * std::cos(angle) + other * std::sin(angle);
  }
  const sl_op_rope_args args = {isa, tokens, heads, 2 * half, 1, 0, inv_freq.data(), positions.data(), x.data()};
  expect_ok(sl_op_rope(&args), "rope");
  close_to(x, exact, 2e-6, "rope");
}

inline void attention(int32_t isa) {
  const int kv_heads = integer(1, 3), group = integer(1, 7), heads = kv_heads * group, dim = 2 * integer(1, 40);
  const int context = integer(1, 330), queries = integer(1, std::min(context, 30));
  const int window = pick({0, 0, integer(1, 400)}), block = pick({8, 16, 32, 256});
  const int32_t kv = pick<int32_t>({SL_KV_F32, SL_KV_F16, SL_KV_BF16, SL_KV_INT8});
  const std::vector<float> q = normals(int64_t{queries} * heads * dim), k = normals(int64_t{context} * kv_heads * dim),
                           v = normals(int64_t{context} * kv_heads * dim);
  const int blocks = (context + block - 1) / block;
  std::vector<int32_t> table = permutation(blocks + 2);
  table.resize(static_cast<size_t>(blocks));
  table.shrink_to_fit();
  std::vector<float> out(q.size());
  const sl_op_attention_args args = {isa, integer(1, 3), heads,    kv_heads, dim,      queries,      context,   window,
                                     kv,  block,         q.data(), k.data(), v.data(), table.data(), out.data()};
  expect_ok(sl_op_attention(&args), "attention");
  std::vector<double> exact(q.size());
  for (int i = 0; i < queries; ++i) {
    const int position = context - queries + i, first = window > 0 ? std::max(0, position - window + 1) : 0;
    for (int h = 0; h < heads; ++h) {
      const float* query = q.data() + (i * heads + h) * dim;
      std::vector<double> weights;
      double total = 0;
      for (int t = first; t <= position; ++t) {
        double score = 0;
        for (int d = 0; d < dim; ++d)
          score += static_cast<double>(query[d]) * k[static_cast<size_t>((t * kv_heads + h / group) * dim + d)];
        weights.push_back(std::exp(score / std::sqrt(dim)));
        total += weights.back();
      }
      for (int d = 0; d < dim; ++d) {
        double sum = 0;
        for (int t = first; t <= position; ++t) {
          sum += weights[static_cast<size_t>(t - first)] * v[static_cast<size_t>((t * kv_heads + h / group) * dim + d)];
        }
        exact[static_cast<size_t>((i * heads + h) * dim + d)] = sum / total;
      }
    }
  }
  const double tolerance = kv == SL_KV_F32 ? 1e-5 : kv == SL_KV_F16 ? 5e-3 : 5e-2;
  close_to(out, exact, tolerance, "attention, kv dtype " + std::to_string(kv));
}

// Float weights exactly; quantised ones as the library itself dequantises them.
inline void linear(int32_t isa) {
  const int32_t dtype = integer(SL_F32, SL_Q6_K);
  constexpr int kBlocks[] = {1, 1, 1, 1, 32, 32, 32, 32, 32, 256, 256, 256};
  constexpr int kBytes[] = {4, 2, 2, 1, 34, 18, 20, 22, 24, 144, 176, 210};
  const int values = kBlocks[dtype];
  const int rows = integer(1, 70), cols = values == 1 ? integer(1, 100) : values * integer(1, 3),
            tokens = integer(0, 20);
  std::vector<uint8_t> w(static_cast<size_t>(rows) * static_cast<size_t>(cols / values * kBytes[dtype]));
  // Bytes below 0x40 keep f16, f8 and the scales of blocks finite and small; wider floats get values of one magnitude.
  for (uint8_t& byte : w) byte = static_cast<uint8_t>(integer(0, 0x3b));
  for (size_t i = 0; dtype == SL_F32 && i < w.size(); i += 4) {
    const float x = normal();
    std::memcpy(&w[i], &x, 4);
  }
  for (size_t i = 0; dtype == SL_BF16 && i < w.size(); i += 2) {
    const float x = normal();
    std::memcpy(&w[i], reinterpret_cast<const uint8_t*>(&x) + 2, 2);
  }
  std::vector<float> weights(static_cast<size_t>(rows) * static_cast<size_t>(cols));
  expect_ok(sl_op_dequantize(dtype, w.data(), static_cast<int64_t>(weights.size()), weights.data()), "dequantize");
  const std::vector<float> x = normals(int64_t{tokens} * cols);
  std::vector<float> y(static_cast<size_t>(tokens) * static_cast<size_t>(rows) + 1);
  const std::vector<float> some_x = tokens ? x : std::vector<float>(1);
  std::vector<Exact> exact;
  for (int t = 0; t < tokens; ++t) {
    for (int r = 0; r < rows; ++r)
      exact.push_back(dot(&weights[static_cast<size_t>(r * cols)], &x[static_cast<size_t>(t * cols)], cols));
  }
  for (const int32_t format : {SL_WEIGHTS_F32, SL_WEIGHTS_AUTO, SL_WEIGHTS_INT8, SL_WEIGHTS_BF16}) {
    const sl_op_linear_args args = {isa,  integer(1, 3), dtype,    format,        tokens,
                                    rows, cols,          w.data(), some_x.data(), y.data()};
    expect_ok(sl_op_linear(&args), "linear of dtype " + std::to_string(dtype));
    expect_close(y.data(), exact, format == SL_WEIGHTS_F32 ? 1e-5 : 0.05,
                 "linear of dtype " + std::to_string(dtype) + " in format " + std::to_string(format));
  }
}

inline void sampling() {
  const int vocab = integer(1, 3000), top = integer(-1, SL_MAX_TOP_LOGPROBS);
  std::vector<float> logits = normals(vocab, 4);
  if (integer(0, 3) == 0) logits[static_cast<size_t>(integer(0, vocab - 1))] = pick({NAN, INFINITY, -INFINITY});
  std::vector<int32_t> ids;
  for (int i = 0; i < integer(1, 20); ++i) ids.push_back(integer(0, vocab - 1));
  const int count = static_cast<int>(ids.size());
  const std::vector<float> values = normals(count);
  sl_slot_params p = {};
  p.struct_bytes = sizeof(p);
  p.top_k = pick({0, 1, 5, 4000});
  p.temperature = pick({0.0f, 0.7f, 3.0f});
  p.top_p = pick({1.0f, 0.9f, 0.1f});
  p.min_p = pick({0.0f, 0.1f});
  p.repetition_penalty = pick({1.0f, 1.3f});
  p.frequency_penalty = pick({0.0f, 0.5f});
  p.presence_penalty = pick({0.0f, -0.5f});
  p.seed = generator();
  p.num_prompt_tokens = p.num_output_tokens = p.num_logit_bias = p.num_stop_ids = count;
  p.min_tokens = integer(0, 30);
  p.prompt_tokens = p.output_tokens = p.logit_bias_ids = p.stop_ids = ids.data();
  p.logit_bias_values = values.data();
  int32_t token = -1, rank = -1;
  float logprob = 0;
  std::vector<int32_t> top_ids(static_cast<size_t>(std::max(top, 0)));
  std::vector<float> top_logprobs(top_ids.size());
  const sl_op_sample_args args = {
      vocab, top, count, 0, &p, logits.data(), &token, &rank, &logprob, top_ids.data(), top_logprobs.data()};
  expect_ok(sl_op_sample(&args), "sample");
  expect(token >= 0 && token < vocab, "sample: token in range");
  for (const int32_t id : top_ids) expect(id >= -1 && id < vocab, "sample: top id in range");
}

inline void operations() {
  for (const int32_t isa : isas()) {
    for (int i = 0; i < 40; ++i) {
      elementwise(isa);
      rotation(isa);
      attention(isa);
      linear(isa);
    }
  }
  for (int i = 0; i < 300; ++i) sampling();
}

}  // namespace check
