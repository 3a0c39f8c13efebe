#pragma once
/// @file
/// @brief Random arrays from counter-based Philox streams (core/philox.h).
///
/// Element i depends on (seed, stream, step, i) alone, so any slice [first, first + n) of an array
/// may be filled by any thread. Word w of a stream is word w % 4 of block w / 4.

#include <cstdint>

#include "core/types.h"

namespace fastprop {

/// Names one sequence of random numbers.
struct RandomStream {
    std::uint64_t seed = 0;
    std::uint32_t stream = 0;
    std::uint32_t step = 0;
};

/// Words [first, first + n) of a stream.
void random_words(const RandomStream& stream, std::uint32_t* words, Index first, Index n);

/// Uniform on [lo, hi). float: element i from word i (24 bits); double: from words 2i, 2i + 1 (53
/// bits).
template <class T>
void random_uniform(const RandomStream& stream, T* y, Index first, Index n, double lo, double hi);

/// Normal with the given mean and standard deviation, by Box and Muller's method in double
/// precision: elements 2k and 2k + 1 are the cosine and the sine of one pair. float: from words 2k,
/// 2k + 1 (32 bits each, |z| < 6.8); double: from words 4k … 4k + 3 (53 bits each, |z| < 8.6).
template <class T>
void random_normal(const RandomStream& stream, T* y, Index first, Index n, double mean, double std);

/// A uniformly distributed permutation of 0 … n - 1 (Fisher and Yates).
void permutation(std::uint64_t seed, std::uint32_t stream, std::uint32_t step, std::int64_t* out,
                 Index n);

}  // namespace fastprop
