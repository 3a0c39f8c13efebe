#include "kernels/elementwise.h"

#include <algorithm>

#include "core/packet.h"
#include "kernels/broadcast.h"
#include "kernels/erf.h"
#include "kernels/hyperbolic.h"
#include "kernels/inverse_trigonometry.h"
#include "kernels/math.h"
#include "kernels/pairs.h"
#include "kernels/power.h"
#include "kernels/remainder.h"
#include "kernels/trigonometry.h"

namespace fastprop {

namespace {

/// Shorter innermost rows than this are not worth a call each: their operands are written out
/// first.
constexpr Index kShortRow = 48;

template <class T, Unary op>
EIGEN_STRONG_INLINE Vec<T> apply(const Vec<T>& x) {
    using S = Simd<T>;
    const Vec<T> one = S::set(T(1));
    if constexpr (op == Unary::neg) return pk::pnegate(x);
    if constexpr (op == Unary::exp) return exp_packet<T>(x);
    if constexpr (op == Unary::log) return log_packet<T>(x);
    if constexpr (op == Unary::sqrt) return pk::psqrt(x);
    if constexpr (op == Unary::rsqrt) return pk::pdiv(one, pk::psqrt(x));
    if constexpr (op == Unary::abs) return pk::pabs(x);
    if constexpr (op == Unary::sign) {
        const Vec<T> zero = S::set(T(0));
        const Vec<T> positive = pk::pselect(pk::pcmp_lt(zero, x), one, x);  // keeps zero and NaN
        return pk::pselect(pk::pcmp_lt(x, zero), S::set(T(-1)), positive);
    }
    if constexpr (op == Unary::square) return pk::pmul(x, x);
    if constexpr (op == Unary::reciprocal) return pk::pdiv(one, x);
    if constexpr (op == Unary::sin) return sin_packet<T>(x);
    if constexpr (op == Unary::cos) return cos_packet<T>(x);
    if constexpr (op == Unary::erf) return erf_packet<T>(x);
    if constexpr (op == Unary::log1p) return log1p_packet<T>(x);
    if constexpr (op == Unary::expm1) return expm1_packet<T>(x);
    if constexpr (op == Unary::tan) return tan_packet<T>(x);
    if constexpr (op == Unary::asin) return asin_packet<T>(x);
    if constexpr (op == Unary::acos) return acos_packet<T>(x);
    if constexpr (op == Unary::atan) return atan_packet<T>(x);
    if constexpr (op == Unary::sinh) return sinh_packet<T>(x);
    if constexpr (op == Unary::cosh) return cosh_packet<T>(x);
    if constexpr (op == Unary::asinh) return asinh_packet<T>(x);
    if constexpr (op == Unary::acosh) return acosh_packet<T>(x);
    if constexpr (op == Unary::atanh) return atanh_packet<T>(x);
    if constexpr (op == Unary::log2) return log2_packet<T>(x);
    if constexpr (op == Unary::floor) return pk::pfloor(x);
    if constexpr (op == Unary::ceil) return pk::pceil(x);
    if constexpr (op == Unary::round) return pk::print(x);
    if constexpr (op == Unary::trunc) return with_sign_of<T>(pk::pfloor(pk::pabs(x)), x);
}

template <class T, Binary op>
EIGEN_STRONG_INLINE Vec<T> apply(const Vec<T>& a, const Vec<T>& b) {
    const Vec<T> one = Simd<T>::set(T(1));
    if constexpr (op == Binary::add) return pk::padd(a, b);
    if constexpr (op == Binary::sub) return pk::psub(a, b);
    if constexpr (op == Binary::mul) return pk::pmul(a, b);
    if constexpr (op == Binary::div) return pk::pdiv(a, b);
    // A NaN in a is chosen as no comparison holds; one in b by the outer selection.
    if constexpr (op == Binary::maximum)
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(a, b), b, a), b);
    if constexpr (op == Binary::minimum)
        return pk::pselect(pk::pcmp_eq(b, b), pk::pselect(pk::pcmp_lt(b, a), b, a), b);
    if constexpr (op == Binary::greater) return pk::pand(pk::pcmp_lt(b, a), one);
    if constexpr (op == Binary::greater_equal) return pk::pand(pk::pcmp_le(b, a), one);
    if constexpr (op == Binary::less) return pk::pand(pk::pcmp_lt(a, b), one);
    if constexpr (op == Binary::less_equal) return pk::pand(pk::pcmp_le(a, b), one);
    if constexpr (op == Binary::equal) return pk::pand(pk::pcmp_eq(a, b), one);
    if constexpr (op == Binary::not_equal)
        return pk::pselect(pk::pcmp_eq(a, b), Simd<T>::set(T(0)), one);
    if constexpr (op == Binary::remainder) return remainder_packet<T>(a, b);
    if constexpr (op == Binary::fmod) return fmod_packet<T>(a, b);
    if constexpr (op == Binary::floor_divide) return floor_divide_packet<T>(a, b);
    if constexpr (op == Binary::atan2) return atan2_packet<T>(a, b);
    if constexpr (op == Binary::hypot) return hypot_packet<T>(a, b);
    if constexpr (op == Binary::logaddexp) return logaddexp_packet<T>(a, b);
}

