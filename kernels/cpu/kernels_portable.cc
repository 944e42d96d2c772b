// The vector kernels compiled for any machine; see vec.h.
#define SL_VEC portable
#include "cpu/activation_kernel.h"
#include "cpu/attention/attention_kernel.h"
#include "cpu/kernels.h"
#include "cpu/norm_kernel.h"
#include "cpu/rope_kernel.h"
#include "cpu/sampler_kernel.h"

namespace scalellm {

extern const Kernels kernels_portable;
const Kernels kernels_portable = {
    .rms_norm = portable::rms_norm,
    .rope = portable::rope,
    .silu_mul = portable::silu_mul,
    .add_scaled = portable::add_scaled,
    .kv_write = portable::kv_write,
    .attend = portable::attend,
    .attend_combine = portable::attend_combine,
    .argmax = portable::argmax,
    .block_max = portable::block_max,
    .exp_sum = portable::exp_sum,
    .sum_from = portable::sum_from,
    .count_above = portable::count_above,
    .collect_from = portable::collect_from,
};

}  // namespace scalellm
