// The vector kernels compiled for AVX512; see vec.h.
#pragma GCC diagnostic ignored "-Wuninitialized"  // GCC 12's own headers (GCC bug 105593)
#define SL_VEC avx512
#define SL_VEC_AVX512 1
#include "cpu/activation_kernel.h"
#include "cpu/attention/attention_kernel.h"
#include "cpu/kernels.h"
#include "cpu/norm_kernel.h"
#include "cpu/rope_kernel.h"
#include "cpu/sampler_kernel.h"

namespace scalellm {

extern const Kernels kernels_avx512;
const Kernels kernels_avx512 = {
    .rms_norm = avx512::rms_norm,
    .rope = avx512::rope,
    .silu_mul = avx512::silu_mul,
    .add_scaled = avx512::add_scaled,
    .kv_write = avx512::kv_write,
    .attend = avx512::attend,
    .attend_combine = avx512::attend_combine,
    .argmax = avx512::argmax,
    .block_max = avx512::block_max,
    .exp_sum = avx512::exp_sum,
    .sum_from = avx512::sum_from,
    .count_above = avx512::count_above,
    .collect_from = avx512::collect_from,
};

}  // namespace scalellm
