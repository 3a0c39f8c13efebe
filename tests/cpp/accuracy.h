#pragma once
/// @file
/// @brief Every function of one number that kernels compute, beside the same function in a wider
/// type; and the largest distance between the two in units in the last place (ulp).

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "core/types.h"

namespace fastprop::test {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A function as its kernels compute it, its value in a wider type, and what is promised of it.
struct Function {
    std::string name;
    void (*f32)(const float*, float*, Index);
    void (*f64)(const double*, double*, Index);
    double (*wide32)(double);
    long double (*wide64)(long double);
    double ulp32;          ///< largest error promised
    double ulp64;          ///< the same for doubles
    bool flushes = false;  ///< may be zero below the smallest normal number, times |x|
    double scale = 0;      ///< an error is never measured in smaller units than an ulp of this
    double low =
        -kInfinity;  ///< arguments of interest: derivatives of what an activation gives out
    double high = kInfinity;
    double least = -kInfinity;  ///< no result may lie outside, not even by rounding
    double greatest = kInfinity;
};

/// All of them: elementwise ops, activations ("gelu") and their derivatives ("gelu'").
const std::vector<Function>& functions();

/// What a sweep found.
struct Accuracy {
    double ulp = 0;       ///< largest error
    double at = 0;        ///< its argument
    long long wrong = 0;  ///< NaN, infinities, signs and ranges that are not as they must be
    double wrong_at = 0;  ///< the first of those
    void merge(const Accuracy& other);
};

/// Every `stride`-th bit pattern of [begin, end), which has to be below 2^32 + 1.
///
/// With `screen` the float64 kernel does the comparison and the wide function is asked only where
/// an error comes near the largest one: seconds instead of minutes for all floats.
Accuracy sweep_patterns(const Function& f, std::uint64_t begin, std::uint64_t end,
                        std::uint64_t stride, bool screen = false);

/// Zeros, subnormal numbers, infinities, NaN, and the neighbours of every number at which a kernel
/// changes its formula.
template <class T>
Accuracy sweep_special(const Function& f);

/// Numbers over all exponents and over the intervals where the functions are not trivial.
template <class T>
Accuracy sweep_random(const Function& f, int count);

}  // namespace fastprop::test
