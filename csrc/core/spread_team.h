#pragma once
/// @file
/// @brief A team for measurements of the machine.

#include <functional>

#include "core/team.h"

namespace fastprop {

/// run_team with every thread kept on a CPU of its own for as long as it lasts, where the system
/// can do that (Linux). Otherwise two threads that were asleep share a CPU for their first 10 ms or
/// so, which is longer than a measurement takes. Threads stay where they are if they differ
/// already.
void run_spread_team(int threads, const std::function<void(const Team&)>& body);

}  // namespace fastprop
