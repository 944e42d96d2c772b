// Group-quantised panel kernels for AMX: tiles of sixteen tokens, and the kernels of AVX-512 for the tokens that fill
// none. Products of bytes are sums of integers whoever adds them, so both have the same results.
//
// tdpbssd multiplies sixteen tokens by eight rows, 32 columns at once. The halves of a group have sums of their own, as
// in a vector of AVX-512's products: a line of codes becomes two, one with the codes of either half and zeros. Sums go
// through memory, to be weighed and scaled by vectors while the next group is multiplied.
#include "cpu/linear/linear_group_avx512.h"

namespace scalellm {
namespace {

constexpr int kTileTokens = 16;
constexpr int kCodeLines = kGroup / 4;

// Tiles 0 .. 3 are sums, of the first and the second rows of every four for two groups in turn; 4 and 5 activations of
// those groups; 6 and 7 codes.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, kGroup, kGroup, 64, 64};
  uint8_t rows[16] = {kTileTokens, kTileTokens, kTileTokens, kTileTokens,
                      kTileTokens, kTileTokens, kCodeLines,  kCodeLines};
};
static_assert(sizeof(TileConfig) == 64);
constexpr TileConfig kTileConfig;

// Some groups of a panel as tiles want them. They and what one tile of tokens needs beside them fit in the nearest
// cache.
constexpr int kUnpackedGroups = 8;
struct Unpacked {
  alignas(64) int8_t codes[kUnpackedGroups][2][kCodeLines][64];
  __m512 scale[kUnpackedGroups][2];
  __m512 min[kUnpackedGroups];
};

// Groups first .. first + count - 1; codes less their zero, so that they are signed.
template <class Format>
SL_INLINE void unpack(const uint8_t* panel, int64_t first, int count, Unpacked* out) {
  const __m512i zero = _mm512_set1_epi8(Format::kBits == 4 ? 8 : -128);
  for (int i = 0; i < count; ++i) {
    const int g = int((first + i) % 2);
    const Pair pair = pair_of<Format>(panel, (first + i) / 2);
    load_scales<Format>(pair, g, out->scale[i]);
    if constexpr (Format::kMin) out->min[i] = load_moved_min<Format>(pair, g);
    __m512i codes[4][2];
    load_codes<Format>(codes_of<Format>(pair, g), codes);
    for (int j = 0; j < 4; ++j) {
      for (int k = 0; k < 2; ++k) {
        const __m512i line = _mm512_sub_epi8(codes[j][k], zero);
        _mm512_store_si512(out->codes[i][k][2 * j], _mm512_maskz_mov_epi32(0x5555, line));
        _mm512_store_si512(out->codes[i][k][2 * j + 1], _mm512_maskz_mov_epi32(0xaaaa, line));
      }
    }
  }
}

// Instructions name their tiles. The intrinsics want them as literals and do not tell the compiler that they read
// memory.
template <int kTile>
SL_INLINE void load_tile(const void* data, int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(data), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
SL_INLINE void store_tile(void* data, int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(data), "r"(stride), "i"(kTile) : "memory");
}
template <int kSum, int kActs, int kCodes>
SL_INLINE void add_tile_products() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kActs), "i"(kCodes));
}

using Products = int32_t[2][kTileTokens][16];

// What every sum of products begins with, a row of a tile.
struct alignas(64) TileRow {
  int32_t value[16];
};
template <class Format>
constexpr TileRow kStart = [] {
  TileRow row = {};
  for (int32_t& value : row.value) value = kRounding<Format>;
  return row;
}();

template <class Format, int kTile>
SL_INLINE void start_tile() {
  if constexpr (kRounding<Format> == 0) {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  } else {
    load_tile<kTile>(&kStart<Format>, 0);
  }
}

// The products of a group; groups take turns at the tiles.
template <class Format, int kTurn>
SL_INLINE void multiply_group(const uint8_t* acts, int64_t stride, const int8_t (*codes)[kCodeLines][64],
                              Products& products) {
  constexpr int kFirst = 2 * kTurn, kSecond = kFirst + 1, kActs = 4 + kTurn;
  start_tile<Format, kFirst>();
  start_tile<Format, kSecond>();
  load_tile<kActs>(acts, stride);
  load_tile<6>(codes[0], 64);
  load_tile<7>(codes[1], 64);
  add_tile_products<kFirst, kActs, 6>();
  add_tile_products<kSecond, kActs, 7>();
  store_tile<kFirst>(products[0], 64);
  store_tile<kSecond>(products[1], 64);
}

// Adds a group to the sums of a tile's tokens.
template <class Format>
SL_INLINE void add_products(const Products& products, const Unpacked& from, int group, const uint8_t* acts,
                            int64_t stride, __m512* sum) {
#pragma GCC unroll 16
  for (int i = 0; i < kTileTokens; ++i, acts += stride) {
    const ActGroup* a = reinterpret_cast<const ActGroup*>(acts);
    sum[i] = add_dots<Format>(sum[i], _mm512_load_si512(products[0][i]), _mm512_load_si512(products[1][i]),
                              from.scale[group], a);
    if constexpr (Format::kMin) sum[i] = _mm512_fmadd_ps(_mm512_set1_ps(a->sum), from.min[group], sum[i]);
  }
}

