// Losses: values and gradients against plain double arithmetic and finite differences, the three
// forms of each op bit for bit, and slices.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::expect_close;
using test::nan_values;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100};
const Index kRows[] = {1, 5, 17, 33};

using Doubles = std::vector<double>;

/// One elementwise loss: how it is called, and what an element of it is worth.
struct Case {
    std::string name;
    Doubles attrs;
    std::function<double(double p, double t, double aux)> value;
    bool positive_pred = false;
    bool signed_target = true;
    enum class Aux { none, one, last_axis, full, per_vector } aux = Aux::none;
};

double softplus(double x) { return std::max(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }

double poisson(double p, double t, bool log_input, bool full) {
    const double value = log_input ? std::exp(p) - t * p : p - t * std::log(p + 1e-8);
    const double pi = 3.14159265358979323846;
    return value + (full && t > 1 ? t * std::log(t) - t + 0.5 * std::log(2 * pi * t) : 0.0);
}

double gaussian(double p, double t, double var) {
    const double v = std::max(var, 0.05);
    return 0.5 * (std::log(v) + (p - t) * (p - t) / v);
}

double bce(double p, double t, double w) { return w * t * softplus(-p) + (1 - t) * softplus(p); }

/// Written out without care for large logits; exact enough at small ones.
double binary_focal(double p, double t, double gamma, double alpha) {
    const double on = 1 / (1 + std::exp(-p)), off = 1 - on;
    return -alpha * t * std::pow(off, gamma) * std::log(on) -
           (1 - alpha) * (1 - t) * std::pow(on, gamma) * std::log(off);
}

double kl_div(double p, double t, double) { return t > 0 ? t * (std::log(t) - p) : 0.0; }

std::vector<Case> cases() {
    const auto square = [](double p, double t, double) { return (p - t) * (p - t); };
    const auto absolute = [](double p, double t, double) { return std::abs(p - t); };
    const auto huber = [](double p, double t, double) {
        const double d = std::abs(p - t);
        return d < 0.75 ? 0.5 * d * d : 0.75 * (d - 0.375);
    };
    const auto hinge = [](double p, double t, double) { return std::max(0.0, 1 - t * p); };
    const auto poisson_log = [](double p, double t, double) { return poisson(p, t, true, true); };
    const auto poisson_rate = [](double p, double t, double) {
        return poisson(p, t, false, false);
    };
    const auto log_cosh = [](double p, double t, double) { return std::log(std::cosh(p - t)); };
    const auto quantile = [](double p, double t, double q) {
        return std::max(q * (t - p), (q - 1) * (t - p));
    };
    const auto elastic_net = [](double p, double, double) {
        return 0.3 * std::abs(p) + 0.7 * p * p;
    };
    const auto kl_of_logs = [](double p, double t, double) { return std::exp(t) * (t - p); };
    const auto focal = [](double p, double t, double) { return binary_focal(p, t, 2, 0.25); };
    const auto focal_bce = [](double p, double t, double) {
        return 2 * binary_focal(p, t, 0, 0.5);
    };
    const auto bce_plain = [](double p, double t, double) { return bce(p, t, 1); };
    using Aux = Case::Aux;
    return {{"mse", {1}, square},
            {"mse", {0}, square},
            {"mae", {1}, absolute},
            {"huber", {1, 0.75}, huber},
            {"log_cosh", {1}, log_cosh},
            {"quantile", {1}, quantile, false, true, Aux::one},
            {"quantile", {0}, quantile, false, true, Aux::last_axis},
            {"kl_div", {0, 0}, kl_div, false, false},
            {"kl_div", {1, 1}, kl_of_logs},
            {"elastic_net", {0, 0.3, 0.7}, elastic_net},
            {"binary_focal", {1, 2, 0.25}, focal, false, false},
            {"binary_focal", {0, 0, -1}, focal_bce, false, false},
            {"hinge", {0}, hinge},
            {"poisson_nll", {1, 1, 1, 1e-8}, poisson_log, false, false},
            {"poisson_nll", {1, 0, 0, 1e-8}, poisson_rate, true, false},
            {"gaussian_nll", {1, 0, 0.05}, gaussian, false, true, Aux::full},
            {"gaussian_nll", {0, 0, 0.05}, gaussian, false, true, Aux::per_vector},
            {"binary_cross_entropy", {1}, bce_plain, false, false},
            {"binary_cross_entropy", {1}, bce, false, false, Aux::one},
            {"binary_cross_entropy", {0}, bce, false, false, Aux::last_axis}};
}

/// The operands of a case: pred and target [rows, outer, last], g_rows [rows], and aux.
template <class T>
struct Operands {
    Index rows, outer, last;
    std::vector<T> pred, target, g, aux;

    Operands(const Case& c, Index r, Index o, Index l) : rows(r), outer(o), last(l) {
        const Index n = rows * outer * last;
        pred = random_values<T>(n, 1);
        target = random_values<T>(n, 2);
        g = random_values<T>(rows, 3);
        for (T& p : pred) p = c.positive_pred ? std::abs(p) + T(0.1) : 3 * p;
        for (T& t : target) {
            if (c.name == "hinge")
                t = t < 0 ? T(-1) : T(1);
            else if (c.name == "poisson_nll")
                t = std::floor(4 * std::abs(t));
            else if (!c.signed_target)
                t = std::abs(t);
        }
        using Aux = Case::Aux;
        const Index counts[] = {0, 1, last, n, rows * outer};
        aux = random_values<T>(counts[static_cast<int>(c.aux)], 4);
        const T lift = c.aux == Aux::full || c.aux == Aux::per_vector ? T(0.1) : T(0.5);
        for (T& a : aux) a = std::abs(a) + lift;
    }

    Index aux_index(Case::Aux kind, Index i) const {
        using Aux = Case::Aux;
        if (kind == Aux::full) return i;
        if (kind == Aux::last_axis) return i % last;
        return kind == Aux::per_vector ? i / last : 0;
    }

    std::vector<TensorView> inputs(Case::Aux kind, bool gradient) const {
        std::vector<TensorView> in = {view(pred, {rows, outer, last}),
                                      view(target, {rows, outer, last})};
        if (gradient) in.push_back(view(g, {rows}));
        using Aux = Case::Aux;
        if (kind == Aux::full) in.push_back(view(aux, {rows, outer, last}));
        if (kind == Aux::per_vector) in.push_back(view(aux, {rows, outer, 1}));
        if (kind == Aux::one || kind == Aux::last_axis)
            in.push_back(view(aux, {Index(aux.size())}));
        return in;
    }
};

template <class T>
struct Outputs {
    std::vector<T> rows, dpred, daux;
};

template <class T>
void run_forms(const Case& c, const Operands<T>& o, int threads, Outputs<T>& apart,
               Outputs<T>& fused) {
    const bool variance = c.name == "gaussian_nll";
    for (Outputs<T>* to : {&apart, &fused})
        *to = {nan_values<T>(o.rows), nan_values<T>(Index(o.pred.size())),
               nan_values<T>(Index(o.aux.size()))};
    const auto dpred_of = [&](const Outputs<T>& to) {
        std::vector<TensorView> out = {view(to.dpred, {o.rows, o.outer, o.last})};
        if (variance) out.push_back(view(to.daux, {o.rows, Index(to.daux.size()) / o.rows}));
        return out;
    };
    run_op(c.name, o.inputs(c.aux, false), {view(apart.rows, {o.rows})}, c.attrs, threads);
    run_op(c.name + "_backward", o.inputs(c.aux, true), dpred_of(apart), c.attrs, threads);
    std::vector<TensorView> all = dpred_of(fused);
    all.insert(all.begin(), view(fused.rows, {o.rows}));
    run_op(c.name + "_fused", o.inputs(c.aux, true), all, c.attrs, threads);
    std::vector<T> place = o.pred;  // dpred may be pred
    std::vector<TensorView> in = o.inputs(c.aux, true);
    in[0] = all[1] = view(place, {o.rows, o.outer, o.last});
    run_op(c.name + "_fused", in, all, c.attrs, threads);
    EXPECT_TRUE(same_bits(place, fused.dpred));
}

/// Row losses by definition, derivatives by central differences.
template <class T>
void expect_definition(const Case& c, const Operands<T>& o, const Outputs<T>& got) {
    const Index row_size = o.outer * o.last;
    Doubles rows(static_cast<std::size_t>(o.rows), 0.0), dpred(got.dpred.size()),
        daux(got.daux.size(), 0.0);
    for (Index i = 0; i < Index(o.pred.size()); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const auto row = static_cast<std::size_t>(i / row_size);
        const auto k = static_cast<std::size_t>(o.aux_index(c.aux, i));
        const double scale = c.attrs[0] != 0 ? 1.0 / static_cast<double>(row_size) : 1.0;
        const double p = o.pred[at], t = o.target[at], a = o.aux.empty() ? 1.0 : double(o.aux[k]);
        const double h = 1e-6, factor = scale * double(o.g[row]) / (2 * h);
        rows[row] += scale * c.value(p, t, a);
        dpred[at] = factor * (c.value(p + h, t, a) - c.value(p - h, t, a));
        if (!daux.empty()) daux[k] += factor * (c.value(p, t, a + h) - c.value(p, t, a - h));
    }
    const double sums = static_cast<double>(row_size) * std::numeric_limits<T>::epsilon();
    expect_close(got.rows, rows, sizeof(T) == 4 ? 2e-6 + sums : 1e-13 + sums);
    expect_close(got.dpred, dpred, sizeof(T) == 4 ? 3e-6 : 2e-9);
    if (c.name == "gaussian_nll") expect_close(got.daux, daux, sizeof(T) == 4 ? 2e-5 : 1e-7);
}

template <class T>
class Loss : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Loss, Types);

