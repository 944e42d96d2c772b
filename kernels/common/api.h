// The edge of the C ABI: every entry point runs its body through guarded(), so that no exception crosses it and a
// failure is a status with a message in sl_last_error().
#pragma once
#include <cstdint>
#include <exception>
#include <new>

#include "common/status.h"
#include "scalellm.h"

namespace scalellm {

// Sets this thread's sl_last_error(). Never throws; long messages are cut.
void set_last_error(const char* message) noexcept;

// Runs body() and returns its value, or the status of the exception it threw. R is the entry point's return type.
template <class R = int32_t, class F>
R guarded(F&& body) noexcept {
  try {
    return body();
  } catch (const StatusError& error) {
    set_last_error(error.what());
    return error.status;
  } catch (const std::bad_alloc&) {
    set_last_error("out of memory");
    return SL_ERR_MEMORY;
  } catch (const std::exception& error) {
    set_last_error(error.what());
    return SL_ERR_UNSUPPORTED;
  } catch (...) {
    set_last_error("unknown error");
    return SL_ERR_UNSUPPORTED;
  }
}

// Throws SL_ERR_ARGUMENT with the message unless ok.
inline void require(bool ok, const char* message) {
  if (!ok) throw StatusError(SL_ERR_ARGUMENT, message);
}
inline void require(bool ok, const std::string& message) {
  if (!ok) throw StatusError(SL_ERR_ARGUMENT, message);
}

}  // namespace scalellm
