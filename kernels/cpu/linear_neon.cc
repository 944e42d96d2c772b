// Panel kernels for NEON.
#define SL_VEC linear_neon
#define SL_VEC_NEON
#include "cpu/linear_float_kernel.h"

namespace scalellm {

const PanelKernels kPanelKernelsNeon = {
    {
        SL_VEC::multiply_float<SL_VEC::F32Column>,
        SL_VEC::multiply_float<SL_VEC::F16Column>,
        SL_VEC::multiply_float<SL_VEC::BF16Column>,
    },
    &kGroupKernelsNeon,
    SL_VEC::store_panel,
    SL_VEC::store_gated_panel,
};

}  // namespace scalellm