TYPED_TEST(Loss, ElementwiseMatchesDefinition) {
    using T = TypeParam;
    for (const Case& c : cases()) {
        for (Index rows : kRows) {
            for (Index size : kSizes) {
                for (Index outer : {Index{1}, Index{3}}) {
                    SCOPED_TRACE(testing::Message()
                                 << c.name << ' ' << rows << ' ' << outer << ' ' << size);
                    const Operands<T> o(c, rows, outer, size);
                    Outputs<T> apart, fused;
                    run_forms(c, o, 1, apart, fused);
                    expect_definition(c, o, fused);
                    EXPECT_TRUE(same_bits(apart.rows, fused.rows));
                    EXPECT_TRUE(same_bits(apart.dpred, fused.dpred));
                    if (!o.aux.empty() && c.name == "gaussian_nll") {
                        EXPECT_TRUE(same_bits(apart.daux, fused.daux));
                    }
                    if (testing::Test::HasFailure()) return;
                }
            }
        }
    }
}

TYPED_TEST(Loss, ElementwiseBitsDoNotDependOnTheTeam) {
    using T = TypeParam;
    for (const Case& c : cases()) {
        for (Index size : kSizes) {
            const Operands<T> o(c, 67, 2, size);
            Outputs<T> apart, fused;
            run_forms(c, o, 1, apart, fused);
            for (int threads : {2, 3}) {
                Outputs<T> apart_team, fused_team;
                run_forms(c, o, threads, apart_team, fused_team);
                EXPECT_TRUE(same_bits(fused.rows, fused_team.rows)) << c.name << size;
                EXPECT_TRUE(same_bits(fused.dpred, fused_team.dpred)) << c.name << size;
                EXPECT_TRUE(same_bits(apart.rows, apart_team.rows)) << c.name << size;
            }
        }
    }
}

