// The vector kernels compiled for AVX2; see vec.h.
#define SL_VEC avx2
#define SL_VEC_AVX2 1
#include "cpu/activation_kernel.h"
#include "cpu/attention/attention_kernel.h"
#include "cpu/kernels.h"
#include "cpu/norm_kernel.h"
#include "cpu/rope_kernel.h"
#include "cpu/sampler_kernel.h"

namespace scalellm {

extern const Kernels kernels_avx2;
const Kernels kernels_avx2 = {
    .rms_norm = avx2::rms_norm,
    .rope = avx2::rope,
    .silu_mul = avx2::silu_mul,
    .add_scaled = avx2::add_scaled,
    .kv_write = avx2::kv_write,
    .attend = avx2::attend,
    .attend_combine = avx2::attend_combine,
    .argmax = avx2::argmax,
    .block_max = avx2::block_max,
    .exp_sum = avx2::exp_sum,
    .sum_from = avx2::sum_from,
    .count_above = avx2::count_above,
    .collect_from = avx2::collect_from,
};

}  // namespace scalellm
