#pragma once
/// @file
/// @brief Elements picked by index along one axis, and their reverse, addition at an index.
///
/// An array is seen as [outer, extent, inner] around its axis. An index outside of [0, extent)
/// gives zeros and adds nothing: callers check their indices, this keeps a wrong one in bounds.

#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// y[o, k, :] = x[o, index[k], :] for blocks o * count + k in `blocks`; U has the element's size.
template <class U>
void take(const U* x, const std::int64_t* index, U* y, Index extent, Index count, Index inner,
          Range blocks);

/// y[o, index[k], :] += dy[o, k, :] from zero, k in order, for o in `outer` and the indices of y's
/// axis in `own`: whoever computes an element adds the same numbers in the same order.
template <class T>
void take_add(const T* dy, const std::int64_t* index, T* y, Range outer, Index extent, Range own,
              Index count, Index inner);

/// y[o, k, i] = x[o, index[o, k, i], i] for elements of y from `elements`.
template <class U>
void gather(const U* x, const std::int64_t* index, U* y, Index extent, Index count, Index inner,
            Range elements);

/// y[o, index[o, k, i], i] += dy[o, k, i] from zero, k in order; ranges as for take_add. Integers
/// as uint64, since these wrap around.
template <class T>
void scatter_add(const T* dy, const std::int64_t* index, T* y, Range outer, Index extent, Range own,
                 Index count, Index inner);

}  // namespace fastprop