TYPED_TEST(Loss, DerivativeOfAbsoluteErrorIsZeroAtZero) {
    using T = TypeParam;
    const std::vector<T> x = {1, -2, 3}, g = {1, 1, 1};
    std::vector<T> dx = nan_values<T>(3);
    run_op("mae_backward", {view(x, {3}), view(x, {3}), view(g, {3})}, {view(dx, {3})}, {1});
    EXPECT_EQ(dx, std::vector<T>(3, T(0)));
}

TYPED_TEST(Loss, BinaryCrossEntropyIsSafeAtLargeLogits) {
    using T = TypeParam;
    const std::vector<T> p = {2000, -2000, 2000, -2000}, t = {1, 0, 0, 1}, g = {1, 1, 1, 1};
    std::vector<T> rows = nan_values<T>(4), dp = nan_values<T>(4);
    run_op("binary_cross_entropy_fused", {view(p, {4}), view(t, {4}), view(g, {4})},
           {view(rows, {4}), view(dp, {4})}, {1});
    EXPECT_EQ(rows, (std::vector<T>{0, 0, 2000, 2000}));
    EXPECT_EQ(dp, (std::vector<T>{0, 0, 1, -1}));
}

TYPED_TEST(Loss, BinaryFocalIsSafeAtLargeLogits) {
    using T = TypeParam;
    const std::vector<T> p = {2000, -2000, 2000, -2000}, t = {1, 0, 0, 1}, g = {1, 1, 1, 1};
    std::vector<T> rows = nan_values<T>(4), dp = nan_values<T>(4);
    run_op("binary_focal_fused", {view(p, {4}), view(t, {4}), view(g, {4})},
           {view(rows, {4}), view(dp, {4})}, {1, 2, -1});
    EXPECT_EQ(rows, (std::vector<T>{0, 0, 2000, 2000}));
    EXPECT_EQ(dp, (std::vector<T>{0, 0, 1, -1}));
}

