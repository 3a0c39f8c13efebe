// The executor: one linear layer trained by SGD as a hand-made list of instructions.

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <vector>

#include "linear_model.h"

namespace fastprop {
namespace {

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

TEST(Program, StripsTrainLikePlainLoopsWithTheSameBitsOnAnyNumberOfThreads) {
    LinearModel alone, expected;
    std::vector<double> values;
    std::vector<float> outputs;
    Program(alone.striped()).run(alone.request(values, outputs));
    const std::vector<double> losses = expected.reference();
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(values[i], losses[i], 1e-5);
    for (std::size_t i = 0; i < alone.w.size(); ++i) EXPECT_NEAR(alone.w[i], expected.w[i], 1e-5);
    for (const int threads : {2, 3, 4}) {
        LinearModel model;
        std::vector<double> team_values;
        std::vector<float> team_outputs;
        RunRequest request = model.request(team_values, team_outputs);
        request.threads = threads;
        Program(model.striped()).run(request);
        EXPECT_EQ(model.w, alone.w);
        EXPECT_EQ(model.b, alone.b);
        EXPECT_EQ(team_values, values);
        EXPECT_EQ(team_outputs, outputs);
    }
}

TEST(Program, MalformedStripsAreRefused) {
    LinearModel model;
    const auto refused = [&](const auto& change) {
        Program::Parts parts = model.striped();
        change(parts);
        EXPECT_THROW(Program{parts}, Error);
    };
    refused([](Program::Parts& p) { p.chunks = 0; });
    refused([](Program::Parts& p) { p.chunks = -1; });
    refused([](Program::Parts& p) { p.scratch_bytes = 3 * 64; });
    refused([](Program::Parts& p) { p.step[3].barrier = true; });
    refused([](Program::Parts& p) { p.step[3].strip = -1; });
    refused([](Program::Parts& p) { p.step[3].by_chunks = false; });
    refused([](Program::Parts& p) { p.step[7].in[0].place = Place::local; });
    refused([](Program::Parts& p) { p.rows[0].place = Place::local; });
    refused([](Program::Parts& p) { p.guard = 3; });
}

TEST(Program, OnlySomeOpsAreSlicedByColumns) {
    for (std::size_t i = 0; i < LinearModel().parts().step.size(); ++i) {
        LinearModel model;
        Program::Parts parts = model.parts();
        parts.step[i].by_columns = true;
        if (op_table()[static_cast<std::size_t>(parts.step[i].op)].by_columns)
            EXPECT_NO_THROW(Program{parts}) << i;
        else
            EXPECT_THROW(Program{parts}, Error) << i;
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

/// Epochs that end with short batches, run one by one or all at once.
TEST(Program, EpochsInOneRunAreThoseOneByOne) {
    constexpr Index kEpochs = 3;
    for (const Index rows : {kRows, 4 * kBatch, kBatch, Index{2}}) {
        const Index steps = ceil_div(rows, kBatch);
        LinearModel apart, together;
        std::vector<double> part, losses, values;
        std::vector<float> outputs, all_outputs, part_outputs;
        Program program(apart.parts());
        std::vector<std::int64_t> order;
        std::vector<double> scalars;
        for (Index epoch = 0; epoch < kEpochs; ++epoch) {
            for (Index i = 0; i < rows; ++i) order.push_back((i * 3 + epoch) % kRows);
            for (Index i = 0; i < steps; ++i) {
                scalars.push_back(0.01 * static_cast<double>(1 + epoch * steps + i));
                scalars.push_back(1.0);
            }
            RunRequest request = apart.request(part, part_outputs);
            request.order = order.data() + epoch * rows;
            request.count = rows;
            request.scalars = scalars.data() + 2 * epoch * steps;
            EXPECT_EQ(program.run(request).steps, steps);
            losses.insert(losses.end(), part.begin(), part.begin() + steps);
            outputs.insert(outputs.end(), part_outputs.begin(), part_outputs.begin() + rows * kOut);
        }
        RunRequest request = together.request(values, all_outputs);
        values.resize(static_cast<std::size_t>(kEpochs * steps));
        all_outputs.resize(static_cast<std::size_t>(kEpochs * rows * kOut));
        request.values = values.data();
        request.results = {all_outputs.data()};
        request.order = order.data();
        request.count = kEpochs * rows;
        request.epoch_rows = rows;
        request.scalars = scalars.data();
        EXPECT_EQ(request.steps(), kEpochs * steps);
        EXPECT_EQ(Program(together.parts()).run(request).steps, kEpochs * steps);
        EXPECT_EQ(together.w, apart.w);
        EXPECT_EQ(together.b, apart.b);
        EXPECT_EQ(values, losses);
        EXPECT_EQ(all_outputs, outputs);
    }
}

TEST(Program, RefusesToEndInTheMiddleOfABatchOfALaterEpoch) {
    LinearModel model;
    std::vector<double> values;
    std::vector<float> outputs;
    Program program(model.parts());
    RunRequest request = model.request(values, outputs);
    request.epoch_rows = 12;
    for (const Index count : {Index{18}, Index{23}}) {
        request.count = count;
        EXPECT_THROW(program.run(request), Error);
    }
    request.count = 22;  // 12 rows in 3 batches and 10 in 2
    EXPECT_EQ(program.run(request).steps, 5);
    request.epoch_rows = -1;
    EXPECT_THROW(program.run(request), Error);
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
