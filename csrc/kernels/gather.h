#pragma once
/// @file
/// @brief Rows of a batch, collected from a data set in shuffled order.

#include <cstddef>
#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// batch[i] = source[order[i]] for rows of `row_bytes` bytes. An index outside [0, source_rows)
/// gives a row of zeros: callers check their indices, this only keeps a wrong one in bounds.
void gather_rows(const void* source, const std::int64_t* order, void* batch, Index source_rows,
                 Index rows, std::size_t row_bytes);

}  // namespace fastprop
