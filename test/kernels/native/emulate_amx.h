// Runs AMX instructions on processors without them: they raise SIGILL, whose handler does what the instruction would
// and goes on behind it. So kernels for AMX are checked as they were compiled, byte for byte. Slow: about a microsecond
// an instruction. Only what the kernels use is known; anything else ends the process, as does what would raise an
// exception on a processor with AMX. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2.
#pragma once
#if defined(__x86_64__)
#include <signal.h>
#include <ucontext.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace check::amx {

struct Tile {
  int rows = 0, row_bytes = 0;
  uint8_t data[16][64] = {};
};

struct Tiles {
  bool configured = false;
  std::array<Tile, 8> tile;
};
inline thread_local Tiles tiles;

// A VEX-encoded instruction and where its memory operand is.
class Instruction {
 public:
  // Reads the instruction at the context's position. `known` is false for what is no VEX instruction of map 0f38.
  explicit Instruction(const ucontext_t& context) : registers_(context.uc_mcontext.gregs) {
    const uint8_t* at = reinterpret_cast<const uint8_t*>(registers_[REG_RIP]);
    known = at[0] == 0xc4 && (at[1] & 0x1f) == 2 && (at[2] & 0x84) == 0;  // three bytes, W0, 128 bits
    if (!known) return;
    const int index_high = at[1] & 0x40 ? 0 : 8, base_high = at[1] & 0x20 ? 0 : 8;
    prefix = at[2] & 3;
    operand = 15 - (at[2] >> 3 & 15);
    opcode = at[3];
    const uint8_t mod_rm = at[4];
    mod = mod_rm >> 6;
    reg = mod_rm >> 3 & 7;
    rm = mod_rm & 7;
    at += 5;
    if (mod != 3) at = read_address(at, index_high, base_high);
    end = at;
  }

  bool known;
  int prefix = 0;   // 0: none, 1: 66, 2: f3, 3: f2
  int operand = 0;  // the register in the prefix
  int opcode = 0, mod = 0, reg = 0, rm = 0;
  uint8_t* address = nullptr;
  int64_t stride = 0;  // what the index register adds
  const uint8_t* end = nullptr;

 private:
  int64_t value(int number) const {
    constexpr int kOrder[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                              REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return registers_[kOrder[number]];
  }

  const uint8_t* read_address(const uint8_t* at, int index_high, int base_high) {
    const auto displacement = [&]<class T>(T word) {
      std::memcpy(&word, at, sizeof word);
      at += sizeof word;
      return int64_t{word};
    };
    int64_t base = 0;
    if (rm == 4) {
      const uint8_t sib = *at++;
      const int index = (sib >> 3 & 7) + index_high, number = (sib & 7) + base_high;
      if (index != 4) stride = value(index) << (sib >> 6);
      base = mod == 0 && (sib & 7) == 5 ? displacement(int32_t{}) : value(number);
    } else if (mod == 0 && rm == 5) {
      base = displacement(int32_t{});
      base += reinterpret_cast<int64_t>(at);
    } else {
      base = value(rm + base_high);
    }
    if (mod == 1) base += displacement(int8_t{});
    if (mod == 2) base += displacement(int32_t{});
    address = reinterpret_cast<uint8_t*>(base);
    return at;
  }

  const greg_t* registers_;
};

// LDTILECFG.
inline bool configure(const uint8_t* config) {
  tiles = {};
  if (config[0] != 1) return false;
  for (size_t i = 0; i < tiles.tile.size(); ++i) {
    uint16_t row_bytes;
    std::memcpy(&row_bytes, config + 16 + 2 * i, 2);
    tiles.tile[i].rows = config[48 + i];
    tiles.tile[i].row_bytes = row_bytes;
    if (config[48 + i] > 16 || row_bytes > 64) return false;
  }
  return tiles.configured = true;
}

// TDPBSSD: sum[m][n] += the four products of signed bytes a[m][k] and b[k][n], for every k.
inline bool dot(Tile& sum, const Tile& a, const Tile& b) {
  if (sum.rows != a.rows || sum.row_bytes != b.row_bytes || a.row_bytes != 4 * b.rows) return false;
  for (int m = 0; m < sum.rows; ++m) {
    for (int n = 0; n < sum.row_bytes / 4; ++n) {
      uint32_t total;
      std::memcpy(&total, sum.data[m] + 4 * n, 4);
      for (int k = 0; k < a.row_bytes; ++k) {
        total += static_cast<uint32_t>(int8_t(a.data[m][k]) * int8_t(b.data[k / 4][4 * n + k % 4]));
      }
      std::memcpy(sum.data[m] + 4 * n, &total, 4);
    }
  }
  return true;
}

inline bool execute(const Instruction& i) {
  enum { kNone, k66, kF3, kF2 };
  if (i.opcode == 0x49 && i.prefix == kNone && i.mod != 3) return configure(i.address);
  if (!tiles.configured) return false;
  if (i.opcode == 0x49 && i.prefix == kNone && i.reg == 0 && i.rm == 0) {  // TILERELEASE
    tiles = {};
    return true;
  }
  Tile& tile = tiles.tile[static_cast<size_t>(i.reg)];
  const auto row_bytes = static_cast<size_t>(tile.row_bytes);
  if (i.opcode == 0x49 && i.prefix == kF2 && i.mod == 3) {  // TILEZERO
    std::memset(tile.data, 0, sizeof tile.data);
    return true;
  }
  if (i.opcode == 0x4b && i.prefix == kF2 && i.rm == 4) {  // TILELOADD
    std::memset(tile.data, 0, sizeof tile.data);
    for (int r = 0; r < tile.rows; ++r) std::memcpy(tile.data[r], i.address + r * i.stride, row_bytes);
    return true;
  }
  if (i.opcode == 0x4b && i.prefix == kF3 && i.rm == 4) {  // TILESTORED
    for (int r = 0; r < tile.rows; ++r) std::memcpy(i.address + r * i.stride, tile.data[r], row_bytes);
    return true;
  }
  if (i.opcode == 0x5e && i.prefix == kF2 && i.mod == 3 && i.operand < 8) {
    return dot(tile, tiles.tile[static_cast<size_t>(i.rm)], tiles.tile[static_cast<size_t>(i.operand)]);
  }
  return false;
}

// From now on, in every thread.
inline void emulate() {
  struct sigaction action = {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* where) {
    ucontext_t& context = *static_cast<ucontext_t*>(where);
    const Instruction instruction(context);
    if (!instruction.known || !execute(instruction)) std::abort();
    context.uc_mcontext.gregs[REG_RIP] = reinterpret_cast<greg_t>(instruction.end);
  };
  sigaction(SIGILL, &action, nullptr);
}

}  // namespace check::amx
#endif
