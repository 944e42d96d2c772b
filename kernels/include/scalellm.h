// scalellm.h: the one ABI between the engine (TypeScript, src/backend) and the native backends
// (libscalellm_cpu.so, libscalellm_cuda.so), which export the same symbols.
//
// Rules
//  - Opaque handles, plain structs with fixed-width fields, no callbacks, no aborts: a bad argument or a missing
//    device is a negative status and a message from sl_last_error(), never a crash.
//  - The caller owns every buffer it passes and may reuse it when the call returns; the library copies what it keeps.
//  - One thread drives an engine (create, slot_set, submit, wait). slot_set may run while a step is in flight as long
//    as that step does not use the slot.
//  - Weights (sl_model) are a handle of their own; several engines may borrow one model. Free engines first.
//  - Native state outlives the Worker that made it: sl_engine_reset waits for the step in flight, forgets sequences,
//    keeps weights and the KV allocation, and returns a new epoch.
//  - Struct sizes and offsets are exported by sl_abi_describe and compared with src/backend/abi.ts in a test.
//  - Bit-identical results are part of the contract: the numbers computed for one token depend only on the weights, the
//    tokens before it and the instruction set, never on the batch, the chunking, the thread count or the block table.
#ifndef SCALELLM_H_
#define SCALELLM_H_

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SL_ABI_VERSION 1
#define SL_API __attribute__((visibility("default")))

// ---------------------------------------------------------------------------------------------------- status codes
enum {
  SL_OK = 0,
  SL_ERR_ARGUMENT = -1,     // a field is out of range; sl_last_error names it
  SL_ERR_MEMORY = -2,       // an allocation failed
  SL_ERR_IO = -3,           // a weight file cannot be opened or is shorter than its tensors say
  SL_ERR_UNSUPPORTED = -4,  // a dtype, shape or instruction set this build cannot run
  SL_ERR_DEVICE = -5,       // the device is missing or failed; for CUDA sticky, the process must end
  SL_ERR_STATE = -6,        // a call out of order (unknown ticket, step in flight)
};

// Message of the last failed call on this thread; valid until the next call on it. Never null.
SL_API const char* sl_last_error(void);

// ------------------------------------------------------------------------------------------------------- data types
// Storage types of weights in files. Quantised blocks are those of GGUF (ggml), laid out as in that specification.
enum {
  SL_F32 = 0,
  SL_F16 = 1,
  SL_BF16 = 2,
  SL_F8_E4M3 = 3,
  SL_Q8_0 = 4,
  SL_Q4_0 = 5,
  SL_Q4_1 = 6,
  SL_Q5_0 = 7,
  SL_Q5_1 = 8,
  SL_Q4_K = 9,
  SL_Q5_K = 10,
  SL_Q6_K = 11,
};

// Formats that matrix products run in.
enum {
  SL_WEIGHTS_AUTO = 0,  // quantised files keep their quantisation; bf16, f16, f32, fp8 keep their precision
  SL_WEIGHTS_F32 = 1,   // dequantised, float32 arithmetic throughout: the reference path
  SL_WEIGHTS_BF16 = 2,
  SL_WEIGHTS_INT8 = 3,  // group-quantised at load
};

enum { SL_KV_F32 = 0, SL_KV_F16 = 1, SL_KV_BF16 = 2, SL_KV_INT8 = 3, SL_KV_F8_E4M3 = 4 };

// SL_ISA_AMX: tiles for 16 tokens and more, the kernels of AVX-512 for the rest.
enum { SL_ISA_AUTO = 0, SL_ISA_PORTABLE = 1, SL_ISA_AVX2 = 2, SL_ISA_AVX512 = 3, SL_ISA_NEON = 4, SL_ISA_AMX = 5 };

