#pragma once
/// @file
/// @brief Rows of the op table for chains of elementwise ops.

#include "program/op.h"

namespace fastprop {

std::vector<OpEntry> chain_ops();

}  // namespace fastprop
