// Reductions over every set of axes, argmax, broadcast_to and transpose against plain loops.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "core/check.h"
#include "op_runner.h"
#include "reference.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::Shape;
using test::size_of;
using test::view;
using test::view_of;

const Shape kShapes[] = {
    {},       {1},        {7},         {100},        {9000},          {20000},
    {3, 5},   {1, 33},    {33, 1},     {33, 100},    {100, 33},       {600, 17},
    {600, 3}, {17, 8, 5}, {5, 1, 9},   {4, 3, 5, 7}, {2, 3, 4, 2, 3}, {0},
    {3, 0},   {0, 3},     {40, 2, 300}};

Shape reduced_shape(const Shape& in, unsigned axes, bool keepdims) {
    Shape out;
    for (std::size_t i = 0; i < in.size(); ++i) {
        const bool reduced = (axes >> i & 1u) != 0;
        if (!reduced) out.push_back(in[i]);
        if (reduced && keepdims) out.push_back(1);
    }
    return out;
}

/// The output element that input element `i` goes to.
std::size_t target(Index i, const Shape& in, unsigned axes) {
    Index offset = 0, stride = 1;
    for (std::size_t k = in.size(); k-- > 0;) {
        const Index index = i % in[k];
        i /= in[k];
        if ((axes >> k & 1u) != 0) continue;
        offset += index * stride;
        stride *= in[k];
    }
    return static_cast<std::size_t>(offset);
}

template <class T>
class Reduce : public ::testing::Test {};
using Types = ::testing::Types<float, double>;
TYPED_TEST_SUITE(Reduce, Types);

template <class T>
void check_all_reductions(const Shape& shape, unsigned axes, bool keepdims) {
    const auto x = random_values<T>(size_of(shape), 1);
    const Shape out = reduced_shape(shape, axes, keepdims);
    const auto kept = static_cast<std::size_t>(size_of(out));
    const double inf = std::numeric_limits<double>::infinity();
    std::vector<long double> sum(kept), squares(kept);
    std::vector<double> largest(kept, -inf), smallest(kept, inf), count(kept);
    for (Index i = 0; i < size_of(shape); ++i) {
        const std::size_t at = target(i, shape, axes);
        const double value = x[static_cast<std::size_t>(i)];
        sum[at] += value;
        squares[at] += value * value;
        count[at] += 1;
        largest[at] = std::max(largest[at], value);
        smallest[at] = std::min(smallest[at], value);
    }
    for (const char* name : {"sum", "sum_squares", "mean", "max", "min"}) {
        SCOPED_TRACE(name);
        std::vector<T> first;
        for (const int threads : {1, 2, 3}) {
            std::vector<T> y = nan_values<T>(size_of(out));
            run_op(name, {view_of(x, shape)}, {view_of(y, out)}, {double(axes)}, threads);
            if (threads == 1) first = y;
            ASSERT_TRUE(same_bits(y, first));
        }
        for (std::size_t i = 0; i < kept; ++i) {
            const std::string op = name;
            const double n = count[i];
            const double tolerance = 4 * (2 + std::sqrt(n)) * std::numeric_limits<T>::epsilon();
            const double total = static_cast<double>(sum[i]);
            if (op == "sum") {
                ASSERT_NEAR(first[i], total, tolerance);
            } else if (op == "sum_squares") {
                const double wanted = static_cast<double>(squares[i]);
                ASSERT_NEAR(first[i], wanted, tolerance * std::max(1.0, std::sqrt(wanted)));
            } else if (op == "mean") {
                ASSERT_TRUE(n > 0 ? std::abs(first[i] - total / n) <= 2 * tolerance / n
                                  : std::isnan(first[i]));
            } else {
                ASSERT_EQ(double(first[i]), op == "max" ? largest[i] : smallest[i]);
            }
        }
    }
}

TYPED_TEST(Reduce, every_set_of_axes) {
    for (const Shape& shape : kShapes) {
        for (unsigned axes = 0; axes < (1u << shape.size()); ++axes) {
            SCOPED_TRACE(::testing::PrintToString(shape) + " axes " + std::to_string(axes));
            check_all_reductions<TypeParam>(shape, axes, false);
            check_all_reductions<TypeParam>(shape, axes, true);
        }
    }
}

TYPED_TEST(Reduce, long_sums_stay_accurate) {
    using T = TypeParam;
    const std::vector<T> x(3000000, T(0.1));
    std::vector<T> y(1), columns(3);
    run_op("sum", {view(x, {3000000})}, {view(y, {})}, {1});
    EXPECT_NEAR(y[0] / (3e6 * double(T(0.1))), 1.0, 100 * std::numeric_limits<T>::epsilon());
    run_op("sum", {view(x, {1000000, 3})}, {view(columns, {3})}, {1});
    for (const T sum : columns)
        EXPECT_NEAR(sum / (1e6 * double(T(0.1))), 1.0, 2000 * std::numeric_limits<T>::epsilon());
}

TYPED_TEST(Reduce, max_and_argmax_take_nan) {
    using T = TypeParam;
    for (const Index n : {1, 7, 8, 17, 100}) {
        for (Index at = 0; at < n; at += 3) {
            std::vector<T> x = random_values<T>(2 * n, 1), y(2);
            x[static_cast<std::size_t>(at)] = std::numeric_limits<T>::quiet_NaN();
            for (const char* name : {"max", "min"}) {
                run_op(name, {view(x, {2, n})}, {view(y, {2})}, {2});
                EXPECT_TRUE(std::isnan(y[0]) && !std::isnan(y[1]));
            }
            std::vector<T> columns(static_cast<std::size_t>(n));
            run_op("max", {view(x, {2, n})}, {view(columns, {n})}, {1});
            for (Index i = 0; i < n; ++i)
                EXPECT_EQ(std::isnan(columns[static_cast<std::size_t>(i)]), i == at);
            std::vector<std::int64_t> index(2);
            run_op("argmax", {view(x, {2, n})}, {view(index, {2})}, {});
            EXPECT_EQ(index[0], at);
        }
    }
}