// Role of a tensor in the forward pass. "rows" are output features, "cols" input features.
enum {
  SL_ROLE_EMBED = 0,       // [vocab, hidden]; also the lm_head when no SL_ROLE_LM_HEAD is given
  SL_ROLE_LM_HEAD = 1,     // [vocab, hidden]
  SL_ROLE_FINAL_NORM = 2,  // [hidden]
  SL_ROLE_ATTN_NORM = 3,   // [hidden], per layer from here on
  SL_ROLE_FFN_NORM = 4,    // [hidden]
  SL_ROLE_Q = 5,           // [num_heads * head_dim, hidden]
  SL_ROLE_K = 6,           // [num_kv_heads * head_dim, hidden]
  SL_ROLE_V = 7,           // [num_kv_heads * head_dim, hidden]
  SL_ROLE_O = 8,           // [hidden, num_heads * head_dim]
  SL_ROLE_Q_BIAS = 9,      // [rows of Q]
  SL_ROLE_K_BIAS = 10,
  SL_ROLE_V_BIAS = 11,
  SL_ROLE_O_BIAS = 12,
  SL_ROLE_Q_NORM = 13,       // [head_dim]
  SL_ROLE_K_NORM = 14,       // [head_dim]
  SL_ROLE_GATE = 15,         // [intermediate, hidden]
  SL_ROLE_UP = 16,           // [intermediate, hidden]
  SL_ROLE_DOWN = 17,         // [hidden, intermediate]
  SL_ROLE_ROUTER = 18,       // [num_experts, hidden]; a layer that has one is a mixture of experts
  SL_ROLE_EXPERT_GATE = 19,  // [moe_intermediate, hidden], one tensor an expert
  SL_ROLE_EXPERT_UP = 20,    // [moe_intermediate, hidden]
  SL_ROLE_EXPERT_DOWN = 21,  // [hidden, moe_intermediate]
};

enum { SL_SCALE_NONE = 0, SL_SCALE_TENSOR = 1, SL_SCALE_ROW = 2, SL_SCALE_BLOCK = 3 };

// ------------------------------------------------------------------------------------------------------------ model
// One tensor in one file. Offsets are absolute in the file and need no alignment.
typedef struct {
  int32_t role;
  int32_t layer;   // -1 where the role is not per layer
  int32_t expert;  // -1 where the role is not per expert
  int32_t dtype;   // SL_F32 ... of the weight
  int64_t rows;    // 1 for vectors
  int64_t cols;    // contiguous dimension
  int64_t offset;
  int64_t num_bytes;
  int32_t file;         // index into sl_model_desc.paths
  int32_t rope_heads;   // > 0: rows are rotary pairs interleaved (2i, 2i+1) within each of this many heads, as GGUF
                        // stores llama's q and k; the loader permutes them to halves (i, i + head_dim/2)
  int32_t scale_kind;   // SL_SCALE_*: weight = stored * scale
  int32_t scale_dtype;  // SL_F32 or SL_BF16
  int64_t scale_offset;
  int64_t scale_num_bytes;
  int32_t scale_file;
  int32_t scale_block_rows;  // for SL_SCALE_BLOCK; partial blocks at the edges have a scale too
  int32_t scale_block_cols;
  int32_t reserved;
} sl_tensor;

enum {
  SL_FLAG_QK_NORM = 1,         // RMS norm over head_dim on q and k before rope
  SL_FLAG_NORM_TOPK_PROB = 2,  // expert weights: softmax over all, then divide by the sum of the chosen
                               // (equals a softmax over the chosen). Without it they are used as they are
};

