#pragma once
/// @file
/// @brief Errors that reach the user as Python exceptions. Never thrown inside a parallel region.

#include <sstream>
#include <stdexcept>
#include <string>

namespace fastprop {

/// Becomes ValueError in Python.
class Error : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

/// Becomes TypeError in Python.
class TypeError : public std::invalid_argument {
public:
    using std::invalid_argument::invalid_argument;
};

template <class... Parts>
std::string concat(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return out.str();
}

template <class... Parts>
void require(bool condition, const Parts&... parts) {
    if (!condition) throw Error(concat(parts...));
}

}  // namespace fastprop
