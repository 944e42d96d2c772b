// The vector kernels compiled for NEON; see vec.h.
#define SL_VEC neon
#define SL_VEC_NEON 1
#include "cpu/activation_kernel.h"
#include "cpu/attention/attention_kernel.h"
#include "cpu/kernels.h"
#include "cpu/norm_kernel.h"
#include "cpu/rope_kernel.h"
#include "cpu/sampler_kernel.h"

namespace scalellm {

extern const Kernels kernels_neon;
const Kernels kernels_neon = {
    .rms_norm = neon::rms_norm,
    .rope = neon::rope,
    .silu_mul = neon::silu_mul,
    .add_scaled = neon::add_scaled,
    .kv_write = neon::kv_write,
    .attend = neon::attend,
    .attend_combine = neon::attend_combine,
    .argmax = neon::argmax,
    .block_max = neon::block_max,
    .exp_sum = neon::exp_sum,
    .sum_from = neon::sum_from,
    .count_above = neon::count_above,
    .collect_from = neon::collect_from,
};

}  // namespace scalellm
