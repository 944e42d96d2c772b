// Panel kernels for AVX-512.
#define SL_VEC linear_avx512
#define SL_VEC_AVX512
#include "cpu/linear_float_kernel.h"

namespace scalellm {

const PanelKernels kPanelKernelsAvx512 = {
    {
        SL_VEC::multiply_float<SL_VEC::F32Column>,
        SL_VEC::multiply_float<SL_VEC::F16Column>,
        SL_VEC::multiply_float<SL_VEC::BF16Column>,
    },
    &kGroupKernelsAvx512,
    SL_VEC::store_panel,
    SL_VEC::store_gated_panel,
};

}  // namespace scalellm
