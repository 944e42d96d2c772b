// Engines over random models: chunks, batches, copies, drafts, resets and broken steps.
#pragma once
#include "check_model.h"

namespace check {

struct Row {
  int token, slot, target, top = -1, draft = -1;
};

struct Sequence {
  std::vector<int32_t> ids;
  int start;
  std::vector<int32_t> blocks;
  std::vector<Row> rows;
};

struct Result {
  std::vector<int32_t> words;
  std::vector<float> logits;
};

class Engine {
 public:
  Engine(sl_model* model, int vocab, int threads, int block, int32_t kv) : vocab_(vocab), block_(block) {
    const sl_engine_config config = {sizeof(config), threads, block, kBlocks, kv, 4, 300, 300, 400, 0};
    expect_ok(sl_engine_create(model, &config, &engine_), "engine create");
  }
  ~Engine() { sl_engine_free(engine_); }
  static constexpr int kBlocks = 160;
  sl_engine* get() const { return engine_; }

  std::vector<int32_t> pack(const std::vector<Sequence>& sequences, const std::vector<int32_t>& copies = {}) const {
    size_t stride = 0;
    for (const Sequence& s : sequences) stride = std::max(stride, s.blocks.size());
    std::vector<int32_t> ids, positions, places, starts = {0}, contexts, tables, tokens, slots, targets, tops, drafts;
    for (const Sequence& s : sequences) {
      const int first = static_cast<int>(ids.size()), count = static_cast<int>(s.ids.size());
      for (int i = 0; i < count; ++i) {
        const int position = s.start + i;
        positions.push_back(position);
        places.push_back(s.blocks[static_cast<size_t>(position / block_)] * block_ + position % block_);
      }
      ids.insert(ids.end(), s.ids.begin(), s.ids.end());
      starts.push_back(first + count);
      contexts.push_back(s.start + count);
      for (size_t i = 0; i < stride; ++i) tables.push_back(i < s.blocks.size() ? s.blocks[i] : -1);
      for (const Row& r : s.rows) {
        tokens.push_back(first + r.token);
        slots.push_back(r.slot);
        targets.push_back(r.target);
        tops.push_back(r.top);
        drafts.push_back(r.draft);
      }
    }
    std::vector<int32_t> words(SL_STEP_HEADER_WORDS);
    words[SL_STEP_VERSION] = SL_ABI_VERSION;
    words[SL_STEP_NUM_TOKENS] = static_cast<int32_t>(ids.size());
    words[SL_STEP_NUM_SEQS] = static_cast<int32_t>(sequences.size());
    words[SL_STEP_NUM_ROWS] = static_cast<int32_t>(tokens.size());
    words[SL_STEP_TABLE_STRIDE] = static_cast<int32_t>(stride);
    words[SL_STEP_NUM_COPIES] = static_cast<int32_t>(copies.size() / 2);
    words[SL_STEP_FLAGS] = SL_STEP_RETURN_LOGITS;
    for (const std::vector<int32_t>* section :
         std::initializer_list<const std::vector<int32_t>*>{&ids, &positions, &places, &starts, &contexts, &tables,
                                                            &tokens, &slots, &targets, &tops, &drafts, &copies}) {
      words.insert(words.end(), section->begin(), section->end());
    }
    words[SL_STEP_NUM_WORDS] = static_cast<int32_t>(words.size());
    words.shrink_to_fit();
    return words;
  }

  Result run(const std::vector<Sequence>& sequences, const std::vector<int32_t>& copies = {}) const {
    int rows = 0, top = 0;
    for (const Sequence& s : sequences) {
      for (const Row& r : s.rows) {
        ++rows;
        top = std::max(top, r.top);
      }
    }
    const std::vector<int32_t> step = pack(sequences, copies);
    const int64_t ticket = sl_engine_submit(engine_, step.data(), static_cast<int64_t>(step.size()));
    expect_ok(ticket, "submit");
    Result result;
    result.words.resize(static_cast<size_t>(rows * (3 + 2 * top)));
    result.logits.resize(static_cast<size_t>(rows) * static_cast<size_t>(vocab_));
    if (ticket < 0) return result;
    expect_ok(sl_engine_wait(engine_, ticket, result.words.data(), static_cast<int64_t>(result.words.size())), "wait");
    if (rows > 0)
      expect_ok(sl_engine_logits(engine_, result.logits.data(), static_cast<int64_t>(result.logits.size())), "logits");
    return result;
  }

