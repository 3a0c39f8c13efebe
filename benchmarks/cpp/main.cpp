// Microbenchmarks of one instruction-set level. Every benchmark checks its result before it is
// timed.
//
//     fastprop_bench_v3 --benchmark_filter=gemm
//     fastprop_bench_v3 --benchmark_out=new.json
//     python -m benchmarks.cpp.compare old.json new.json

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

#include "core/cpu_info.h"
#include "core/level.h"
#include "machine.h"

namespace {

/// Did this run end in SkipWithError? Google Benchmark renamed the member in 1.8.
template <class Run>
auto failed(const Run& run, int) -> decltype(static_cast<bool>(run.error_occurred)) {
    return run.error_occurred;
}
template <class Run>
auto failed(const Run& run, long) -> decltype(static_cast<int>(run.skipped) != 0) {
    return static_cast<int>(run.skipped) != 0;
}

/// A table whose counters say their unit in their name: the library would print "GFLOP/s=12/s".
class TableReporter : public benchmark::ConsoleReporter {
public:
    TableReporter() : ConsoleReporter(OO_Tabular) {}

    void ReportRuns(const std::vector<Run>& runs) override {
        std::vector<Run> copies = runs;
        for (Run& run : copies) {
            any_failed_ = any_failed_ || failed(run, 0);
            for (auto& counter : run.counters) counter.second.flags = benchmark::Counter::kDefaults;
        }
        ConsoleReporter::ReportRuns(copies);
    }

    bool any_failed() const { return any_failed_; }

private:
    bool any_failed_ = false;
};

bool asks_for_format(int argc, char** argv) {
    for (int i = 1; i < argc; ++i)
        if (std::string(argv[i]).rfind("--benchmark_format", 0) == 0) return true;
    return false;
}

/// What is needed to compare two files of results: the machine, and what it can do at best.
void add_context(const fastprop::bench::Machine& m) {
    benchmark::AddCustomContext("fastprop_version", FASTPROP_VERSION);
    benchmark::AddCustomContext("fastprop_level", fastprop::level_name());
    benchmark::AddCustomContext("cpu", fastprop::cpu_name());
    benchmark::AddCustomContext("compiler", fastprop::compiler_name());
    for (int i = 0; i < 2; ++i) {
        const std::string suffix = "_threads_" + std::to_string(i == 0 ? 1 : m.threads);
        const auto add = [&](const char* what, double rate) {
            benchmark::AddCustomContext(what + suffix, std::to_string(rate * 1e-9));
        };
        if (i == 1 && m.threads == 1) break;
        add("fma_peak_float32_gflops", m.peak_float[i]);
        add("fma_peak_float64_gflops", m.peak_double[i]);
        add("bandwidth_gb_per_s", m.bandwidth[i]);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const bool own_format = asks_for_format(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
    // To stderr, so that --benchmark_format=json leaves clean JSON on stdout.
    std::fprintf(stderr, "fastprop %s, level %s, %s, %s\n%s", FASTPROP_VERSION,
                 fastprop::level_name(), fastprop::cpu_name().c_str(),
                 fastprop::compiler_name().c_str(),
                 fastprop::bench::describe(fastprop::bench::machine()).c_str());
    add_context(fastprop::bench::machine());
    TableReporter reporter;
    if (own_format) {
        benchmark::RunSpecifiedBenchmarks();
    } else {
        benchmark::RunSpecifiedBenchmarks(&reporter);
    }
    benchmark::Shutdown();
    return reporter.any_failed() ? 1 : 0;
}