typedef struct {
  uint32_t struct_bytes;  // sizeof(sl_model_desc): a mismatch is SL_ERR_ARGUMENT
  uint32_t flags;
  int32_t num_layers;
  int32_t hidden_size;
  int32_t num_heads;
  int32_t num_kv_heads;
  int32_t head_dim;           // even
  int32_t intermediate_size;  // of dense layers; 0 where all layers are experts
  int32_t vocab_size;
  int32_t max_positions;
  int32_t num_experts;  // 0: dense
  int32_t experts_per_token;
  int32_t moe_intermediate_size;
  float rms_norm_eps;
  float rope_attention_factor;  // yarn's scale on cos and sin; 1 otherwise
  int32_t weight_format;        // SL_WEIGHTS_*
  int32_t isa;                  // SL_ISA_*; what the machine lacks is SL_ERR_UNSUPPORTED
  int32_t num_threads;          // threads used to load; 0: one a core
  int32_t num_tensors;
  int32_t num_paths;
  const float* rope_inv_freq;   // [head_dim / 2], scaling already applied
  const int32_t* layer_window;  // [num_layers] sliding window in tokens, 0: full attention
  const sl_tensor* tensors;     // [num_tensors]
  const char* const* paths;     // [num_paths], UTF-8
} sl_model_desc;

typedef struct sl_model sl_model;

typedef struct {
  int64_t weight_bytes;  // resident bytes of the packed weights
  int64_t file_bytes;    // bytes of the tensors read
  int64_t num_parameters;
  int32_t isa;  // SL_ISA_* in use
  int32_t reserved;
} sl_model_info;

// Reads, checks and packs every tensor; blocks. Every [offset, offset + num_bytes) is checked against the file's size,
// every tensor against the shape its role implies. On error *out is untouched.
SL_API int32_t sl_model_load(const sl_model_desc* desc, sl_model** out);
SL_API int32_t sl_model_get_info(const sl_model* model, sl_model_info* out);
SL_API void sl_model_free(sl_model* model);

// ----------------------------------------------------------------------------------------------------------- engine
typedef struct {
  uint32_t struct_bytes;
  int32_t num_threads;         // compute threads; 0: one a core
  int32_t block_size;          // tokens a KV block: a power of two, 8..256
  int32_t num_blocks;          // KV blocks
  int32_t kv_dtype;            // SL_KV_*
  int32_t max_num_seqs;        // sampling slots, 0..max_num_seqs-1
  int32_t max_batched_tokens;  // most tokens in one step
  int32_t max_logit_rows;      // most logit rows in one step
  int32_t max_model_len;       // longest context
  int32_t reserved;
} sl_engine_config;

typedef struct sl_engine sl_engine;

typedef struct {
  int64_t kv_bytes;         // bytes of the whole KV cache
  int64_t kv_block_bytes;   // bytes a block, all layers, K and V
  int64_t workspace_bytes;  // activations and scratch
  int32_t epoch;
  int32_t reserved;
} sl_engine_info;

SL_API int32_t sl_engine_create(sl_model* model, const sl_engine_config* config, sl_engine** out);
SL_API int32_t sl_engine_get_info(const sl_engine* engine, sl_engine_info* out);
// Waits for the step in flight, clears all slots, starts a new epoch. Tickets of the old one are SL_ERR_STATE.
SL_API int32_t sl_engine_reset(sl_engine* engine);
SL_API void sl_engine_free(sl_engine* engine);
// Memory of an idle engine; SL_ERR_STATE while a step is in flight. Neither changes a result.
// Makes the workspace and the KV of blocks [0, num_blocks) resident, lest the first steps wait for pages: `most` bytes
// a call, `from` the bytes that calls before it did. Returns the next `from`; less than from + most when all is done.
SL_API int64_t sl_engine_touch(sl_engine* engine, int32_t num_blocks, int64_t from, int64_t most);
// Gives the pages that lie wholly in blocks [first_block, first_block + num_blocks) back to the system: what they held
// is gone. Returns their bytes.
SL_API int64_t sl_engine_release(sl_engine* engine, int32_t first_block, int32_t num_blocks);
// Bytes one KV block would take, for sizing before an engine exists; negative status on bad arguments.
SL_API int64_t sl_kv_block_bytes(const sl_model* model, int32_t block_size, int32_t kv_dtype);

