#pragma once
/// @file
/// @brief What the kernels and the reports want to know about this CPU.

#include <cstddef>
#include <string>

namespace fastprop {

/// Bytes of data cache that one core sees. L3 may be shared among cores.
struct CacheSizes {
    std::size_t l1d = 0;
    std::size_t l2 = 0;
    std::size_t l3 = 0;  ///< 0 where there is none
};

/// Read once from the operating system; typical sizes where it does not tell.
const CacheSizes& cache_sizes();

/// The CPU's name for people, or "unknown".
std::string cpu_name();

/// Name and version of the compiler that built this level.
std::string compiler_name();

}  // namespace fastprop
