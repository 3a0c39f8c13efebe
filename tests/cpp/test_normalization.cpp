// Normalization against plain loops in double precision, for every slice of a team; and what the
// checks refuse.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "core/check.h"
#include "op_runner.h"

namespace fastprop {
namespace {

using test::expect_close;
using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::Shape;
using test::size_of;
using test::view_of;

constexpr double kEps = 1e-5;

struct Matrix {
    Index rows, columns;
};

// Odd ends of packets, blocks of 8 and of 256 rows, columns that several threads share.
const Matrix kMatrices[] = {{2, 1},   {3, 7},   {8, 16},  {9, 17},   {257, 33},
                            {37, 64}, {700, 5}, {5, 130}, {128, 100}};

template <class T>
class Normalization : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Normalization, Types);

/// The output for every size of team, of which all bits must be the same.
template <class T>
std::vector<T> run_teams(const char* op, const std::vector<TensorView>& in, const Shape& out,
                         const std::vector<double>& attrs) {
    std::vector<T> first;
    for (const int threads : {1, 2, 3, 7}) {
        std::vector<T> y = nan_values<T>(size_of(out));
        run_op(op, in, {view_of(y, out)}, attrs, threads);
        if (threads == 1) first = y;
        EXPECT_TRUE(same_bits(y, first)) << op << ", " << threads << " threads";
    }
    return first;
}

struct Moments {
    double mean, variance;
    double rstd(double eps) const { return 1 / std::sqrt(variance + eps); }
};

/// Of n values value(i).
Moments moments_of(Index n, const std::function<double(Index)>& value) {
    double mean = 0, square = 0;
    for (Index i = 0; i < n; ++i) mean += value(i) / static_cast<double>(n);
    for (Index i = 0; i < n; ++i) square += (value(i) - mean) * (value(i) - mean);
    return {mean, square / static_cast<double>(n)};
}

template <class T>
double tolerance() {
    return 60 * static_cast<double>(std::numeric_limits<T>::epsilon());
}

/// Random values about `offset`.
template <class T>
std::vector<T> values_at(Index n, std::uint64_t seed, double offset) {
    std::vector<T> values = random_values<T>(n, seed);
    for (T& value : values) value += static_cast<T>(offset);
    return values;
}

TYPED_TEST(Normalization, MomentsOfColumns) {
    using T = TypeParam;
    for (const auto& [rows, columns] : kMatrices) {
        const auto x = values_at<T>(rows * columns, 1, 3);
        const auto got =
            run_teams<T>("batch_moments", {view_of(x, {rows, columns})}, {columns, 3}, {kEps});
        std::vector<double> want;
        const Index stride = columns;
        for (Index c = 0; c < columns; ++c) {
            const Moments m = moments_of(rows, [&](Index r) {
                return static_cast<double>(x[static_cast<std::size_t>(r * stride + c)]);
            });
            const double n = static_cast<double>(rows);
            want.insert(want.end(), {m.mean, m.rstd(kEps), m.variance * n / (n - 1)});
        }
        expect_close(got, want, tolerance<T>());
    }
}

TYPED_TEST(Normalization, AVarianceSurvivesALargeMean) {
    using T = TypeParam;
    const Index rows = 1000, columns = 3;
    const double offset = std::is_same_v<T, float> ? 1e4 : 1e10;
    const auto x = values_at<T>(rows * columns, 2, offset);
    const auto got =
        run_teams<T>("batch_moments", {view_of(x, {rows, columns})}, {columns, 3}, {kEps});
    for (Index c = 0; c < columns; ++c) {
        const Moments m = moments_of(rows, [&](Index r) {
            return static_cast<double>(x[static_cast<std::size_t>(r * columns + c)]) - offset;
        });
        const double found = static_cast<double>(got[static_cast<std::size_t>(3 * c + 2)]);
        EXPECT_NEAR(found, m.variance * 1000 / 999, 1e-5);
    }
}

TYPED_TEST(Normalization, OneRowHasNoVariance) {
    using T = TypeParam;
    const std::vector<T> x = {2, 3};
    const auto got = run_teams<T>("batch_moments", {view_of(x, {1, 2})}, {2, 3}, {0.25});
    EXPECT_EQ(got, (std::vector<T>{2, 2, 0, 3, 2, 0}));
}

TYPED_TEST(Normalization, Batch) {
    using T = TypeParam;
    for (const auto& [rows, columns] : kMatrices) {
        const Shape shape = {rows, columns}, c = {columns};
        const auto x = random_values<T>(rows * columns, 1),
                   dy = random_values<T>(rows * columns, 2);
        const auto mean = random_values<T>(columns, 3), rstd = values_at<T>(columns, 4, 2);
        const auto w = random_values<T>(columns, 5), b = random_values<T>(columns, 6);
        const auto y = run_teams<T>(
            "batch_norm",
            {view_of(x, shape), view_of(mean, c), view_of(rstd, c), view_of(w, c), view_of(b, c)},
            shape, {});
        const auto sums = run_teams<T>(
            "batch_norm_backward_weights",
            {view_of(x, shape), view_of(mean, c), view_of(rstd, c), view_of(dy, shape)},
            {columns, 2}, {});
        const auto dw = random_values<T>(columns, 7), db = random_values<T>(columns, 8);
        const auto dx =
            run_teams<T>("batch_norm_backward_data",
                         {view_of(x, shape), view_of(mean, c), view_of(rstd, c), view_of(dy, shape),
                          view_of(dw, c), view_of(db, c), view_of(w, c)},
                         shape, {});
        std::vector<double> want_y(x.size()), want_dx(x.size()), want_sums(sums.size());
        const double n = static_cast<double>(rows);
        for (std::size_t i = 0; i < x.size(); ++i) {
            const std::size_t k = i % static_cast<std::size_t>(columns);
            const double xhat = (double(x[i]) - double(mean[k])) * double(rstd[k]);
            want_y[i] = xhat * double(w[k]) + double(b[k]);
            want_sums[2 * k] += xhat * double(dy[i]);
            want_sums[2 * k + 1] += double(dy[i]);
            want_dx[i] = double(w[k]) * double(rstd[k]) *
                         (double(dy[i]) - (double(db[k]) + xhat * double(dw[k])) / n);
        }
        expect_close(y, want_y, tolerance<T>());
        expect_close(sums, want_sums, tolerance<T>() * std::sqrt(n));
        expect_close(dx, want_dx, tolerance<T>());
    }
}

TYPED_TEST(Normalization, RunningMoments) {
    using T = TypeParam;
    const Index columns = 37;
    const auto moments = random_values<T>(3 * columns, 1);
    const std::vector<std::int64_t> count = {4};
    for (const double momentum : {0.3, -1.0}) {
        const double share = momentum < 0 ? 0.25 : momentum;
        for (const int threads : {1, 3}) {
            auto mean = random_values<T>(columns, 2), variance = random_values<T>(columns, 3);
            std::vector<double> want_mean, want_variance;
            for (std::size_t c = 0; c < mean.size(); ++c) {
                want_mean.push_back(double(mean[c]) * (1 - share) + share * double(moments[3 * c]));
                want_variance.push_back(double(variance[c]) * (1 - share) +
                                        share * double(moments[3 * c + 2]));
            }
            run_op("running_moments", {view_of(moments, {columns, 3}), view_of(count, {})},
                   {view_of(mean, {columns}), view_of(variance, {columns})}, {momentum}, threads);
            expect_close(mean, want_mean, tolerance<T>());
            expect_close(variance, want_variance, tolerance<T>());
        }
    }
}

TYPED_TEST(Normalization, Layer) {
    using T = TypeParam;
    for (const auto& [rows, columns] : kMatrices) {
        for (const Index groups : {Index{1}, columns % 2 == 0 ? Index{2} : columns}) {
            for (const bool centered : {true, false}) {
                const Shape shape = {rows, columns}, c = {columns}, stats = {rows, groups, 2};
                const double g = static_cast<double>(groups), on = centered ? 1 : 0;
                const Index size = columns / groups;
                const auto x = values_at<T>(rows * columns, 1, 0.5);
                const auto dy = random_values<T>(rows * columns, 2);
                const auto w = random_values<T>(columns, 5), b = random_values<T>(columns, 6);
                const auto moments =
                    run_teams<T>("layer_moments", {view_of(x, shape)}, stats, {g, 0.1, on});
                const auto y = run_teams<T>(
                    "layer_norm",
                    {view_of(x, shape), view_of(moments, stats), view_of(w, c), view_of(b, c)},
                    shape, {g});
                const auto sums =
                    run_teams<T>("layer_norm_backward_weights",
                                 {view_of(x, shape), view_of(moments, stats), view_of(dy, shape)},
                                 {columns, 2}, {g});
                const auto dx = run_teams<T>(
                    "layer_norm_backward_data",
                    {view_of(x, shape), view_of(moments, stats), view_of(dy, shape), view_of(w, c)},
                    shape, {g, on});
                std::vector<double> want_moments, want_y(x.size()), want_dx(x.size()),
                    want_sums(sums.size());
                for (Index k = 0; k < rows * groups; ++k) {
                    const auto at = [&](Index i) { return static_cast<std::size_t>(k * size + i); };
                    const auto column = [&](Index i) {
                        return static_cast<std::size_t>((k * size + i) % columns);
                    };
                    Moments m = moments_of(size, [&](Index i) { return double(x[at(i)]); });
                    if (!centered) m = {0, m.variance + m.mean * m.mean};
                    const double rstd = m.rstd(0.1);
                    want_moments.insert(want_moments.end(), {m.mean, rstd});
                    const auto xhat = [&](Index i) { return (double(x[at(i)]) - m.mean) * rstd; };
                    const auto d = [&](Index i) {
                        return double(dy[at(i)]) * double(w[column(i)]);
                    };
                    const double mean_d = centered ? moments_of(size, d).mean : 0;
                    const double mean_dx =
                        moments_of(size, [&](Index i) { return d(i) * xhat(i); }).mean;
                    for (Index i = 0; i < size; ++i) {
                        want_y[at(i)] = xhat(i) * double(w[column(i)]) + double(b[column(i)]);
                        want_dx[at(i)] = rstd * (d(i) - mean_d - xhat(i) * mean_dx);
                        want_sums[2 * column(i)] += xhat(i) * double(dy[at(i)]);
                        want_sums[2 * column(i) + 1] += double(dy[at(i)]);
                    }
                }
                SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
                expect_close(moments, want_moments, tolerance<T>());
                expect_close(y, want_y, tolerance<T>());
                expect_close(sums, want_sums,
                             tolerance<T>() * std::sqrt(static_cast<double>(rows)));
                expect_close(dx, want_dx, tolerance<T>());
            }
        }
    }
}

TEST(NormalizationChecks, RefuseWhatWouldGoOutOfBounds) {
    const std::vector<float> x(12), c(3), wide(5);
    std::vector<float> y(12), sums(6), moments(9);
    const auto v = [](const std::vector<float>& values, const Shape& shape) {
        return view_of(values, shape);
    };
    EXPECT_THROW(run_op("batch_moments", {v(x, {4, 3})}, {v(moments, {3, 2})}, {0}), Error);
    EXPECT_THROW(run_op("batch_moments", {v(x, {0, 3})}, {v(moments, {3, 3})}, {0}), Error);
    EXPECT_THROW(run_op("batch_norm", {v(x, {4, 3}), v(wide, {5}), v(c, {3})}, {v(y, {4, 3})}, {}),
                 Error);
    EXPECT_THROW(
        run_op("batch_norm", {v(x, {4, 3}), v(c, {3}), v(c, {3}), v(c, {3})}, {v(y, {4, 3})}, {}),
        Error);
    EXPECT_THROW(run_op("batch_norm", {v(x, {12}), v(x, {12}), v(x, {12})}, {v(y, {12})}, {}),
                 Error);
    EXPECT_THROW(run_op("batch_norm_backward_weights",
                        {v(x, {4, 3}), v(c, {3}), v(c, {3}), v(c, {3})}, {v(sums, {3, 2})}, {}),
                 Error);
    EXPECT_THROW(run_op("batch_norm_backward_data",
                        {v(x, {4, 3}), v(c, {3}), v(c, {3}), v(x, {4, 3}), v(c, {3}), v(wide, {5})},
                        {v(y, {4, 3})}, {}),
                 Error);
    EXPECT_THROW(run_op("running_moments", {v(moments, {3, 3})}, {v(c, {3})}, {0.1}), Error);
    EXPECT_THROW(run_op("running_moments", {v(moments, {3, 3})}, {v(c, {3}), v(c, {3})}, {-1}),
                 Error);
    EXPECT_THROW(run_op("layer_moments", {v(x, {4, 3})}, {v(y, {4, 1, 2})}, {2, 0, 1}), Error);
    EXPECT_THROW(run_op("layer_moments", {v(x, {4, 3})}, {v(y, {2, 2, 2})}, {1, 0, 1}), Error);
    EXPECT_THROW(run_op("layer_norm", {v(x, {4, 3}), v(sums, {3, 1, 2})}, {v(y, {4, 3})}, {1}),
                 Error);
    EXPECT_THROW(
        run_op("layer_norm_backward_weights", {v(x, {4, 3}), v(moments, {4, 1, 2}), v(x, {4, 3})},
               {v(sums, {3, 2})}, {0}),
        Error);
}

}  // namespace
}  // namespace fastprop
