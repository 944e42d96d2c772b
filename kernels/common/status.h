// Failures inside the library are a StatusError; the C entry points turn it into a status code and sl_last_error().
#pragma once
#include <stdexcept>
#include <string>

namespace scalellm {

struct StatusError : std::runtime_error {
  StatusError(int status, const std::string& message) : std::runtime_error(message), status(status) {}
  int status;  // SL_ERR_*
};

}  // namespace scalellm
