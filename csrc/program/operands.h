#pragma once
/// @file
/// @brief What adapters and their checks ask of a call's operands again and again.

#include <cstdint>

#include "program/op.h"

namespace fastprop {

/// This thread's rows of out[0].
inline Range own_rows(const Call& call, const Team& team) { return team.slice(call.out[0].rows()); }

/// This thread's elements of out[0].
inline Range own_elements(const Call& call, const Team& team) {
    const Range rows = own_rows(call, team);
    const Index size = call.out[0].row_size();
    return {rows.begin * size, rows.end * size};
}

template <class T>
const T* input(const Call& call, int i) {
    return call.in[i].as<T>();
}

template <class T>
T* output(const Call& call, int i = 0) {
    return call.out[i].as<T>();
}

/// Calls f(U) for the unsigned type of the elements' size.
template <class F>
void with_storage_type(DType dtype, const F& f) {
    switch (dtype_size(dtype)) {
        case 1:
            return f(std::uint8_t{});
        case 4:
            return f(std::uint32_t{});
        default:
            return f(std::uint64_t{});
    }
}

/// Refuses a dtype that arithmetic is not done on.
inline void require_number_type(const char* op, DType dtype) {
    require(dtype == DType::f32 || dtype == DType::f64 || dtype == DType::i64, op, ": input is ",
            dtype_name(dtype), ", wants float32, float64 or int64");
}

/// Calls f(T) for a type that require_number_type lets through.
template <class F>
void with_number_type(DType dtype, const F& f) {
    if (dtype == DType::f32) return f(float{});
    if (dtype == DType::f64) return f(double{});
    f(std::int64_t{});
}

/// Refuses inputs that are not of out[0]'s dtype.
inline void require_dtype_of_output(const char* op, const Call& call) {
    for (int i = 0; i < call.num_in; ++i) {
        if (!call.in[i].present()) continue;
        require(call.in[i].dtype == call.out[0].dtype, op, ": input ", i, " is ",
                dtype_name(call.in[i].dtype), ", the output ", dtype_name(call.out[0].dtype));
    }
}

/// Refuses input i unless it has as many elements as out[0].
inline void require_size_of_output(const char* op, const Call& call, int i) {
    require(call.in[i].size() == call.out[0].size(), op, ": input ", i, " has ", call.in[i].size(),
            " elements, the output ", call.out[0].size());
}

inline void require_sizes_of_output(const char* op, const Call& call) {
    for (int i = 0; i < call.num_in; ++i) require_size_of_output(op, call, i);
}

}  // namespace fastprop
