// The executor: one linear layer trained by SGD as a hand-made list of instructions.

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <numeric>
#include <vector>

#include "program/program.h"

namespace fastprop {
namespace {

constexpr Index kRows = 23;  // not a multiple of the batch
constexpr Index kBatch = 5;
constexpr Index kIn = 3;
constexpr Index kOut = 2;

int code_of(const char* name) { return static_cast<int>(&find_op(name) - op_table().data()); }

Operand operand(Place place, int index, std::size_t offset, std::vector<Index> shape,
                bool batched = false) {
    Operand o;
    o.place = place;
    o.index = index;
    o.offset = offset;
    o.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), o.shape);
    o.batched = batched;
    return o;
}

Operand in_arena(std::size_t slot, std::vector<Index> shape, bool batched = true) {
    return operand(Place::arena, 0, slot * 256, std::move(shape), batched);
}

/// y = x W + b, mean squared error against t, one SGD step: everything that a Program consists of.
struct LinearModel {
    std::vector<float> x, t, w, b;
    std::vector<std::int64_t> order;
    std::vector<double> scalars;

    LinearModel() : x(kRows * kIn), t(kRows * kOut), w(kIn * kOut), b(kOut), order(kRows) {
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.7f * static_cast<float>(i));
        for (std::size_t i = 0; i < t.size(); ++i) t[i] = std::cos(0.3f * static_cast<float>(i));
        for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.1f * static_cast<float>(i);
        for (Index i = 0; i < kRows; ++i) order[static_cast<std::size_t>(i)] = (i * 7) % kRows;
        for (Index i = 0; i < ceil_div(kRows, kBatch); ++i) {
            scalars.push_back(0.05);  // learning rate
            scalars.push_back(1.0);   // factor of the gradient
        }
    }

    Program::Parts parts() {
        const Operand x_source = operand(Place::source, 0, 0, {kBatch, kIn}, true);
        const Operand t_source = operand(Place::source, 1, 0, {kBatch, kOut}, true);
        const Operand weights = operand(Place::buffer, 0, 0, {kIn, kOut});
        const Operand bias = operand(Place::buffer, 1, 0, {kOut});
        const Operand xb = in_arena(0, {kBatch, kIn}), tb = in_arena(1, {kBatch, kOut});
        const Operand y = in_arena(2, {kBatch, kOut}), dy = in_arena(3, {kBatch, kOut});
        const Operand g = in_arena(5, {kBatch});
        const Operand rows = in_arena(6, {kBatch}), dw = in_arena(7, {kIn, kOut}, false);
        const Operand db = in_arena(8, {kOut}, false), loss = in_arena(9, {}, false);
        const std::vector<double> sgd = {0, 0, 0, 0};
        Program::Parts parts;
        parts.arena_bytes = 10 * 256;
        parts.capacity = kBatch;
        parts.buffers = {{w.data(), w.size() * 4}, {b.data(), b.size() * 4}};
        parts.step = {
            {code_of("gather_rows"), {x_source}, {xb}, {}, false},
            {code_of("gather_rows"), {t_source}, {tb}, {}, false},
            {code_of("dense"), {xb, weights, bias}, {y}, {0, 0, 0}, false},
            {code_of("fill"), {}, {g}, {1.0 / kBatch}, false},
            {code_of("mse_fused"), {y, tb, g}, {rows, dy}, {1}, false},
            {code_of("dense_backward_weights"), {xb, dy}, {dw}, {}, true},
            {code_of("dense_backward_bias"), {dy}, {db}, {}, false},
            {code_of("sgd_update"), {dw}, {weights}, sgd, false},
            {code_of("sgd_update"), {db}, {bias}, sgd, false},
            {code_of("mean"), {rows}, {loss}, {1}, false},
        };
        parts.scalars = {loss};
        parts.rows = {y};
        return parts;
    }

    /// The same with the loss before the updates, and looked at there.
    Program::Parts guarded() {
        Program::Parts parts = this->parts();
        std::rotate(parts.step.end() - 3, parts.step.end() - 1, parts.step.end());
        parts.guard = static_cast<Index>(parts.step.size()) - 2;
        return parts;
    }

    RunRequest request(std::vector<double>& values, std::vector<float>& outputs) {
        const Index steps = ceil_div(kRows, kBatch);
        values.assign(static_cast<std::size_t>(steps), 0.0);
        outputs.assign(static_cast<std::size_t>(kRows * kOut), 0.0f);
        RunRequest r;
        r.sources.resize(2);
        r.sources[0].data = x.data();
        r.sources[1].data = t.data();
        for (TensorView& s : r.sources) {
            s.rank = 2;
            s.shape[0] = kRows;
        }
        r.sources[0].shape[1] = kIn;
        r.sources[1].shape[1] = kOut;
        r.order = order.data();
        r.count = kRows;
        r.batch_size = kBatch;
        r.scalars = scalars.data();
        r.scalars_per_step = 2;
        r.values = values.data();
        r.results = {outputs.data()};
        return r;
    }

    /// The same training in plain loops; returns the losses.
    std::vector<double> reference() {
        std::vector<double> losses;
        for (Index start = 0; start < kRows; start += kBatch) {
            const Index n = std::min(kBatch, kRows - start);
            double dw[kIn][kOut] = {}, db[kOut] = {}, loss = 0;
            for (Index r = 0; r < n; ++r) {
                const auto row =
                    static_cast<std::size_t>(order[static_cast<std::size_t>(start + r)]);
                for (std::size_t j = 0; j < kOut; ++j) {
                    double y = b[j];
                    for (std::size_t i = 0; i < kIn; ++i) y += x[row * kIn + i] * w[i * kOut + j];
                    const double e = y - t[row * kOut + j];
                    loss += e * e / static_cast<double>(kOut * n);
                    const double dy = 2 * e / kOut / kBatch;
                    for (std::size_t i = 0; i < kIn; ++i) dw[i][j] += x[row * kIn + i] * dy;
                    db[j] += dy;
                }
            }
            for (std::size_t j = 0; j < kOut; ++j) {
                for (std::size_t i = 0; i < kIn; ++i)
                    w[i * kOut + j] -= static_cast<float>(0.05 * dw[i][j]);
                b[j] -= static_cast<float>(0.05 * db[j]);
            }
            losses.push_back(loss);
        }
        return losses;
    }
};

