// How kernels mark what they are made of: inlined always, since a call would pass vectors through memory, and static,
// since code compiled for one instruction set must never be merged with another's by the linker.
#pragma once

#define SL_INLINE static inline __attribute__((always_inline))
// Members of classes that are local to a file.
#define SL_MEMBER inline __attribute__((always_inline))
