// fastprop_ulp [--function NAME] [--stride N] [--threads N]: the largest error of each function
// over all 2^32 floats (or every N-th of them), as rows of a Markdown table. Fails where a function
// does not keep what accuracy_functions.cpp promises. All floats of one function take a minute or
// so.

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "accuracy.h"

namespace {

using namespace fastprop::test;

constexpr std::uint64_t kPatterns = std::uint64_t{1} << 32;

Accuracy sweep_in_threads(const Function& f, std::uint64_t stride, std::uint64_t threads) {
    std::vector<Accuracy> found(threads);
    std::vector<std::thread> workers;
    const std::uint64_t share = kPatterns / threads / stride * stride;
    for (std::uint64_t t = 0; t < threads; ++t) {
        const std::uint64_t end = t + 1 == threads ? kPatterns : (t + 1) * share;
        workers.emplace_back([&f, &found, t, end, share, stride] {
            found[t] = sweep_patterns(f, t * share, end, stride, true);
        });
    }
    for (std::thread& worker : workers) worker.join();
    Accuracy total;
    for (const Accuracy& part : found) total.merge(part);
    return total;
}

bool report(const Function& f, std::uint64_t stride, std::uint64_t threads) {
    Accuracy f32 = sweep_in_threads(f, stride, threads);
    f32.merge(sweep_special<float>(f));
    Accuracy f64 = sweep_random<double>(f, 1000000);
    f64.merge(sweep_special<double>(f));
    std::printf("| %-12s | %6.3f | % .9g | %6.3f | % .17g |\n", f.name.c_str(), f32.ulp, f32.at,
                f64.ulp, f64.at);
    if (f32.wrong + f64.wrong > 0)
        std::printf("%s: wrong at %lld floats, first %.9g; at %lld doubles, first %.17g\n",
                    f.name.c_str(), f32.wrong, f32.wrong_at, f64.wrong, f64.wrong_at);
    std::fflush(stdout);
    return f32.ulp <= f.ulp32 && f64.ulp <= f.ulp64 && f32.wrong + f64.wrong == 0;
}

}  // namespace

int main(int argc, char** argv) {
    std::string only;
    std::uint64_t stride = 1, threads = 2;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::strcmp(argv[i], "--function") == 0) only = argv[i + 1];
        if (std::strcmp(argv[i], "--stride") == 0) stride = std::strtoull(argv[i + 1], nullptr, 10);
        if (std::strcmp(argv[i], "--threads") == 0)
            threads = std::strtoull(argv[i + 1], nullptr, 10);
    }
    if (argc % 2 == 0 || stride == 0 || threads == 0) {
        std::fprintf(stderr, "usage: %s [--function NAME] [--stride N] [--threads N]\n", argv[0]);
        return 2;
    }
    std::printf("| function | ulp, float32 | at | ulp, float64 | at |\n|---|---|---|---|---|\n");
    bool kept = true, any = false;
    for (const Function& f : functions()) {
        if (!only.empty() && f.name != only) continue;
        any = true;
        kept = report(f, stride, threads) && kept;
    }
    return any && kept ? 0 : 1;
}