TEST(Program, TrainsLikePlainLoops) {
    LinearModel model, expected;
    std::vector<double> values;
    std::vector<float> outputs;
    Program program(model.parts());
    const RunResult result = program.run(model.request(values, outputs));
    EXPECT_EQ(result.steps, 5);
    EXPECT_EQ(result.stop, Stop::done);
    const std::vector<double> losses = expected.reference();
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(values[i], losses[i], 1e-5);
    for (std::size_t i = 0; i < model.w.size(); ++i) EXPECT_NEAR(model.w[i], expected.w[i], 1e-5);
    for (std::size_t i = 0; i < model.b.size(); ++i) EXPECT_NEAR(model.b[i], expected.b[i], 1e-5);
}

TEST(Program, BitsDoNotDependOnThreads) {
    LinearModel alone;
    std::vector<double> values;
    std::vector<float> outputs;
    Program(alone.parts()).run(alone.request(values, outputs));
    for (const int threads : {2, 3, 4}) {
        LinearModel model;
        std::vector<double> team_values;
        std::vector<float> team_outputs;
        RunRequest request = model.request(team_values, team_outputs);
        request.threads = threads;
        Program(model.parts()).run(request);
        EXPECT_EQ(model.w, alone.w);
        EXPECT_EQ(team_values, values);
        EXPECT_EQ(team_outputs, outputs);
    }
}

TEST(Program, AProfileChangesNothingAndAddsUpToTheTime) {
    LinearModel plain;
    std::vector<double> values;
    std::vector<float> outputs;
    Program(plain.parts()).run(plain.request(values, outputs));
    for (const int threads : {1, 3}) {
        LinearModel model;
        std::vector<double> profiled_values;
        std::vector<float> profiled_outputs;
        RunRequest request = model.request(profiled_values, profiled_outputs);
        request.threads = threads;
        Program program(model.parts());
        const std::size_t entries = program.profile_entries();
        EXPECT_EQ(entries, model.parts().step.size() + 2);
        const auto team = static_cast<std::size_t>(threads);
        std::vector<double> profile(team * entries * 2 + 1, 0.0);
        profile.back() = -1.0;
        request.profile = profile.data();
        const auto start = std::chrono::steady_clock::now();
        program.run(request);
        const std::chrono::duration<double, std::nano> wall =
            std::chrono::steady_clock::now() - start;

        EXPECT_EQ(model.w, plain.w);
        EXPECT_EQ(profiled_values, values);
        EXPECT_EQ(profiled_outputs, outputs);
        EXPECT_EQ(profile.back(), -1.0);  // nothing written behind the end
        profile.pop_back();
        for (const double ns : profile) EXPECT_GE(ns, 0.0);
        for (std::size_t rank = 0; rank < team; ++rank) {
            const auto begin = profile.begin() + static_cast<std::ptrdiff_t>(rank * entries * 2);
            const double sum =
                std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(entries * 2), 0.0);
            EXPECT_GT(sum, 0.0);
            EXPECT_LE(sum, wall.count());
            // Only the instruction with a barrier has a wait of its own.
            for (std::ptrdiff_t i = 0; i + 2 < static_cast<std::ptrdiff_t>(entries); ++i)
                EXPECT_TRUE(i == 5 || begin[2 * i + 1] == 0.0) << i;
        }
    }
}

