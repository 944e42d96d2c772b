// Panel kernels for NEON.
#define SL_VEC linear_neon
#define SL_VEC_NEON
#include "cpu/linear/linear_float_kernel.h"

namespace scalellm {

constinit const PanelKernels kPanelKernelsNeon = SL_VEC::panel_kernels_with(&kGroupKernelsNeon);

}  // namespace scalellm
