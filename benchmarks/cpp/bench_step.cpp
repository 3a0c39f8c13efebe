// Whole Adam steps of dense ReLU networks, as many as fit into one run.
//
// GFLOP/s counts the products alone; "stream%" the bytes that the update must move.

#include "machine.h"
#include "mlp.h"

namespace fastprop::bench {
namespace {

constexpr Index kStepsPerRun = 20;

void step(benchmark::State& state, const std::vector<Index>& widths, Index batch, int threads) {
    Mlp mlp(widths, batch);
    Program program = mlp.program();
    const double want = mlp.reference_loss();
    const double got = mlp.run(program, 1, threads);
    const double later = mlp.run(program, kStepsPerRun, threads);
    if (!verify(state, &got, &want, 1, 1e-4)) return;
    if (!(later < got)) {
        state.SkipWithError("the loss does not fall");
        return;
    }
    for (auto _ : state) mlp.run(program, kStepsPerRun, threads);
    report<float>(state, mlp.flops() * kStepsPerRun, mlp.update_bytes() * kStepsPerRun, threads);
    state.counters["us/step"] =
        benchmark::Counter(static_cast<double>(state.iterations() * kStepsPerRun) * 1e-6,
                           benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void register_all() {
    const std::vector<Index> deep = [] {
        std::vector<Index> widths(17, 128);
        widths.push_back(10);
        return widths;
    }();
    struct Work {
        const char* name;
        std::vector<Index> widths;
        Index batch;
    };
    const std::vector<Work> works = {{"tiny", {4, 64, 64, 1}, 32},
                                     {"tabular", {100, 256, 128, 10}, 256},
                                     {"mnist", {784, 512, 512, 10}, 128},
                                     {"deep", deep, 128},
                                     {"wide", {1024, 2048, 2048, 1000}, 1024}};
    for (const Work& work : works)
        for (const int threads : {1, 2}) {
            const std::string name =
                std::string("step/") + work.name + "/threads:" + std::to_string(threads);
            benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
                step(state, work.widths, work.batch, threads);
            })->UseRealTime();
        }
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace fastprop::bench
