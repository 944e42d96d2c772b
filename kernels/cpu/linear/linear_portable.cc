// Panel kernels in plain C++, for machines without a vector set of ours.
#define SL_VEC linear_portable
#include "cpu/linear/linear_float_kernel.h"

namespace scalellm {

constinit const PanelKernels kPanelKernelsPortable = SL_VEC::panel_kernels_with(&kGroupKernelsPortable);

}  // namespace scalellm
