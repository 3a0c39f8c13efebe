#include "machine.h"

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "core/aligned_buffer.h"
#include "core/packet.h"
#include "core/team.h"

namespace fastprop::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Best time of `repeats` runs of body(team) on a team that stays together.
template <class Body>
double best_time(int threads, int repeats, const Body& body) {
    double best = 1e30;
    run_team(threads, [&](const Team& team) {
        for (int i = 0; i < repeats; ++i) {
            team.wait();
            const auto start = Clock::now();
            body(team);
            team.wait();
            if (team.rank() == 0) best = std::min(best, seconds_since(start));
        }
    });
    return best;
}

// Enough independent chains to hide the latency of an FMA on two ports (4 cycles each: 8), and few
// enough to stay in the 16 registers of AVX2.
constexpr int kChains = 12;
constexpr Index kRounds = 40'000;

template <class T>
void multiply_add_in_registers() {
    using S = Simd<T>;
    typename S::Packet chains[kChains];
    // x = 0.5 x + 1 converges: no denormals, no infinity.
    const auto half = S::set(T(0.5));
    const auto one = S::set(T(1));
    for (auto& chain : chains) chain = one;
    for (Index round = 0; round < kRounds; ++round)
        for (auto& chain : chains) chain = pk::pmadd(chain, half, one);
    for (auto& chain : chains) benchmark::DoNotOptimize(chain);
}

}  // namespace

template <class T>
double measure_peak(int threads) {
    const double flops = 2.0 * Simd<T>::width * kChains * static_cast<double>(kRounds) * threads;
    return flops / best_time(threads, 20, [](const Team&) { multiply_add_in_registers<T>(); });
}

template double measure_peak<float>(int);
template double measure_peak<double>(int);

double measure_bandwidth(int threads) {
    constexpr Index n = Index{16} * 1024 * 1024;  // 64 MiB an array
    const AlignedBuffer x(n * sizeof(float)), z(n * sizeof(float)), y(n * sizeof(float));
    const double seconds = best_time(threads, 5, [&](const Team& team) {
        const Range r = team.slice(n);
        const auto scale = Simd<float>::set(3.0f);
        map_packets(x.as<float>() + r.begin, z.as<float>() + r.begin, y.as<float>() + r.begin,
                    r.size(), [&](const auto& a, const auto& b) { return pk::pmadd(scale, b, a); });
    });
    benchmark::DoNotOptimize(y.data());
    return 3.0 * static_cast<double>(n) * sizeof(float) / seconds;
}

const Machine& machine() {
    static const Machine measured = [] {
        Machine m;
        m.threads = available_threads();
        for (int i = 0; i < 2; ++i) {
            const int threads = i == 0 ? 1 : m.threads;
            m.peak_float[i] = measure_peak<float>(threads);
            m.peak_double[i] = measure_peak<double>(threads);
            m.bandwidth[i] = measure_bandwidth(threads);
        }
        return m;
    }();
    return measured;
}

std::string describe(const Machine& m) {
    const auto line = [](const char* what, const double* values, const char* unit) {
        char text[128];
        std::snprintf(text, sizeof(text), "%-22s %8.1f %8.1f %s\n", what, values[0] * 1e-9,
                      values[1] * 1e-9, unit);
        return std::string(text);
    };
    return "measured on this machine, 1 and " + std::to_string(m.threads) + " threads:\n" +
           line("FMA peak, float32", m.peak_float, "GFLOP/s") +
           line("FMA peak, float64", m.peak_double, "GFLOP/s") +
           line("memory bandwidth", m.bandwidth, "GB/s");
}

}  // namespace fastprop::bench
