#pragma once
/// @file
/// @brief What this machine can do at best, measured now: a shared machine has slow spells.

#include <cstddef>

namespace fastprop {

/// Floating-point operations per second that `threads` threads reach together on multiply-adds in
/// registers of this level's width. T is float or double. Takes about 2 ms.
template <class T>
double measure_peak(int threads);

/// Bytes per second of y = x + 3 z over three arrays of `bytes` in all, as STREAM counts them:
/// without the line fetch that a store may cost. Small arrays stay in the caches, and so do those
/// of a small model. More than four times the last-level cache is not measured, nor more than
/// 256 MiB. Takes some 5 to 100 ms.
double measure_bandwidth(int threads, std::size_t bytes);

}  // namespace fastprop
