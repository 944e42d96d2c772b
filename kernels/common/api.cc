// Last error and build description.
#include "common/api.h"

#include <cstring>
#include <string>

#include "common/backend.h"

namespace scalellm {
namespace {
thread_local char last_error[512] = "";
}

void set_last_error(const char* message) noexcept {
  std::strncpy(last_error, message, sizeof(last_error) - 1);
  last_error[sizeof(last_error) - 1] = 0;
}

}  // namespace scalellm

extern "C" const char* sl_last_error(void) {
  return scalellm::last_error;
}

extern "C" const char* sl_build_info(void) {
#if defined(__clang__)
#define SL_COMPILER "clang " __clang_version__
#else
#define SL_COMPILER "gcc " __VERSION__
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SL_CHECKS "; address and undefined behaviour sanitizers"
#else
#define SL_CHECKS ""
#endif
  static const std::string text = [] {
    const scalellm::BackendName backend = scalellm::backend_name();
    return std::string(backend.name) + "; " SL_COMPILER "; " + backend.targets + SL_CHECKS;
  }();
  return text.c_str();
}
