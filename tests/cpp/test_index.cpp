// Parts of arrays, elements by index, running sums and orders: any split among threads gives the
// same, wrong indices stay in bounds, and calls that would not are refused.

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

/// start and step of up to eight axes, as the table wants them.
std::vector<double> part(std::vector<double> start, std::vector<double> step) {
    start.resize(kMaxRank, 0);
    step.resize(kMaxRank, 1);
    start.insert(start.end(), step.begin(), step.end());
    return start;
}

TEST(Index, SliceAndPlaceForEverySplit) {
    const auto x = random_values<float>(11 * 7, 1);
    for (const double step : {1.0, 2.0, 3.0, -1.0, -2.0}) {
        const double start = step > 0 ? 1 : 9;
        const Index rows = static_cast<Index>(std::floor((step > 0 ? 9 : 9) / std::abs(step))) + 1;
        const std::vector<double> attrs = part({start, 5}, {step, -2});
        for (int threads : {1, 2, 3, 8}) {
            auto y = nan_values<float>(rows * 3);
            run_op("slice", {view(x, {11, 7})}, {view(y, {rows, 3})}, attrs, threads);
            std::vector<double> filled = attrs;
            filled.push_back(-1);
            auto z = nan_values<float>(11 * 7);
            run_op("place", {view(y, {rows, 3})}, {view(z, {11, 7})}, filled, threads);
            std::vector<float> expected(11 * 7, -1.0f);
            for (Index i = 0; i < rows; ++i) {
                for (Index j = 0; j < 3; ++j) {
                    const Index at = static_cast<Index>(start + step * double(i)) * 7 + 5 - 2 * j;
                    expected[std::size_t(at)] = x[std::size_t(at)];
                    EXPECT_EQ(y[std::size_t(i * 3 + j)], x[std::size_t(at)]);
                }
            }
            EXPECT_EQ(z, expected) << step << " on " << threads;
        }
    }
}

TEST(Index, IndicesOutOfRangeGiveZerosAndAddNothing) {
    const auto x = random_values<double>(5 * 3, 1);
    const std::vector<std::int64_t> index = {4, -1, 0, 5, 4, std::int64_t{1} << 62};
    for (int threads : {1, 2, 5}) {
        auto y = nan_values<double>(6 * 3);
        run_op("take", {view(x, {5, 3}), view(index, {6})}, {view(y, {6, 3})}, {0}, threads);
        auto z = nan_values<double>(5 * 3);
        run_op("take_add", {view(y, {6, 3}), view(index, {6})}, {view(z, {5, 3})}, {0}, threads);
        for (std::size_t j = 0; j < 3; ++j) {
            EXPECT_EQ(y[3 + j], 0);
            EXPECT_EQ(y[9 + j], 0);
            EXPECT_EQ(z[j], x[j]);
            EXPECT_EQ(z[3 + j], 0);
            EXPECT_EQ(z[12 + j], x[12 + j] + x[12 + j]);
        }
        const std::vector<std::int64_t> wide = {0, 9, 1, -5, 2, 2};  // [2, 3] along an axis of 3
        auto g = nan_values<double>(6);
        run_op("gather", {view(x, {2, 3}), view(wide, {2, 3})}, {view(g, {2, 3})}, {1}, threads);
        EXPECT_EQ(g, (std::vector<double>{x[0], 0, x[1], 0, x[5], x[5]}));
        auto s = nan_values<double>(6);
        run_op("scatter_add", {view(g, {2, 3}), view(wide, {2, 3})}, {view(s, {2, 3})}, {1},
               threads);
        EXPECT_EQ(s, (std::vector<double>{x[0], x[1], 0, 0, 0, x[5] + x[5]}));
    }
}

TEST(Index, SumsAtAnIndexHaveOneOrder) {
    const auto dy = random_values<float>(301 * 5, 1);
    std::vector<std::int64_t> index(301);
    for (std::size_t i = 0; i < index.size(); ++i) index[i] = static_cast<std::int64_t>(i * i % 7);
    auto first = nan_values<float>(7 * 5);
    run_op("take_add", {view(dy, {301, 5}), view(index, {301})}, {view(first, {7, 5})}, {0});
    for (int threads : {2, 3, 7, 9}) {
        auto y = nan_values<float>(7 * 5);
        run_op("take_add", {view(dy, {301, 5}), view(index, {301})}, {view(y, {7, 5})}, {0},
               threads);
        EXPECT_TRUE(same_bits(y, first)) << threads;
    }
}

