// Runs of many Programs at a time.

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <vector>

#include "linear_model.h"
#include "program/run_many.h"

namespace fastprop {
namespace {

/// A model of its own, and a run of its Program.
struct Training {
    LinearModel model;
    std::vector<double> values;
    std::vector<float> outputs;
    Program program;
    PendingRun run;

    explicit Training(float scale = 1.0f) : program(model.parts()) {
        for (float& w : model.w) w *= scale;
        run.program = &program;
        run.request = model.request(values, outputs);
    }
};

bool never() { return false; }

TEST(RunPool, EveryRunGivesWhatItGivesAlone) {
    constexpr int kCount = 40;
    for (const int threads : {1, 2, 5}) {
        std::deque<Training> trainings;
        RunPool pool(threads);
        for (int i = 0; i < kCount; ++i) {
            trainings.emplace_back(1.0f + 0.1f * static_cast<float>(i));
            pool.submit(trainings.back().run);
        }
        std::vector<const PendingRun*> ended;
        while (const PendingRun* run = pool.next(never)) ended.push_back(run);
        EXPECT_EQ(ended.size(), trainings.size());
        for (int i = 0; i < kCount; ++i) {
            const Training& training = trainings[static_cast<std::size_t>(i)];
            EXPECT_EQ(std::count(ended.begin(), ended.end(), &training.run), 1);
            Training alone(1.0f + 0.1f * static_cast<float>(i));
            alone.program.run(alone.run.request);
            EXPECT_EQ(training.model.w, alone.model.w);
            EXPECT_EQ(training.values, alone.values);
            EXPECT_EQ(training.run.result.steps, 5);
            EXPECT_EQ(training.run.result.stop, Stop::done);
            EXPECT_GT(training.run.seconds, 0.0);
        }
    }
}

TEST(RunPool, TakesRunsWhileOthersAreGoingOn) {
    for (const int threads : {1, 3}) {
        RunPool pool(threads);
        EXPECT_EQ(pool.next(never), nullptr);
        Training a, b, alone;
        pool.submit(a.run);
        pool.submit(b.run);
        int more = 20;
        while (PendingRun* run = pool.next(never))
            if (more-- > 0) pool.submit(*run);
        alone.program.run(alone.run.request);
        EXPECT_EQ(more, -2);
        int runs = 0;  // of the two trainings together
        for (Training* training : {&a, &b}) {
            LinearModel expected;
            std::vector<double> values;
            std::vector<float> outputs;
            Program program(expected.parts());
            for (int i = 0; i < 22 && expected.w != training->model.w; ++i, ++runs)
                program.run(expected.request(values, outputs));
            EXPECT_EQ(expected.w, training->model.w);
        }
        EXPECT_EQ(runs, 22);
    }
}

TEST(RunPool, ARunThatDoesNotFitHarmsNoOther) {
    for (const int threads : {1, 2}) {
        Training good, bad, alone;
        bad.model.order[3] = kRows;
        RunPool pool(threads);
        pool.submit(bad.run);
        pool.submit(good.run);
        while (pool.next(never) != nullptr) {
        }
        EXPECT_TRUE(bad.run.error != nullptr);
        EXPECT_THROW(std::rethrow_exception(bad.run.error), Error);
        EXPECT_TRUE(good.run.error == nullptr);
        alone.program.run(alone.run.request);
        EXPECT_EQ(good.model.w, alone.model.w);
    }
}

/// A run that takes a second if nobody stops it.
struct LongTraining : Training {
    static constexpr Index kSteps = 2000000;

    LongTraining() {
        model.order.assign(static_cast<std::size_t>(kSteps), 1);
        values.resize(static_cast<std::size_t>(kSteps));
        Program::Parts parts = model.parts();
        parts.rows.clear();
        parts.step.erase(parts.step.begin() + 7, parts.step.begin() + 9);  // no update either
        without_update = std::make_unique<Program>(std::move(parts));
        run.program = without_update.get();
        run.request.order = model.order.data();
        run.request.count = kSteps;
        run.request.batch_size = 1;
        run.request.scalars = nullptr;
        run.request.scalars_per_step = 0;
        run.request.values = values.data();
        run.request.results.clear();
    }

    std::unique_ptr<Program> without_update;
};

TEST(RunPool, AnInterruptStopsAllRuns) {
    for (const int threads : {1, 2}) {
        LongTraining a, b, c;
        RunPool pool(threads);
        for (LongTraining* training : {&a, &b, &c}) pool.submit(training->run);
        const auto interrupted = [] { return true; };
        int ended = 0;
        while (pool.next(interrupted) != nullptr) ++ended;
        EXPECT_EQ(ended, 3);
        for (const LongTraining* training : {&a, &b, &c}) {
            EXPECT_EQ(training->run.result.stop, Stop::interrupt);
            EXPECT_LT(training->run.result.steps, LongTraining::kSteps);
        }
        EXPECT_EQ(c.run.result.steps, 0);  // nobody had come to it
        Training late;
        pool.submit(late.run);
        EXPECT_EQ(pool.next(never), &late.run);
        EXPECT_EQ(late.run.result.stop, Stop::interrupt);
        EXPECT_EQ(late.run.result.steps, 0);
    }
}

TEST(RunPool, ItsEndWaitsForTheRunsThatAreGoingOn) {
    LongTraining a, b;
    {
        RunPool pool(2);
        pool.submit(a.run);
        pool.submit(b.run);
        std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
    const double first = a.values[0];
    const std::vector<double> before(a.values.begin(), a.values.begin() + 1000);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    EXPECT_EQ(a.values[0], first);
    EXPECT_TRUE(std::equal(before.begin(), before.end(), a.values.begin()));
    EXPECT_LT(a.run.result.steps, LongTraining::kSteps);
}

TEST(RunPool, RefusesNoThreads) {
    EXPECT_THROW(RunPool(0), Error);
    EXPECT_THROW(RunPool(-1), Error);
}

}  // namespace
}  // namespace fastprop
