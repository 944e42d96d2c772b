// Chooses the vector kernels of an instruction set.
#include "cpu/kernels.h"

#include "scalellm.h"

namespace scalellm {

extern const Kernels kernels_portable;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#endif

const Kernels& kernels_for(int32_t isa) {
  switch (isa) {
#if defined(__x86_64__)
    case SL_ISA_AVX2:
      return kernels_avx2;
    case SL_ISA_AVX512:
    case SL_ISA_AMX:  // tiles are for the matrix products
      return kernels_avx512;
#elif defined(__aarch64__)
    case SL_ISA_NEON:
      return kernels_neon;
#endif
    default:
      return kernels_portable;
  }
}

}  // namespace scalellm
