// Pages of mapped memory: when they become resident, and when they go back to the system.
#pragma once
#include <cstdint>
#include <vector>

#include "common/buffer.h"

namespace scalellm {

// Makes bytes [from, from + most) of the ranges, taken one after another, resident; their contents stay. Returns where
// it stopped: the bytes of all ranges together when nothing is left.
int64_t touch_pages(const std::vector<MemoryRange>& ranges, int64_t from, int64_t most);

// Gives the pages that lie wholly within private anonymous memory back to the system; they read as zeros from then on.
// Returns their bytes, resident or not.
int64_t drop_pages(const MemoryRange& range);

}  // namespace scalellm