TYPED_TEST(Loss, LogCoshNeitherCancelsNorOverflows) {
    using T = TypeParam;
    const std::vector<T> p = {T(1e-4), T(-3e-3), 0, 5000, -5000};
    const std::vector<T> t(5, T(0)), g(5, T(1));
    std::vector<T> rows = nan_values<T>(5), dp = nan_values<T>(5);
    run_op("log_cosh_fused", {view(p, {5}), view(t, {5}), view(g, {5})},
           {view(rows, {5}), view(dp, {5})}, {1});
    const double log2 = std::log(2.0);
    const double tolerance = sizeof(T) == 4 ? 1e-6 : 1e-14;
    const double a = p[0], b = p[1];
    EXPECT_NEAR(rows[0] / (a * a / 2 - std::pow(a, 4) / 12), 1, tolerance);
    EXPECT_NEAR(rows[1] / (b * b / 2 - std::pow(b, 4) / 12 + std::pow(b, 6) / 45), 1, tolerance);
    EXPECT_EQ(rows[2], T(0));
    EXPECT_NEAR(rows[3], 5000 - log2, 5000 * tolerance);
    EXPECT_NEAR(rows[4], 5000 - log2, 5000 * tolerance);
    EXPECT_NEAR(dp[0] / std::tanh(a), 1, tolerance);
    EXPECT_NEAR(dp[1] / std::tanh(b), 1, tolerance);
    EXPECT_EQ((std::vector<T>{dp[2], dp[3], dp[4]}), (std::vector<T>{0, 1, -1}));
}