// ------------------------------------------------------------------------------------------------- sampling slots
// A slot holds one running sequence's sampling state: parameters, penalty counts, position of its random stream.
// Order of operations on a row of logits: + logit_bias; repetition penalty (prompt and output tokens); frequency and
// presence penalties (output tokens); min_tokens masks stop ids; temperature (0: argmax, ties to the lowest id); top_k;
// top_p; min_p; then a draw by inversion from a counter-based generator (Philox4x32-10) on (seed, output position).
typedef struct {
  uint32_t struct_bytes;
  int32_t top_k;             // 0: off
  float temperature;         // 0: greedy
  float top_p;               // 1: off
  float min_p;               // 0: off
  float repetition_penalty;  // 1: off
  float frequency_penalty;   // 0: off
  float presence_penalty;    // 0: off
  uint64_t seed;
  int32_t num_prompt_tokens;  // given for repetition_penalty; may be 0 when that is 1
  int32_t num_output_tokens;  // tokens already sampled (resume, preemption): restores counts and random position
  int32_t num_logit_bias;
  int32_t min_tokens;  // until this many output tokens stop_ids cannot be sampled
  int32_t num_stop_ids;
  int32_t reserved;
  const int32_t* prompt_tokens;
  const int32_t* output_tokens;
  const int32_t* logit_bias_ids;   // [num_logit_bias]
  const float* logit_bias_values;  // [num_logit_bias]
  const int32_t* stop_ids;         // [num_stop_ids]
} sl_slot_params;

SL_API int32_t sl_engine_slot_set(sl_engine* engine, int32_t slot, const sl_slot_params* params);

// -------------------------------------------------------------------------------------------------------------- step
// A step is one int32 array: a header, then sections in this order, each contiguous. T tokens, S sequences, R logit
// rows, B block_table_stride, C block copies.
//   input_ids    [T]      a token id, or -1 - slot: the token that slot sampled last (in the step before, if in flight)
//   positions    [T]      absolute position of the token in its sequence
//   slot_mapping [T]      block * block_size + offset: where the token's K and V go
//   cu_seqlens   [S + 1]  tokens [cu_seqlens[s], cu_seqlens[s+1]) belong to sequence s, consecutive positions
//   context_lens [S]      tokens in the sequence's KV after this step (so the last token's position + 1)
//   block_tables [S * B]  block numbers; entries past the context, or wholly before a sliding window, are not read
//   row_tokens   [R]      which of the T tokens this logit row comes after; ascending
//   row_slots    [R]      sampling slot; -1 only for scoring rows
//   row_targets  [R]      -1: sample. >= 0: a scoring row: report this token's logprob, sample nothing
//   row_tops     [R]      how many top logprobs to report, 0..SL_MAX_TOP_LOGPROBS; -1: no logprobs at all
//   row_drafts   [R]      -1, or the draft token that the sequence's next row was computed from. If the sampled token
//                         differs, the slot's following rows in this step are dropped (token id -1, state untouched)
//   copies       [2 * C]  (source block, destination block), done before anything else: copy-on-write
// Rows of one slot are adjacent and in order of position. A slot occurs in one sequence only.
// A slot sampled as "-1 - slot" in input_ids must have sampled in an earlier step of this epoch, or been given
// output_tokens by sl_engine_slot_set.
enum {
  SL_STEP_VERSION = 0,  // header words; [0] = SL_ABI_VERSION
  SL_STEP_NUM_TOKENS = 1,
  SL_STEP_NUM_SEQS = 2,
  SL_STEP_NUM_ROWS = 3,
  SL_STEP_TABLE_STRIDE = 4,
  SL_STEP_NUM_COPIES = 5,
  SL_STEP_FLAGS = 6,      // SL_STEP_RETURN_LOGITS
  SL_STEP_NUM_WORDS = 7,  // of the whole array, header included
  SL_STEP_HEADER_WORDS = 16,
};
enum { SL_STEP_RETURN_LOGITS = 1 };  // keep the raw logits of the R rows for sl_engine_logits
#define SL_MAX_TOP_LOGPROBS 20