// Adds `count` unpacked groups, an even number, to the sums at out of a tile's tokens from `first` on; those before it
// have them already. The first token's first group is at acts.
template <class Format>
SL_INLINE void add_tile(const Unpacked& from, int count, const uint8_t* acts, int64_t stride, int first, Ahead& ahead,
                        float* out) {
  alignas(64) Products products[2];
  __m512 sum[kTileTokens];
#pragma GCC unroll 16
  for (int i = 0; i < kTileTokens; ++i) sum[i] = _mm512_load_ps(out + i * kPanelRows);
  multiply_group<Format, 0>(acts, stride, from.codes[0], products[0]);
#pragma GCC unroll 1
  for (int g = 0; g < count; g += 2, acts += 2 * sizeof(ActGroup)) {
    fetch(ahead);
    multiply_group<Format, 1>(acts + sizeof(ActGroup), stride, from.codes[g + 1], products[1]);
    add_products<Format>(products[0], from, g, acts, stride, sum);
    fetch(ahead);
    if (g + 2 < count) multiply_group<Format, 0>(acts + 2 * sizeof(ActGroup), stride, from.codes[g + 2], products[0]);
    add_products<Format>(products[1], from, g + 1, acts + sizeof(ActGroup), stride, sum);
  }
#pragma GCC unroll 16
  for (int i = 0; i < kTileTokens; ++i) {
    if (i >= first) _mm512_store_ps(out + i * kPanelRows, sum[i]);
  }
}

// At least a tile of tokens, `stride` bytes apart. The last tile ends with the last token, so that some tokens may be
// in two.
template <class Format>
static void multiply_tiles(const uint8_t* panel, int64_t cols, const uint8_t* acts, int64_t stride, int count,
                           Ahead ahead, float* out) {
  __builtin_memset(out, 0, sizeof(float) * size_t(count * kPanelRows));
  const int tiles = (count + kTileTokens - 1) / kTileTokens;
  ahead.step = (ahead.step + tiles - 1) / tiles;  // each fetches a part
  _tile_loadconfig(&kTileConfig);
  const int64_t groups = 2 * num_pairs(cols);
  for (int64_t first = 0; first < groups; first += kUnpackedGroups) {
    const int here = int(groups - first < kUnpackedGroups ? groups - first : kUnpackedGroups);
    Unpacked unpacked;
    unpack<Format>(panel, first, here, &unpacked);
    const int64_t at = int64_t(sizeof(ActRow)) + first * int64_t(sizeof(ActGroup));
    for (int t = 0; t < tiles; ++t) {
      const int begin = t + 1 < tiles ? t * kTileTokens : count - kTileTokens;
      add_tile<Format>(unpacked, here, acts + begin * stride + at, stride, t * kTileTokens - begin, ahead,
                       out + begin * kPanelRows);
    }
  }
  _tile_release();
  for (int i = 0; i < count; ++i, acts += stride, out += kPanelRows) {
    const __m512 unit = _mm512_set1_ps(reinterpret_cast<const ActRow*>(acts)->unit);
    _mm512_store_ps(out, _mm512_mul_ps(_mm512_load_ps(out), unit));
  }
}

// Bytes from every token to the next; 0 where they differ, as those of tokens gathered for an expert do.
SL_INLINE int64_t stride_of(const uint8_t* const* acts, int count) {
  const int64_t stride = acts[1] - acts[0];
  for (int i = 2; i < count; ++i) {
    if (acts[i] - acts[i - 1] != stride) return 0;
  }
  return stride;
}

template <class Format>
static void multiply_amx(const uint8_t* panel, int64_t cols, const uint8_t* const* acts, int count, Ahead ahead,
                         float* out) {
  if (count >= kTileTokens) {
    const int64_t stride = stride_of(acts, count);
    if (stride != 0) return multiply_tiles<Format>(panel, cols, acts[0], stride, count, ahead, out);
  }
  const int blocks = (count + kTokenBlock - 1) / kTokenBlock;
  ahead.step = (ahead.step + blocks - 1) / blocks;
  for (int left = blocks; left > 0; --left) {
    const int here = (count + left - 1) / left;
    multiply<Format, Mins::kGroups>(panel, cols, acts, here, ahead, out);
    ahead.data += ahead.step * ((cols + kAheadCols - 1) / kAheadCols);
    acts += here;
    out += here * kPanelRows;
    count -= here;
  }
}

}  // namespace

const GroupKernels kGroupKernelsAmx = {
    .multiply = {multiply_amx<FormatU4>, multiply_amx<FormatU4Min>, multiply_amx<FormatI8>, multiply_amx<FormatI8Min>,
                 multiply_amx<FormatK4>, multiply_amx<FormatK5>, multiply_amx<FormatK6>},
    .token_block = kMostTokens,
    .prepare = prepare_avx512,
    .one_pass_tokens = kMostTokens,
};

}  // namespace scalellm
