#pragma once
/// @file
/// @brief The op `host_call`: a function of the program that embeds this library, such as Python's.

#include <exception>

#include "program/op.h"

namespace fastprop {

/// Reads the call's inputs and writes its outputs; attribute `slot` says which function is meant.
/// May throw.
using HostFunction = void (*)(const Call&);

/// What every `host_call` calls from now on.
void set_host_function(HostFunction function);

/// True if a host call of this thread has thrown since the last `take_host_error`.
bool host_failed();

/// What the first one threw, or null; forgets it.
std::exception_ptr take_host_error();

}  // namespace fastprop
