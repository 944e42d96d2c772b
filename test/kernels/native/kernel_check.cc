// A native check of the whole C ABI for the sanitizers: every operation at odd shapes, then tiny random models through
// engines. Exits non-zero on any mismatch. An argument is the seed; without one it is random, and printed.
#include "check_crew.h"
#include "check_engine.h"
#include "check_linear.h"
#include "check_ops.h"
#include "check_team.h"

int main(int argc, char** argv) {
  const unsigned seed = argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : std::random_device()();
  std::printf("kernel_check: seed %u, %s\n", seed, sl_build_info());
  check::generator.seed(seed);
  check::teams();
  check::crews();
  check::operations();
  check::linears();
  check::models();
  sl_limits limits = {};
  check::expect_ok(sl_measure_limits(SL_ISA_AUTO, 1, &limits), "measure_limits");
  std::printf("kernel_check: %d failures\n", check::failures);
  return check::failures == 0 ? 0 : 1;
}