/// What truncated division leaves; by zero 0. The smallest number by -1 would overflow.
std::int64_t rest_of(std::int64_t a, std::int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }

/// The same for division rounded down.
std::int64_t rest_above(std::int64_t a, std::int64_t b) {
    const std::int64_t rest = rest_of(a, b);
    return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/// The quotient rounded down; by zero 0.
std::int64_t quotient_below(std::int64_t a, std::int64_t b) {
    if (b == 0) return 0;
    if (b == -1) return static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(a));
    return a / b - (rest_of(a, b) != rest_above(a, b) ? 1 : 0);
}

}  // namespace

template <class T, Unary op>
void unary(const T* x, T* y, Index n) {
    map_packets(x, y, n, [](const Vec<T>& v) { return apply<T, op>(v); });
}

template <class T, Binary op>
void binary_row(const T* a, Index a_stride, const T* b, Index b_stride, T* y, Index n) {
    if constexpr (op == Binary::pow) {
        for (Index i = 0; i < n; ++i) y[i] = power(a[i * a_stride], b[i * b_stride]);
    } else {
        using P = Vec<T>;
        if (a_stride != 0 && b_stride != 0) {
            map_packets(a, b, y, n, [](const P& u, const P& v) { return apply<T, op>(u, v); });
        } else if (a_stride != 0) {
            const P v = Simd<T>::set(*b);
            map_packets(a, y, n, [v](const P& u) { return apply<T, op>(u, v); });
        } else if (b_stride != 0) {
            const P u = Simd<T>::set(*a);
            map_packets(b, y, n, [u](const P& v) { return apply<T, op>(u, v); });
        } else {
            const P value = apply<T, op>(Simd<T>::set(*a), Simd<T>::set(*b));
            std::fill(y, y + n, pk::pfirst(value));
        }
    }
}

template <class T, Binary op>
void binary(const BroadcastPlan& plan, const T* a, const T* b, T* y) {
    y += plan.out_offset;
    if (plan.rank == 1 || plan.inner() >= kShortRow) {
        for_each_row(plan, [&](const BroadcastCursor& at, Index position, Index n) {
            binary_row<T, op>(a + at.offset(0), plan.inner_stride(0), b + at.offset(1),
                              plan.inner_stride(1), y + position, n);
        });
        return;
    }
    T buffer[2][kExpandedChunk];
    const Index size = plan.size();
    for (Index i = 0; i < size; i += kExpandedChunk) {
        const Index n = std::min(kExpandedChunk, size - i);
        binary_row<T, op>(operand_chunk(plan, 0, a, i, n, buffer[0]), 1,
                          operand_chunk(plan, 1, b, i, n, buffer[1]), 1, y + i, n);
    }
}

void unary_integer(Unary op, const std::int64_t* x, std::int64_t* y, Index n) {
    const auto with = [&](const auto& f) {
        for (Index i = 0; i < n; ++i) y[i] = f(x[i]);
    };
    // Unsigned: overflow of signed ones is undefined.
    using U = std::uint64_t;
    using I = std::int64_t;
    const auto negative = [](I v) { return static_cast<I>(U(0) - static_cast<U>(v)); };
    if (op == Unary::neg) with(negative);
    if (op == Unary::abs) with([&](I v) { return v < 0 ? negative(v) : v; });
    if (op == Unary::sign) with([](I v) { return I(v > 0) - I(v < 0); });
    if (op == Unary::square)
        with([](I v) { return static_cast<I>(static_cast<U>(v) * static_cast<U>(v)); });
}

