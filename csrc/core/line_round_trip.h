#pragma once
/// @file
/// @brief How far the threads' cores are from each other, measured now.

#include <vector>

namespace fastprop {

/// Seconds that a cache line takes from the first thread of a team to each of the others and back,
/// in the order of the threads; empty for one thread. Two halves of one core pass it on within
/// some 20 to 60 ns, cores that share a last-level cache in 40 to 200, cores on different chips in
/// 300 to 600. Takes a millisecond a thread, ten where the threads have to wait for a core.
std::vector<double> line_round_trips(int threads);

}  // namespace fastprop
