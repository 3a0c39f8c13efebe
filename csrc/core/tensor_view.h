#pragma once
/// @file
/// @brief A typed view of a contiguous, row-major array. It owns nothing.

#include "core/types.h"

namespace fastprop {

constexpr int kMaxRank = 8;

struct TensorView {
    void* data = nullptr;  ///< null stands for an optional operand that is absent
    DType dtype = DType::f32;
    int rank = 0;
    Index shape[kMaxRank] = {};

    template <class T>
    T* as() const {
        return static_cast<T*>(data);
    }

    Index size() const {
        Index n = 1;
        for (int i = 0; i < rank; ++i) n *= shape[i];
        return n;
    }

    /// Extent of the axis along which instructions are sliced among threads (1 for a scalar).
    Index rows() const { return rank == 0 ? 1 : shape[0]; }

    /// Elements in one index of the first axis.
    Index row_size() const {
        Index n = 1;
        for (int i = 1; i < rank; ++i) n *= shape[i];
        return n;
    }

    /// Extent of the last axis (1 for a scalar).
    Index last() const { return rank == 0 ? 1 : shape[rank - 1]; }

    /// The array seen as a matrix [outer(), last()].
    Index outer() const {
        Index n = 1;
        for (int i = 0; i + 1 < rank; ++i) n *= shape[i];
        return n;
    }

    std::size_t bytes() const { return static_cast<std::size_t>(size()) * dtype_size(dtype); }
    bool present() const { return data != nullptr; }
};

}  // namespace fastprop