  void set_slot(int slot, float temperature) const {
    sl_slot_params p = {};
    p.struct_bytes = sizeof(p);
    p.temperature = temperature;
    p.top_p = 1;
    p.repetition_penalty = 1.1f;
    p.frequency_penalty = 0.1f;
    p.seed = 7;
    expect_ok(sl_engine_slot_set(engine_, slot, &p), "slot_set");
  }

 private:
  int vocab_, block_;
  sl_engine* engine_ = nullptr;
};

inline std::vector<int32_t> random_ids(int count, int vocab) {
  std::vector<int32_t> out;
  for (int i = 0; i < count; ++i) out.push_back(integer(0, vocab - 1));
  return out;
}

// The whole prompt at once is the reference for chunks, for a batch, and for a copied prefix.
inline void same_bits(RandomModel& model, const Engine& a, const Engine& b, int block) {
  const int vocab = model.vocab(), length = integer(2, 290), blocks = (length + 7) / 8 + 1;
  const std::vector<int32_t> ids = random_ids(length, vocab);
  const auto table = [&] {
    std::vector<int32_t> t = permutation(Engine::kBlocks);
    t.resize(static_cast<size_t>(blocks));
    return t;
  };
  const auto part = [&](int start, int count, const std::vector<int32_t>& t, int rows_from) {
    Sequence s{{ids.begin() + start, ids.begin() + start + count}, start, t, {}};
    for (int i = 0; i < count; ++i) {
      if (start + i >= rows_from) s.rows.push_back({i, -1, ids[static_cast<size_t>(i)], integer(-1, 3)});
    }
    return s;
  };
  const std::vector<float> whole = a.run({part(0, length, table(), 0)}).logits;
  const auto equal = [&](const std::vector<float>& logits, int from, const char* what) {
    expect(std::memcmp(logits.data(), whole.data() + static_cast<size_t>(from) * static_cast<size_t>(vocab),
                       logits.size() * 4) == 0,
           what);
  };
  const std::vector<int32_t> chunk_table = table();
  for (int start = 0; start < length;) {
    const int count = std::min(integer(1, 60), length - start);
    equal(b.run({part(start, count, chunk_table, 0)}).logits, start, "chunks");
    start += count;
  }
  // A batch with another sequence before it, on disjoint blocks.
  const std::vector<int32_t> all = permutation(Engine::kBlocks);
  Sequence other{random_ids(integer(1, 9), vocab), 0, {all.begin() + blocks, all.begin() + blocks + 2}, {{0, -1, 0}}};
  const int last = length - 1;
  const Result batch = a.run({other, part(0, length, {all.begin(), all.begin() + blocks}, last)});
  equal({batch.logits.end() - vocab, batch.logits.end()}, last, "batch");
  // The first blocks copied, the rest computed over the copy.
  const int prefix = last / block * block;
  if (prefix == 0) return;
  const std::vector<int32_t> from = {all.begin(), all.begin() + blocks};
  std::vector<int32_t> to = {all.begin() + blocks, all.begin() + 2 * blocks}, copies;
  for (int i = 0; i < prefix / block; ++i)
    copies.insert(copies.end(), {from[static_cast<size_t>(i)], to[static_cast<size_t>(i)]});
  equal(a.run({part(prefix, length - prefix, to, last)}, copies).logits, last, "copied blocks");
}

// A right draft is accepted, a wrong one drops what follows, and the slot goes on as if alone.
inline void drafts(const Engine& engine, int vocab) {
  const std::vector<int32_t> prompt = random_ids(5, vocab), blocks = {3, 1, 0};
  for (const float temperature : {0.0f, 1.0f}) {
    std::vector<int32_t> plain;
    engine.set_slot(1, temperature);
    plain.push_back(engine.run({{prompt, 0, blocks, {{4, 1, -1}}}}).words[0]);
    for (int i = 0; i < 4; ++i) plain.push_back(engine.run({{{-2}, 5 + i, blocks, {{0, 1, -1}}}}).words[0]);
    engine.set_slot(1, temperature);
    engine.run({{prompt, 0, blocks, {{4, 1, -1}}}});
    const int32_t wrong = (plain[3] + 1) % vocab;
    const Sequence drafted{{-2, plain[1], plain[2], wrong},
                           5,
                           blocks,
                           {{0, 1, -1, -1, plain[1]}, {1, 1, -1, -1, plain[2]}, {2, 1, -1, 2, wrong}, {3, 1, -1}}};
    const std::vector<int32_t> words = engine.run({drafted}).words;
    expect(words[0] == plain[1] && words[1] == plain[2] && words[2] == plain[3], "drafts: accepted tokens");
    expect(vocab == 1 || words[3] == -1, "drafts: dropped row");
    expect(engine.run({{{-2}, 8, blocks, {{0, 1, -1}}}}).words[0] == plain[4], "drafts: continuation");
  }
}

// A step with words changed at random is refused or runs; nothing is read or written out of range.
inline void fuzz_steps(const Engine& engine, int vocab) {
  engine.set_slot(0, 0.8f);
  for (int i = 0; i < 400; ++i) {
    std::vector<int32_t> step =
        engine.pack({{random_ids(5, vocab), 0, {4, 2, 9}, {{2, -1, 0, 3}, {4, 0, -1, 1}}}}, {8, 7});
    for (int j = integer(1, 3); j > 0; --j) {
      step[static_cast<size_t>(integer(0, static_cast<int>(step.size()) - 1))] =
          pick({-1, 0, 1, 1 << 20, INT32_MIN, INT32_MAX, integer(-300, 300)});
    }
    const int64_t ticket = sl_engine_submit(engine.get(), step.data(), static_cast<int64_t>(step.size()));
    if (ticket < 0) continue;
    const int rows = step[SL_STEP_NUM_ROWS];
    std::vector<int32_t> result(static_cast<size_t>(rows) * (3 + 2 * SL_MAX_TOP_LOGPROBS));
    for (int top = 0; top <= SL_MAX_TOP_LOGPROBS; ++top) {
      if (sl_engine_wait(engine.get(), ticket, result.data(), rows * (3 + 2 * top)) == SL_OK) break;
    }
  }
}

inline void handles(sl_model* model, const Engine& engine) {
  expect(sl_model_load(nullptr, nullptr) == SL_ERR_ARGUMENT, "null arguments");
  expect(sl_engine_create(model, nullptr, nullptr) == SL_ERR_ARGUMENT, "null arguments");
  expect(sl_engine_submit(engine.get(), nullptr, 3) == SL_ERR_ARGUMENT, "null step");
  expect(sl_engine_wait(engine.get(), 1 << 30, nullptr, 0) == SL_ERR_STATE, "unknown ticket");
  expect(sl_kv_block_bytes(model, 16, SL_KV_F16) > 0, "block bytes");
  expect(sl_kv_block_bytes(model, 15, SL_KV_F16) == SL_ERR_ARGUMENT, "block bytes of a bad size");
  expect_ok(sl_engine_reset(engine.get()), "reset");
  sl_engine_info info = {};
  expect_ok(sl_engine_get_info(engine.get(), &info), "info");
  expect(info.epoch == 2 && info.kv_bytes == info.kv_block_bytes * Engine::kBlocks, "info after a reset");
  sl_profile profile = {};
  expect_ok(sl_engine_profile(engine.get(), 1, &profile), "profile");
  expect(profile.steps > 0, "profile counts steps");
}

inline void models() {
  for (int i = 0; i < 12; ++i) {
    RandomModel random;
    for (const int32_t isa : isas()) {
      for (const int32_t format : {SL_WEIGHTS_AUTO, SL_WEIGHTS_F32}) {
        sl_model* model = random.load(isa, format);
        if (!model) continue;
        const int32_t kv = pick<int32_t>({SL_KV_F32, SL_KV_F16, SL_KV_BF16, SL_KV_INT8});
        const int block = pick({8, 16, 64});
        const Engine a(model, random.vocab(), 2, block, kv), b(model, random.vocab(), 1, pick({8, 32}), kv);
        same_bits(random, a, b, block);
        drafts(a, random.vocab());
        fuzz_steps(a, random.vocab());
        handles(model, a);
      }
    }
    random.fuzz_description();
  }
}

}  // namespace check
