#pragma once
/// @file
/// @brief What is compiled once a level tells of itself here, to code that is compiled once for
/// all.

#include <string>

namespace fastprop {

/// Name of the instruction-set level, as in FASTPROP_ISA.
const char* level_name();

/// Elements in a register of this level. T is float or double.
template <class T>
int simd_width();

/// Is a multiplication and addition of packets rounded once?
bool fuses_multiply_add();

/// Version of the Eigen that the kernels were compiled with.
std::string eigen_version();

}  // namespace fastprop