TYPED_TEST(Reduce, argmax) {
    using T = TypeParam;
    for (const Index n : {1, 3, 8, 10, 33, 100}) {
        auto x = random_values<T>(20 * n, 1);
        for (T& v : x) v = std::round(v * T(3));  // many ties
        for (const int threads : {1, 2, 3}) {
            std::vector<std::int64_t> got(20, -1);
            run_op("argmax", {view(x, {5, 4, n})}, {view(got, {5, 4})}, {}, threads);
            for (Index r = 0; r < 20; ++r) {
                const auto row = x.begin() + r * n;
                EXPECT_EQ(got[static_cast<std::size_t>(r)], std::max_element(row, row + n) - row);
            }
        }
    }
}

TYPED_TEST(Reduce, broadcast_to) {
    using T = TypeParam;
    const Shape cases[][2] = {{{}, {}},
                              {{}, {5, 3}},
                              {{3}, {50, 3}},
                              {{50, 1}, {50, 3}},
                              {{2, 1, 4}, {2, 3, 4}},
                              {{1, 1}, {4, 4}},
                              {{1}, {0}},
                              {{7, 1, 100}, {7, 9, 100}}};
    for (const auto& shapes : cases) {
        const auto x = random_values<T>(size_of(shapes[0]), 1);
        for (const int threads : {1, 2, 3}) {
            auto y = nan_values<T>(size_of(shapes[1]));
            run_op("broadcast_to", {view_of(x, shapes[0])}, {view_of(y, shapes[1])}, {}, threads);
            const std::size_t lead = shapes[1].size() - shapes[0].size();
            unsigned repeated = (1u << lead) - 1u;
            for (std::size_t k = 0; k < shapes[0].size(); ++k)
                if (shapes[0][k] == 1) repeated |= 1u << (k + lead);
            for (Index i = 0; i < size_of(shapes[1]); ++i)
                ASSERT_EQ(y[static_cast<std::size_t>(i)], x[target(i, shapes[1], repeated)]);
        }
    }
}

TYPED_TEST(Reduce, transpose) {
    using T = TypeParam;
    const Shape shapes[] = {{},        {5},       {3, 4},         {33, 100},
                            {1, 9},    {2, 3, 4}, {17, 20, 18},   {2, 3, 4, 5},
                            {3, 1, 4}, {0, 3},    {2, 3, 1, 2, 3}};
    for (const Shape& shape : shapes) {
        const std::size_t rank = shape.size();
        std::vector<int> perm(rank);
        for (std::size_t i = 0; i < rank; ++i) perm[i] = static_cast<int>(i);
        const auto x = random_values<T>(size_of(shape), 1);
        do {
            Shape out;
            std::vector<double> attrs(8, -1.0);
            for (std::size_t i = 0; i < rank; ++i) {
                out.push_back(shape[static_cast<std::size_t>(perm[i])]);
                attrs[i] = perm[i];
            }
            std::vector<T> want(x.size());
            for (Index i = 0; i < size_of(out); ++i) {
                std::vector<Index> index(rank);
                Index rest = i;
                for (std::size_t k = rank; k-- > 0; rest /= out[k])
                    index[static_cast<std::size_t>(perm[k])] = rest % out[k];
                Index from = 0;
                for (std::size_t k = 0; k < rank; ++k) from = from * shape[k] + index[k];
                want[static_cast<std::size_t>(i)] = x[static_cast<std::size_t>(from)];
            }
            for (const int threads : {1, 2, 3}) {
                auto y = nan_values<T>(size_of(out));
                run_op("transpose", {view_of(x, shape)}, {view_of(y, out)}, attrs, threads);
                ASSERT_EQ(y, want)
                    << ::testing::PrintToString(shape) << ::testing::PrintToString(perm);
            }
        } while (std::next_permutation(perm.begin(), perm.end()));
    }
}

TEST(ReduceChecks, refuse_what_would_go_out_of_bounds) {
    const std::vector<float> x(12);
    std::vector<float> y(12);
    const TensorView in = view(x, {3, 4});
    EXPECT_THROW(run_op("sum", {in}, {view(y, {3})}, {1}), Error);
    EXPECT_THROW(run_op("sum", {in}, {view(y, {3, 4})}, {1}), Error);
    EXPECT_THROW(run_op("sum", {in}, {view(y, {4})}, {4}), Error);
    EXPECT_THROW(run_op("sum", {in}, {view(y, {4})}, {0.5}), Error);
    EXPECT_THROW(run_op("argmax", {in}, {view(y, {3})}, {}), Error);
    EXPECT_THROW(run_op("broadcast_to", {view(x, {3})}, {view(y, {3, 4})}, {}), Error);
    EXPECT_THROW(run_op("transpose", {in}, {view(y, {4, 3})}, std::vector<double>{1, 1}), Error);
    EXPECT_THROW(run_op("transpose", {in}, {view(y, {3, 4})}, std::vector<double>{1, 0}), Error);
    EXPECT_THROW(run_op("transpose", {in}, {view(y, {4, 3})}, std::vector<double>{1, 2}), Error);
}

}  // namespace
}  // namespace fastprop