// The result is one int32 array of R * SL_RESULT_ROW_WORDS(max top of the step's rows, at least 0):
//   token_ids [R]  sampled or target id; -1 for a dropped draft row
//   ranks     [R]  1 = most likely (by raw logits); 0 where row_tops is -1
//   logprobs  [R]  float32 bits; log softmax of the raw logits (before penalties and temperature), as OpenAI and vLLM
//   top_ids   [R][M], top_logprobs [R][M] float32 bits, M the largest row_tops (0 when none); unused entries -1 and 0
SL_API int64_t sl_engine_submit(sl_engine* engine, const int32_t* step,
                                int64_t num_words);  // a ticket > 0, or a status
SL_API int32_t sl_engine_wait(sl_engine* engine, int64_t ticket, int32_t* result, int64_t num_words);  // blocks
// Raw logits of the step last waited for, [R, vocab_size] row-major; needs SL_STEP_RETURN_LOGITS.
SL_API int32_t sl_engine_logits(sl_engine* engine, float* out, int64_t num_floats);

// ------------------------------------------------------------------------------------------------------- measurement
enum {
  SL_STAGE_EMBED = 0,
  SL_STAGE_NORM = 1,  // norms and activation quantisation
  SL_STAGE_QKV = 2,
  SL_STAGE_ROPE_KV = 3,  // rope, KV write
  SL_STAGE_ATTENTION = 4,
  SL_STAGE_O = 5,
  SL_STAGE_GATE_UP = 6,
  SL_STAGE_DOWN = 7,
  SL_STAGE_MOE_ROUTE = 8,
  SL_STAGE_LM_HEAD = 9,
  SL_STAGE_SAMPLE = 10,
  SL_STAGE_OTHER = 11,
  SL_NUM_STAGES = 12,
};

typedef struct {
  uint64_t steps;
  uint64_t tokens;
  uint64_t step_ns;                     // from a step's start to its end, summed
  uint64_t idle_ns;                     // between the end of a step and the start of the next, while one was submitted
  uint64_t stage_ns[SL_NUM_STAGES];     // wall time of stages as seen by thread 0; zero unless profiling is on
  uint64_t stage_bytes[SL_NUM_STAGES];  // weight and KV bytes the stage had to read
  uint64_t stage_ops[SL_NUM_STAGES];    // multiply-adds
} sl_profile;

// Turns stage timing on or off; off costs one predictable branch a stage.
SL_API int32_t sl_engine_profile(sl_engine* engine, int32_t enable, sl_profile* out);

typedef struct {
  int32_t best_isa;      // SL_ISA_*
  int32_t num_cores;     // threads to compute with: cores this process may run on, within its quota
  int64_t features;      // bit per SL_CPU_*
  int64_t total_memory;  // bytes: the machine's, or the least limit of this process's control groups and of its own
  int64_t available_memory;
  double cpu_quota;  // cores' worth of processor time its control groups allow; 0: all
  char cpu_name[64];
  char memory_limit[256];  // what sets total_memory; empty: the machine
  char cpu_limit[256];     // what sets cpu_quota; empty: nothing
  char device_names[256];  // CUDA: names of the devices found, separated by newlines
} sl_probe_info;
enum {
  SL_CPU_AVX2 = 1,
  SL_CPU_FMA = 2,
  SL_CPU_F16C = 4,
  SL_CPU_AVX512 = 8,
  SL_CPU_AVX512_VNNI = 16,
  SL_CPU_AVX512_BF16 = 32,
  SL_CPU_AMX_INT8 = 64,
  SL_CPU_NEON = 128,
  SL_CPU_NEON_DOTPROD = 256,
};
// root: "" for this machine. Tests give a folder with a /proc and /sys/fs/cgroup of other machines.
SL_API int32_t sl_probe(const char* root, sl_probe_info* out);

