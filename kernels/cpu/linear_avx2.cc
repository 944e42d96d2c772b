// Panel kernels for AVX2.
#define SL_VEC linear_avx2
#define SL_VEC_AVX2
#include "cpu/linear_float_kernel.h"

namespace scalellm {

const PanelKernels kPanelKernelsAvx2 = {
    {
        SL_VEC::multiply_float<SL_VEC::F32Column>,
        SL_VEC::multiply_float<SL_VEC::F16Column>,
        SL_VEC::multiply_float<SL_VEC::BF16Column>,
    },
    &kGroupKernelsAvx2,
    SL_VEC::store_panel,
    SL_VEC::store_gated_panel,
};

}  // namespace scalellm
