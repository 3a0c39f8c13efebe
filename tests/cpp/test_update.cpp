// Optimizer updates against the formulas in plain double arithmetic, over several steps and slices.

#include <gtest/gtest.h>

#include "op_runner.h"

namespace fastprop {
namespace {

using test::expect_close;
using test::random_values;
using test::run_op;
using test::same_bits;
using test::view;

const Index kSizes[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100};
constexpr int kSteps = 5;

using Doubles = std::vector<double>;

template <class T>
Doubles widen(const std::vector<T>& x) {
    return Doubles(x.begin(), x.end());
}

template <class T>
class Update : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(Update, Types);

/// A weight [rows, columns] and up to two arrays of state, moved kSteps times.
template <class T>
struct Run {
    std::vector<T> w, first, second;
    Doubles want_w, want_first, want_second;

    Run(Index rows, Index columns)
        : w(random_values<T>(rows * columns, 1)),
          first(w.size()),
          second(w.size()),
          want_w(widen(w)),
          want_first(w.size()),
          want_second(w.size()),
          rows_(rows),
          columns_(columns) {}

    std::vector<T> gradient(int step) const {
        return random_values<T>(rows_ * columns_, 10 + static_cast<std::uint64_t>(step));
    }

    /// One step of an op whose scalars start at place 2 of the step's row.
    void move(const char* op, const std::vector<T>& g, const Doubles& attrs, const Doubles& scalars,
              int states, int threads) {
        Doubles row = {-7, -7};
        row.insert(row.end(), scalars.begin(), scalars.end());
        StepContext step;
        step.scalars = row.data();
        step.num_scalars = static_cast<Index>(row.size());
        Doubles all = {2};
        all.insert(all.end(), attrs.begin(), attrs.end());
        std::vector<TensorView> out = {shaped(w)};
        if (states > 0) out.push_back(shaped(first));
        if (states > 1) out.push_back(shaped(second));
        run_op(op, {shaped(g)}, out, all, threads, &step);
    }

    void expect_near() const {
        const double tolerance = sizeof(T) == 4 ? 3e-6 : 1e-14;
        expect_close(w, want_w, tolerance);
        expect_close(first, want_first, tolerance);
        expect_close(second, want_second, tolerance);
    }

private:
    TensorView shaped(const std::vector<T>& x) const { return view(x, {rows_, columns_}); }

