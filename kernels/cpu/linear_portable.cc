// Panel kernels in plain C++, for machines without a vector set of ours.
#define SL_VEC linear_portable
#include "cpu/linear_float_kernel.h"

namespace scalellm {

const PanelKernels kPanelKernelsPortable = {
    {
        SL_VEC::multiply_float<SL_VEC::F32Column>,
        SL_VEC::multiply_float<SL_VEC::F16Column>,
        SL_VEC::multiply_float<SL_VEC::BF16Column>,
    },
    &kGroupKernelsPortable,
    SL_VEC::store_panel,
    SL_VEC::store_gated_panel,
};

}  // namespace scalellm