TYPED_TEST(Loss, NothingExpectedCostsNothing) {
    using T = TypeParam;
    const T inf = std::numeric_limits<T>::infinity();
    const std::vector<T> p = {-inf, T(-0.5)}, t = {0, 1}, log_t = {-inf, 0}, g = {1};
    std::vector<T> rows = nan_values<T>(1), dp = nan_values<T>(2);
    for (const double log_target : {0.0, 1.0}) {
        run_op("kl_div_fused",
               {view(p, {1, 2}), view(log_target != 0 ? log_t : t, {1, 2}), view(g, {1})},
               {view(rows, {1}), view(dp, {1, 2})}, {0, log_target});
        EXPECT_EQ(rows[0], T(0.5));
        EXPECT_EQ(dp, (std::vector<T>{0, -1}));
    }
}

TYPED_TEST(Loss, ElasticNetIsAddedAsItIsComputed) {
    using T = TypeParam;
    for (Index size : kSizes) {
        const Index rows = 7;
        const std::vector<T> w = random_values<T>(rows * size, 1), g = random_values<T>(rows, 2),
                             other = random_values<T>(rows * size, 3);
        std::vector<T> alone = nan_values<T>(rows * size), sum = alone;
        run_op("elastic_net_backward",
               {view(w, {rows, size}), view(w, {rows, size}), view(g, {rows})},
               {view(alone, {rows, size})}, {0, 0.3, 0.7});
        for (std::size_t i = 0; i < alone.size(); ++i) alone[i] += other[i];
        for (int threads : {1, 3}) {
            run_op("elastic_net_add",
                   {view(w, {rows, size}), view(g, {rows}), view(other, {rows, size})},
                   {view(sum, {rows, size})}, {0, 0.3, 0.7}, threads);
            EXPECT_TRUE(same_bits(sum, alone)) << size;
        }
        std::vector<T> in_place = other;
        run_op("elastic_net_add",
               {view(w, {rows, size}), view(g, {rows}), view(in_place, {rows, size})},
               {view(in_place, {rows, size})}, {0, 0.3, 0.7});
        EXPECT_TRUE(same_bits(in_place, alone)) << size;
    }
    EXPECT_THROW(run_op("elastic_net_add",
                        {view(std::vector<T>(6), {3, 2}), view(std::vector<T>(2), {2}),
                         view(std::vector<T>(6), {3, 2})},
                        {view(std::vector<T>(6), {3, 2})}, {0, 1, 1}),
                 Error);
}

TYPED_TEST(Loss, NanGivesNan) {
    using T = TypeParam;
    for (const Case& c : cases()) {
        for (Index size : {Index{3}, Index{40}}) {
            Operands<T> o(c, 2, 1, size);
            o.pred[1] = std::numeric_limits<T>::quiet_NaN();
            Outputs<T> apart, fused;
            run_forms(c, o, 1, apart, fused);
            EXPECT_TRUE(std::isnan(fused.rows[0])) << c.name;
            EXPECT_FALSE(std::isnan(fused.rows[1])) << c.name;
        }
    }
}

TEST(LossChecks, RefuseWrongOperands) {
    const std::vector<float> x(6), g(3), rows(3), dx(6);
    const std::vector<std::int64_t> labels(3);
    const TensorView p = view(x, {3, 2});
    EXPECT_THROW(run_op("mse", {p, view(x, {6}), p}, {view(rows, {3})}, {1}), Error);
    EXPECT_THROW(run_op("mse", {p, view(g, {3})}, {view(rows, {3})}, {1}), Error);
    EXPECT_THROW(run_op("mse", {p, p}, {view(dx, {6})}, {1}), Error);
    EXPECT_THROW(run_op("mse_fused", {p, p, view(g, {3})}, {view(rows, {3})}, {1}), Error);
    EXPECT_THROW(run_op("cross_entropy", {p, p}, {view(rows, {3})}, {0}), Error);
    EXPECT_THROW(
        run_op("cross_entropy", {p, view(labels, {3}), view(g, {3})}, {view(rows, {3})}, {0}),
        Error);
    EXPECT_THROW(run_op("gaussian_nll", {p, p}, {view(rows, {3})}, {1, 0, 1e-6}), Error);
}

}  // namespace
}  // namespace fastprop