typedef struct {
  double read_bytes_per_s;  // streaming reads, all threads
  double int8_macs_per_s;   // the multiply-add used by the isa's int8 products, registers only
  double f32_macs_per_s;
} sl_limits;
// Measures this machine's limits for a roofline; takes about 0.3 s.
SL_API int32_t sl_measure_limits(int32_t isa, int32_t num_threads, sl_limits* out);

// --------------------------------------------------------------------------------------- single operations, for tests
// Stateless entry points over caller memory, float32 in and out unless said. isa 0 is the best one; num_threads 0 one.
typedef struct {
  int32_t isa;
  int32_t num_threads;
  int32_t dtype;          // storage of w
  int32_t weight_format;  // SL_WEIGHTS_*
  int64_t tokens, rows, cols;
  const void* w;   // [rows, cols] in dtype
  const float* x;  // [tokens, cols]
  float* y;        // [tokens, rows] = x w^T
} sl_op_linear_args;
SL_API int32_t sl_op_linear(const sl_op_linear_args* args);

// Dequantises rows*cols values of a GGUF or float type to float32.
SL_API int32_t sl_op_dequantize(int32_t dtype, const void* src, int64_t num_values, float* dst);

typedef struct {
  int32_t isa;
  int32_t tokens, cols;
  float eps;
  const float* x;  // [tokens, cols]
  const float* w;  // [cols]
  float* y;        // [tokens, cols] = x / sqrt(mean(x^2) + eps) * w
} sl_op_rms_norm_args;
SL_API int32_t sl_op_rms_norm(const sl_op_rms_norm_args* args);

typedef struct {
  int32_t isa;
  int32_t tokens, num_heads, head_dim;
  float attention_factor;
  int32_t reserved;
  const float* inv_freq;     // [head_dim / 2]
  const int32_t* positions;  // [tokens]
  float* x;                  // [tokens, num_heads, head_dim], rotated in place, halves (i, i + head_dim/2)
} sl_op_rope_args;
SL_API int32_t sl_op_rope(const sl_op_rope_args* args);

typedef struct {
  int32_t isa;
  int32_t num_threads;
  int32_t num_heads, num_kv_heads, head_dim;
  int32_t query_len, context_len;  // the queries are the last query_len positions of the context
  int32_t window;                  // 0: full
  int32_t kv_dtype, block_size;
  const float* q;              // [query_len, num_heads, head_dim]
  const float* k;              // [context_len, num_kv_heads, head_dim], stored to a paged cache in kv_dtype
  const float* v;              // likewise
  const int32_t* block_table;  // [ceil(context_len / block_size)], any permutation of small numbers
  float* out;                  // [query_len, num_heads, head_dim]
} sl_op_attention_args;
SL_API int32_t sl_op_attention(const sl_op_attention_args* args);

typedef struct {
  int32_t isa;
  int32_t tokens, cols, reserved;
  const float* gate;  // [tokens, cols]
  const float* up;    // [tokens, cols]
  float* y;           // [tokens, cols] = silu(gate) * up
} sl_op_silu_mul_args;
SL_API int32_t sl_op_silu_mul(const sl_op_silu_mul_args* args);

typedef struct {
  int32_t vocab_size, top, output_position, reserved;  // top: number of top logprobs, -1 none
  const sl_slot_params* params;
  const float* logits;  // [vocab_size], untouched
  int32_t* token_id;    // sampled id
  int32_t* rank;
  float* logprob;
  int32_t* top_ids;     // [top]
  float* top_logprobs;  // [top]
} sl_op_sample_args;
SL_API int32_t sl_op_sample(const sl_op_sample_args* args);

// ------------------------------------------------------------------------------------------------- self description
// A JSON text {"version":1,"structs":{"sl_tensor":{"size":..,"fields":{"role":[offset,size],...}},...}}; static
// storage.
SL_API const char* sl_abi_describe(void);
// "cpu" or "cuda", compiler, build flags; static storage.
SL_API const char* sl_build_info(void);

#ifdef __cplusplus
}
#endif
#endif  // SCALELLM_H_