void binary_integer(Binary op, const BroadcastPlan& plan, const std::int64_t* a,
                    const std::int64_t* b, std::int64_t* y) {
    y += plan.out_offset;
    const auto with = [&](const auto& f) {
        for_each_row(plan, [&](const BroadcastCursor& at, Index position, Index n) {
            const std::int64_t* u = a + at.offset(0);
            const std::int64_t* v = b + at.offset(1);
            for (Index i = 0; i < n; ++i)
                y[position + i] = f(u[i * plan.inner_stride(0)], v[i * plan.inner_stride(1)]);
        });
    };
    // Unsigned: overflow of signed ones is undefined.
    using U = std::uint64_t;
    using I = std::int64_t;
    switch (op) {
        case Binary::add:
            return with(
                [](I u, I v) { return static_cast<I>(static_cast<U>(u) + static_cast<U>(v)); });
        case Binary::sub:
            return with(
                [](I u, I v) { return static_cast<I>(static_cast<U>(u) - static_cast<U>(v)); });
        case Binary::mul:
            return with(
                [](I u, I v) { return static_cast<I>(static_cast<U>(u) * static_cast<U>(v)); });
        case Binary::maximum:
            return with([](I u, I v) { return std::max(u, v); });
        case Binary::minimum:
            return with([](I u, I v) { return std::min(u, v); });
        case Binary::greater:
            return with([](I u, I v) { return I(u > v); });
        case Binary::greater_equal:
            return with([](I u, I v) { return I(u >= v); });
        case Binary::less:
            return with([](I u, I v) { return I(u < v); });
        case Binary::less_equal:
            return with([](I u, I v) { return I(u <= v); });
        case Binary::equal:
            return with([](I u, I v) { return I(u == v); });
        case Binary::not_equal:
            return with([](I u, I v) { return I(u != v); });
        case Binary::pow:
            return with([](I u, I v) { return power(u, v); });
        case Binary::remainder:
            return with(rest_above);
        case Binary::fmod:
            return with(rest_of);
        case Binary::floor_divide:
            return with(quotient_below);
        case Binary::div:
        case Binary::atan2:
        case Binary::hypot:
        case Binary::logaddexp:
            return;
    }
}

template <class T>
void fill(T value, T* y, Index n) {
    std::fill(y, y + n, value);
}

#define FASTPROP_UNARY(op)                                              \
    template void unary<float, Unary::op>(const float*, float*, Index); \
    template void unary<double, Unary::op>(const double*, double*, Index);
#define FASTPROP_BINARY(op)                                                                       \
    template void binary<float, Binary::op>(const BroadcastPlan&, const float*, const float*,     \
                                            float*);                                              \
    template void binary<double, Binary::op>(const BroadcastPlan&, const double*, const double*,  \
                                             double*);                                            \
    template void binary_row<float, Binary::op>(const float*, Index, const float*, Index, float*, \
                                                Index);                                           \
    template void binary_row<double, Binary::op>(const double*, Index, const double*, Index,      \
                                                 double*, Index);

FASTPROP_UNARY(neg)
FASTPROP_UNARY(exp)
FASTPROP_UNARY(log)
FASTPROP_UNARY(sqrt)
FASTPROP_UNARY(rsqrt)
FASTPROP_UNARY(abs)
FASTPROP_UNARY(sign)
FASTPROP_UNARY(square)
FASTPROP_UNARY(reciprocal)
FASTPROP_UNARY(sin)
FASTPROP_UNARY(cos)
FASTPROP_UNARY(erf)
FASTPROP_UNARY(log1p)
FASTPROP_UNARY(expm1)
FASTPROP_UNARY(tan)
FASTPROP_UNARY(asin)
FASTPROP_UNARY(acos)
FASTPROP_UNARY(atan)
FASTPROP_UNARY(sinh)
FASTPROP_UNARY(cosh)
FASTPROP_UNARY(asinh)
FASTPROP_UNARY(acosh)
FASTPROP_UNARY(atanh)
FASTPROP_UNARY(floor)
FASTPROP_UNARY(ceil)
FASTPROP_UNARY(round)
FASTPROP_UNARY(trunc)
FASTPROP_UNARY(log2)

FASTPROP_BINARY(add)
FASTPROP_BINARY(sub)
FASTPROP_BINARY(mul)
FASTPROP_BINARY(div)
FASTPROP_BINARY(pow)
FASTPROP_BINARY(maximum)
FASTPROP_BINARY(minimum)
FASTPROP_BINARY(greater)
FASTPROP_BINARY(greater_equal)
FASTPROP_BINARY(less)
FASTPROP_BINARY(less_equal)
FASTPROP_BINARY(equal)
FASTPROP_BINARY(not_equal)
FASTPROP_BINARY(remainder)
FASTPROP_BINARY(fmod)
FASTPROP_BINARY(floor_divide)
FASTPROP_BINARY(atan2)
FASTPROP_BINARY(hypot)
FASTPROP_BINARY(logaddexp)

template void fill<float>(float, float*, Index);
template void fill<double>(double, double*, Index);

}  // namespace fastprop
