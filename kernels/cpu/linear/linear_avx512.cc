// Panel kernels for AVX-512, with or without tiles for groups.
#define SL_VEC linear_avx512
#define SL_VEC_AVX512
#include "cpu/linear/linear_float_kernel.h"

namespace scalellm {

constinit const PanelKernels kPanelKernelsAvx512 = SL_VEC::panel_kernels_with(&kGroupKernelsAvx512);
constinit const PanelKernels kPanelKernelsAmx = SL_VEC::panel_kernels_with(&kGroupKernelsAmx);

}  // namespace scalellm
