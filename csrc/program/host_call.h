#pragma once
/// @file
/// @brief The ops `host_call` and `host_update`: functions of the program that embeds this library,
/// such as Python's.

#include <exception>

#include "program/op.h"

namespace fastprop {

/// Reads the call's inputs and `count` numbers of the step, and writes its outputs; attribute
/// `slot` says which function is meant. May throw.
using HostFunction = void (*)(const Call&, const double* numbers, Index count);

/// What every `host_call` and `host_update` calls from now on.
void set_host_function(HostFunction function);

/// True if a function of the host on this thread has thrown since the last `take_host_error`.
bool host_failed();

/// What the first one threw, or null; forgets it.
std::exception_ptr take_host_error();

}  // namespace fastprop