TEST(Index, RunningSumsFromBothEnds) {
    const auto x = random_values<float>(37 * 600, 1);
    for (const double axis : {0.0, 1.0}) {
        for (const double reverse : {0.0, 1.0}) {
            std::vector<float> first;
            for (int threads : {1, 2, 5}) {
                auto y = nan_values<float>(37 * 600);
                run_op("cumsum", {view(x, {37, 600})}, {view(y, {37, 600})}, {axis, reverse},
                       threads);
                if (first.empty()) first = y;
                EXPECT_TRUE(same_bits(y, first));
            }
            const std::size_t stride = axis == 0 ? 600 : 1;
            const std::size_t last = (axis == 0 ? 36 : 599) * stride;
            EXPECT_EQ(first[reverse != 0 ? last : 0], x[reverse != 0 ? last : 0]);
        }
    }
}

TEST(Index, OrderIsStableAndNanIsLargest) {
    const float nan = std::nanf("");
    const std::vector<float> x = {2, nan, 1, 2, -INFINITY, nan, 1, INFINITY};
    for (int threads : {1, 2}) {
        std::vector<std::int64_t> up(8), down(8);
        run_op("argsort", {view(x, {1, 8})}, {view(up, {1, 8})}, {0}, threads);
        run_op("argsort", {view(x, {1, 8})}, {view(down, {1, 8})}, {1}, threads);
        EXPECT_EQ(up, (std::vector<std::int64_t>{4, 2, 6, 0, 3, 7, 1, 5}));
        EXPECT_EQ(down, (std::vector<std::int64_t>{1, 5, 7, 0, 3, 2, 6, 4}));
    }
}

TEST(Index, CallsThatWouldLeaveTheirArraysAreRefused) {
    std::vector<float> x(12), y(12);
    const std::vector<std::int64_t> index(4);
    const std::vector<float> not_integers(4);
    const TensorView small = view(y, {2, 3}), large = view(x, {4, 3});
    EXPECT_THROW(run_op("slice", {large}, {small}, part({3}, {1})), Error);
    EXPECT_THROW(run_op("slice", {large}, {small}, part({0}, {-1})), Error);
    EXPECT_THROW(run_op("slice", {large}, {small}, part({-1}, {1})), Error);
    EXPECT_THROW(run_op("slice", {large}, {small}, part({0}, {0})), Error);
    EXPECT_THROW(run_op("slice", {large}, {view(y, {6})}, part({0}, {1})), Error);
    std::vector<double> placed = part({3}, {1});
    placed.push_back(0);
    EXPECT_THROW(run_op("place", {small}, {large}, placed), Error);
    EXPECT_THROW(run_op("concatenate", {small, small}, {large}, {1}), Error);
    EXPECT_THROW(run_op("concatenate", {small, large}, {large}, {0}), Error);
    EXPECT_THROW(run_op("concatenate", {small, small}, {large}, {2}), Error);
    EXPECT_THROW(run_op("take", {large, view(index, {4})}, {small}, {0}), Error);
    EXPECT_THROW(run_op("take", {large, view(not_integers, {4})}, {large}, {0}), Error);
    EXPECT_THROW(run_op("take_add", {small, view(index, {4})}, {large}, {0}), Error);
    EXPECT_THROW(run_op("gather", {large, view(index, {4})}, {view(y, {4})}, {0}), Error);
    EXPECT_THROW(run_op("scatter_add", {view(y, {4}), view(index, {4})}, {large}, {0}), Error);
    EXPECT_THROW(run_op("cumsum", {large}, {small}, {0, 0}), Error);
    EXPECT_THROW(run_op("cumsum", {large}, {view(y, {4, 3})}, {2, 0}), Error);
    EXPECT_THROW(run_op("argsort", {large}, {view(y, {4, 3})}, {0}), Error);
}

}  // namespace
}  // namespace fastprop
