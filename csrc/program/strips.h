#pragma once
/// @file
/// @brief Instructions that a thread runs on one chunk of the batch after the other.
///
/// A step of many narrow rows is bound by memory if every instruction goes over the whole batch.
/// So the batch is divided into chunks, as many as the plan says, never mind how many threads there
/// are. A thread owns whole chunks. It runs a *strip*, instructions that need nothing of other rows
/// and so no barrier in between, on a chunk after the other. What is written and read inside one
/// strip alone is *local*: it lies in memory of the thread, as large as one chunk needs, and never
/// leaves the cache. Sums over the batch become one sum a chunk, which are added up later.

#include <vector>

#include "program/program.h"

namespace fastprop {

/// Bytes of a row of a batched operand.
std::size_t row_bytes(const Operand& operand);

/// Most rows of a chunk, for any number of rows up to the capacity.
Index rows_of_chunk(Index capacity, Index chunks);

/// Throws Error if a strip is interrupted, or a local operand outside of strips or out of bounds.
void check_strips(const Program::Parts& parts);

/// For each instruction of a step: where the strip ends that it is in; 0 if it is in none.
std::vector<std::size_t> strip_ends(const Program::Parts& parts);

}  // namespace fastprop