TEST(Program, ALossThatIsNotFiniteChangesNothing) {
    for (const int threads : {1, 2, 3}) {
        LinearModel model, good;
        model.t[static_cast<std::size_t>(model.order[7]) * kOut] = INFINITY;  // in the second batch
        std::vector<double> values, good_values;
        std::vector<float> outputs;
        RunRequest request = model.request(values, outputs);
        request.threads = threads;
        const RunResult result = Program(model.guarded()).run(request);
        EXPECT_EQ(result.stop, Stop::nonfinite);
        EXPECT_EQ(result.steps, 1);
        EXPECT_EQ(values[1], INFINITY);
        RunRequest one = good.request(good_values, outputs);
        one.count = kBatch;
        Program(good.parts()).run(one);
        EXPECT_EQ(model.w, good.w);
        EXPECT_EQ(model.b, good.b);
        EXPECT_EQ(values[0], good_values[0]);
    }
}

TEST(Program, GuardChangesNoBits) {
    LinearModel model, guarded;
    std::vector<double> values, guarded_values;
    std::vector<float> outputs;
    Program(model.parts()).run(model.request(values, outputs));
    const RunResult result =
        Program(guarded.guarded()).run(guarded.request(guarded_values, outputs));
    EXPECT_EQ(result.stop, Stop::done);
    EXPECT_EQ(guarded.w, model.w);
    EXPECT_EQ(guarded_values, values);
}

/// What a Program keeps from run to run must not show: other arrays, other numbers of rows.
TEST(Program, RunsAreIndependent) {
    std::vector<double> values;
    std::vector<float> outputs, expected;
    LinearModel model;
    Program program(model.parts());
    for (const Index count : {kRows, Index{2}, kBatch, Index{3}, kRows - 1, Index{3}}) {
        LinearModel fresh, other;
        for (std::size_t i = 0; i < other.x.size(); ++i)
            other.x[i] = fresh.x[i] =
                0.01f * static_cast<float>(i * static_cast<std::size_t>(count));
        RunRequest alone = fresh.request(values, expected);
        alone.count = count;
        Program(fresh.parts()).run(alone);
        RunRequest request = model.request(values, outputs);
        model.w = other.w;
        model.b = other.b;
        request.sources[0].data = other.x.data();
        request.count = count;
        program.run(request);
        EXPECT_EQ(outputs, expected);
        EXPECT_EQ(model.w, fresh.w);
    }
}

TEST(Program, StopsWhenInterrupted) {
    LinearModel model;
    model.order.assign(4000000, 1);
    model.scalars.assign(2 * 800000, 0.0);
    std::vector<double> values;
    std::vector<float> outputs;
    RunRequest request = model.request(values, outputs);
    request.count = 4000000;
    request.order = model.order.data();
    request.scalars = model.scalars.data();
    values.resize(800000);
    outputs.resize(4000000 * kOut);
    request.values = values.data();
    request.results = {outputs.data()};
    request.threads = 2;
    request.interrupted = [] { return true; };
    const RunResult result = Program(model.parts()).run(request);
    EXPECT_EQ(result.stop, Stop::interrupt);
    EXPECT_LT(result.steps, 800000);
}

TEST(Program, RefusesWhatDoesNotFit) {
    LinearModel model;
    std::vector<double> values;
    std::vector<float> outputs;
    Program::Parts outside = model.parts();
    outside.arena_bytes = 9 * 256;  // the last value lies behind the end
    EXPECT_THROW(Program{std::move(outside)}, Error);
    Program::Parts narrow = model.parts();
    narrow.step[2].out[0].shape[1] = kOut + 1;
    EXPECT_THROW(Program{std::move(narrow)}, Error);
    Program::Parts late = model.parts();
    late.guard = static_cast<Index>(late.step.size()) + 1;
    EXPECT_THROW(Program{std::move(late)}, Error);
    Program::Parts blind = model.parts();
    blind.guard = 0;
    blind.scalars.clear();
    EXPECT_THROW(Program{std::move(blind)}, Error);

    Program program(model.parts());
    RunRequest request = model.request(values, outputs);
    model.order[3] = kRows;
    EXPECT_THROW(program.run(request), Error);
    model.order[3] = 0;
    request.batch_size = kBatch + 1;
    EXPECT_THROW(program.run(request), Error);
    request.batch_size = kBatch;
    request.sources[0].shape[1] = kIn + 1;
    EXPECT_THROW(program.run(request), Error);
    request.sources[0].shape[1] = kIn;
    program.run(request);
    request.sources[0].dtype = DType::f64;  // others than those of the run before
    EXPECT_THROW(program.run(request), Error);
    request.sources.pop_back();
    EXPECT_THROW(program.run(request), Error);
}

}  // namespace
}  // namespace fastprop
