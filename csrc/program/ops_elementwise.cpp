/// @file
/// @brief Elementwise functions with NumPy's broadcasting, copies and casts as instructions.

#include <cstring>

#include "kernels/broadcast.h"
#include "kernels/elementwise.h"
#include "kernels/ternary.h"
#include "program/operands.h"

namespace fastprop {
namespace {

void check_unary(const Call& call) {
    require_dtype_of_output("unary op", call);
    require_sizes_of_output("unary op", call);
}

void check_broadcast(const Call& call) {
    require_dtype_of_output("elementwise op", call);
    for (int i = 0; i < call.num_in; ++i)
        require(broadcasts_to(call.in[i], call.out[0]), "elementwise op: input ", i,
                " does not broadcast to the shape of the output");
}

template <class T, Unary op>
void run_unary(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    unary<T, op>(input<T>(call, 0) + r.begin, output<T>(call) + r.begin, r.size());
}

template <class T, Binary op>
void run_binary(const Call& call, const Team& team) {
    const Index size = call.out[0].size();
    const int first = simple_stride(call.in[0], size), second = simple_stride(call.in[1], size);
    if (first >= 0 && second >= 0) {
        const Range r = own_elements(call, team);
        binary_row<T, op>(input<T>(call, 0) + first * r.begin, first,
                          input<T>(call, 1) + second * r.begin, second, output<T>(call) + r.begin,
                          r.size());
        return;
    }
    const BroadcastPlan plan = plan_broadcast(call.out[0], call.in, 2, own_rows(call, team));
    binary<T, op>(plan, input<T>(call, 0), input<T>(call, 1), output<T>(call));
}

template <Unary op>
void run_unary_integer(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    unary_integer(op, input<std::int64_t>(call, 0) + r.begin, output<std::int64_t>(call) + r.begin,
                  r.size());
}

template <Binary op>
void run_integer(const Call& call, const Team& team) {
    const BroadcastPlan plan = plan_broadcast(call.out[0], call.in, 2, own_rows(call, team));
    binary_integer(op, plan, input<std::int64_t>(call, 0), input<std::int64_t>(call, 1),
                   output<std::int64_t>(call));
}

template <class T, Ternary op>
void run_ternary(const Call& call, const Team& team) {
    const Index size = call.out[0].size();
    const T* in[3];
    int stride[3];
    bool simple = true;
    for (int k = 0; k < 3; ++k) {
        in[k] = input<T>(call, k);
        stride[k] = simple_stride(call.in[k], size);
        simple = simple && stride[k] >= 0;
    }
    if (!simple) {
        const BroadcastPlan plan = plan_broadcast(call.out[0], call.in, 3, own_rows(call, team));
        return ternary<T, op>(plan, in[0], in[1], in[2], output<T>(call));
    }
    const Range r = own_elements(call, team);
    for (int k = 0; k < 3; ++k) in[k] += stride[k] * r.begin;
    ternary_row<T, op>(in[0], stride[0], in[1], stride[1], in[2], stride[2],
                       output<T>(call) + r.begin, r.size());
}

template <class T>
void run_fill(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    fill(static_cast<T>(call.attr(0)), output<T>(call) + r.begin, r.size());
}

void check_copy(const Call& call) {
    require_dtype_of_output("copy", call);
    require_size_of_output("copy", call, 0);
}

/// Any dtype and, as long as the sizes agree, any two shapes: this is reshape as well.
void run_copy(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    const std::size_t size = dtype_size(call.out[0].dtype);
    const std::size_t begin = static_cast<std::size_t>(r.begin) * size;
    if (r.empty()) return;  // an empty array may have no memory
    std::memmove(output<char>(call) + begin, input<char>(call, 0) + begin,
                 static_cast<std::size_t>(r.size()) * size);
}

bool can_be_cast_to(DType dtype) {
    return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::i64;
}

void check_cast(const Call& call) {
    require_size_of_output("cast", call, 0);
    require(can_be_cast_to(call.out[0].dtype), "cast: the output is ",
            dtype_name(call.out[0].dtype), ", wants float32, float64 or int64");
}

template <class To>
void cast_to(const Call& call, Range r) {
    To* y = output<To>(call) + r.begin;
    switch (call.in[0].dtype) {
        case DType::f32:
            return cast(input<float>(call, 0) + r.begin, y, r.size());
        case DType::f64:
            return cast(input<double>(call, 0) + r.begin, y, r.size());
        case DType::i32:
            return cast(input<std::int32_t>(call, 0) + r.begin, y, r.size());
        case DType::i64:
            return cast(input<std::int64_t>(call, 0) + r.begin, y, r.size());
        case DType::u8:
            return cast(input<std::uint8_t>(call, 0) + r.begin, y, r.size());
    }
}

void run_cast(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    if (call.out[0].dtype == DType::f32) {
        cast_to<float>(call, r);
    } else if (call.out[0].dtype == DType::f64) {
        cast_to<double>(call, r);
    } else {
        cast_to<std::int64_t>(call, r);
    }
}

template <Unary op>
OpEntry unary_row(const char* name) {
    constexpr bool integers =
        op == Unary::neg || op == Unary::abs || op == Unary::sign || op == Unary::square;
    return {name,
            {},
            1,
            1,
            1,
            run_unary<float, op>,
            run_unary<double, op>,
            check_unary,
            integers ? run_unary_integer<op> : nullptr};
}

template <Binary op>
OpEntry binary_row(const char* name) {
    constexpr bool integers = of_integers(op);
    return {name,
            {},
            2,
            2,
            1,
            run_binary<float, op>,
            run_binary<double, op>,
            check_broadcast,
            integers ? run_integer<op> : nullptr};
}

template <Ternary op>
OpEntry ternary_row_of(const char* name) {
    OpEntry entry{name,           {}, 3, 3, 1, run_ternary<float, op>, run_ternary<double, op>,
                  check_broadcast};
    if constexpr (op == Ternary::where) entry.i64 = run_ternary<std::int64_t, op>;
    return entry;
}

}  // namespace

std::vector<OpEntry> elementwise_ops() {
    return {
        binary_row<Binary::add>("add"),
        binary_row<Binary::sub>("sub"),
        binary_row<Binary::mul>("mul"),
        binary_row<Binary::div>("div"),
        binary_row<Binary::pow>("pow"),
        binary_row<Binary::maximum>("maximum"),
        binary_row<Binary::minimum>("minimum"),
        binary_row<Binary::greater>("greater"),
        binary_row<Binary::greater_equal>("greater_equal"),
        binary_row<Binary::less>("less"),
        binary_row<Binary::less_equal>("less_equal"),
        binary_row<Binary::equal>("equal"),
        binary_row<Binary::not_equal>("not_equal"),
        binary_row<Binary::remainder>("remainder"),
        binary_row<Binary::fmod>("fmod"),
        binary_row<Binary::floor_divide>("floor_divide"),
        binary_row<Binary::atan2>("atan2"),
        binary_row<Binary::hypot>("hypot"),
        binary_row<Binary::logaddexp>("logaddexp"),
        ternary_row_of<Ternary::where>("where"),
        ternary_row_of<Ternary::pow_base_slope>("pow_base_slope"),
        ternary_row_of<Ternary::pow_exponent_slope>("pow_exponent_slope"),
        unary_row<Unary::neg>("neg"),
        unary_row<Unary::exp>("exp"),
        unary_row<Unary::log>("log"),
        unary_row<Unary::sqrt>("sqrt"),
        unary_row<Unary::rsqrt>("rsqrt"),
        unary_row<Unary::abs>("abs"),
        unary_row<Unary::sign>("sign"),
        unary_row<Unary::square>("square"),
        unary_row<Unary::reciprocal>("reciprocal"),
        unary_row<Unary::sin>("sin"),
        unary_row<Unary::cos>("cos"),
        unary_row<Unary::erf>("erf"),
        unary_row<Unary::log1p>("log1p"),
        unary_row<Unary::expm1>("expm1"),
        unary_row<Unary::tan>("tan"),
        unary_row<Unary::asin>("asin"),
        unary_row<Unary::acos>("acos"),
        unary_row<Unary::atan>("atan"),
        unary_row<Unary::sinh>("sinh"),
        unary_row<Unary::cosh>("cosh"),
        unary_row<Unary::asinh>("asinh"),
        unary_row<Unary::acosh>("acosh"),
        unary_row<Unary::atanh>("atanh"),
        unary_row<Unary::floor>("floor"),
        unary_row<Unary::ceil>("ceil"),
        unary_row<Unary::round>("round"),
        unary_row<Unary::trunc>("trunc"),
        unary_row<Unary::log2>("log2"),
        {"copy", {}, 1, 1, 1, run_copy, run_copy, check_copy},
        {"cast", {}, 1, 1, 1, run_cast, run_cast, check_cast},
        {"fill", {"value"}, 0, 0, 1, run_fill<float>, run_fill<double>, nullptr},
    };
}

}  // namespace fastprop
