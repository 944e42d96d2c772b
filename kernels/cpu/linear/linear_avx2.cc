// Panel kernels for AVX2.
#define SL_VEC linear_avx2
#define SL_VEC_AVX2
#include "cpu/linear/linear_float_kernel.h"

namespace scalellm {

constinit const PanelKernels kPanelKernelsAvx2 = SL_VEC::panel_kernels_with(&kGroupKernelsAvx2);

}  // namespace scalellm
