#pragma once
/// @file
/// @brief Is there a CUDA device? csrc/cuda answers, or csrc/no_cuda where it was not built in.

#include <string>

namespace fastprop {

/// Was this library built with CUDA?
bool cuda_built();

/// The first device and the runtime, or the reason why there is none, for people.
std::string cuda_description();

}  // namespace fastprop