    Index rows_, columns_;
};

struct Sgd {
    double momentum, dampening, nesterov, decay;
};

/// torch.optim.SGD on one element, written out.
void sgd_by_hand(const Sgd& o, double lr, int step, double g, double& w, double& buf) {
    g += o.decay * w;
    if (o.momentum != 0) {
        buf = step == 0 ? g : o.momentum * buf + (1 - o.dampening) * g;
        g = o.nesterov != 0 ? g + o.momentum * buf : buf;
    }
    w -= lr * g;
}

TYPED_TEST(Update, SgdMatchesFormula) {
    using T = TypeParam;
    const Sgd kinds[] = {
        {0, 0, 0, 0}, {0, 0, 0, 0.1}, {0.9, 0, 0, 0}, {0.9, 0.3, 0, 0.1}, {0.8, 0, 1, 0.1}};
    for (const Sgd& o : kinds) {
        for (Index size : kSizes) {
            Run<T> run(size, 3);
            for (int step = 0; step < kSteps; ++step) {
                const double lr = 0.1 / (1 + step);
                const std::vector<T> g = run.gradient(step);
                for (std::size_t i = 0; i < g.size(); ++i)
                    sgd_by_hand(o, lr, step, double(g[i]), run.want_w[i], run.want_first[i]);
                run.move("sgd_update", g, {o.momentum, o.nesterov, o.decay},
                         {lr, step == 0 ? 1 : 1 - o.dampening}, o.momentum != 0 ? 1 : 0, 2);
            }
            run.expect_near();
        }
    }
}

/// torch.optim.Adam and AdamW on one element, written out.
void adam_by_hand(bool decoupled, double decay, double lr, int t, double g, double& w, double& m,
                  double& v) {
    if (decoupled)
        w *= 1 - lr * decay;
    else
        g += decay * w;
    m = 0.9 * m + 0.1 * g;
    v = 0.99 * v + 0.01 * g * g;
    const double m_hat = m / (1 - std::pow(0.9, t));
    const double v_hat = v / (1 - std::pow(0.99, t));
    w -= lr * m_hat / (std::sqrt(v_hat) + 1e-6);
}

TYPED_TEST(Update, AdamMatchesFormula) {
    using T = TypeParam;
    for (bool decoupled : {false, true}) {
        for (double decay : {0.0, 0.1}) {
            for (Index size : kSizes) {
                Run<T> run(size, 3);
                for (int t = 1; t <= kSteps; ++t) {
                    const double lr = 0.1 / t;
                    const std::vector<T> g = run.gradient(t);
                    for (std::size_t i = 0; i < g.size(); ++i)
                        adam_by_hand(decoupled, decay, lr, t, double(g[i]), run.want_w[i],
                                     run.want_first[i], run.want_second[i]);
                    run.move(
                        decoupled ? "adamw_update" : "adam_update", g, {0.9, 0.99, 1e-6, decay},
                        {lr, lr / (1 - std::pow(0.9, t)), 1 / std::sqrt(1 - std::pow(0.99, t))}, 2,
                        3);
                }
                run.expect_near();
            }
        }
    }
}

TYPED_TEST(Update, BitsDoNotDependOnTheTeam) {
    using T = TypeParam;
    for (Index size : kSizes) {
        Run<T> alone(size, 5), adam_alone(size, 5);
        alone.move("sgd_update", alone.gradient(0), {0.9, 1, 0.1}, {0.1, 0.7}, 1, 1);
        adam_alone.move("adam_update", alone.gradient(0), {0.9, 0.99, 1e-8, 0.1}, {0.1, 0.2, 3}, 2,
                        1);
        for (int threads : {2, 3}) {
            Run<T> team(size, 5), adam_team(size, 5);
            team.move("sgd_update", alone.gradient(0), {0.9, 1, 0.1}, {0.1, 0.7}, 1, threads);
            adam_team.move("adam_update", alone.gradient(0), {0.9, 0.99, 1e-8, 0.1}, {0.1, 0.2, 3},
                           2, threads);
            EXPECT_TRUE(same_bits(alone.w, team.w) && same_bits(alone.first, team.first));
            EXPECT_TRUE(same_bits(adam_alone.w, adam_team.w));
            EXPECT_TRUE(same_bits(adam_alone.second, adam_team.second));
        }
    }
}

TEST(UpdateChecks, RefuseWrongOperands) {
    const std::vector<float> w(4), g(3);
    const std::vector<double> wide(4);
    const TensorView v = view(w, {4});
    EXPECT_THROW(run_op("sgd_update", {view(g, {3})}, {v}, {0, 0, 0, 0}), Error);
    EXPECT_THROW(run_op("sgd_update", {view(wide, {4})}, {v}, {0, 0, 0, 0}), Error);
    EXPECT_THROW(run_op("sgd_update", {v}, {v}, {0, 0.9, 0, 0}), Error);
    EXPECT_THROW(run_op("adam_update", {v}, {v, v}, {0, 0.9, 0.99, 1e-8, 0}), Error);
}

TEST(OpTable, NamesTheNearestOp) {
    try {
        find_op("adam_updte");
        FAIL();
    } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("\"adam_update\""), std::string::npos)
            << error.what();
    }
}

TEST(OpTable, EveryRowIsComplete) {
    for (const OpEntry& op : op_table()) {
        EXPECT_EQ(&find_op(op.name), &op);
        EXPECT_TRUE(op.f32 != nullptr && op.f64 != nullptr) << op.name;
        EXPECT_TRUE(op.min_inputs >= 0 && op.min_inputs <= op.max_inputs && op.max_outputs >= 1)
            << op.name;
    }
}

}  // namespace
}  // namespace fastprop
