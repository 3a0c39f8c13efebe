#pragma once
/// @file
/// @brief Which instructions of a step a thread may run on a strip of its rows after the other.

#include <vector>

#include "program/program.h"

namespace fastprop {

/// Rows of a strip. A step of 10,000 rows of 20 columns took 0.96 of the time with them on two
/// threads.
constexpr Index kStripRows = 512;

/// For each instruction: where the run ends that it begins, of row-wise instructions on narrow
/// arrays with no barrier in between; its own number if there is none. No run goes past `guard`.
///
/// Threads may run a phase in any order, so one may also do as many would, one after the other.
std::vector<std::size_t> strip_runs(const std::vector<Instruction>& step, Index guard);

}  // namespace fastprop
