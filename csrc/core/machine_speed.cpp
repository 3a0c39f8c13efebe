#include "core/machine_speed.h"

#include <algorithm>
#include <chrono>

#include "core/aligned_buffer.h"
#include "core/cpu_info.h"
#include "core/packet.h"
#include "core/spread_team.h"

namespace fastprop {
namespace {

using Clock = std::chrono::steady_clock;

/// Best time in seconds of `repeats` runs of body(team) on a team that stays together.
template <class Body>
double best_time(int threads, int repeats, const Body& body) {
    double best = 1e30;
    run_spread_team(threads, [&](const Team& team) {
        for (int i = 0; i < repeats; ++i) {
            team.wait();
            const auto start = Clock::now();
            body(team);
            team.wait();
            const std::chrono::duration<double> took = Clock::now() - start;
            if (team.rank() == 0) best = std::min(best, took.count());
        }
    });
    return best;
}

// Enough independent chains to hide the latency of an FMA on two ports (4 cycles each: 8), and few
// enough to stay in the 16 registers of AVX2.
constexpr int kChains = 12;
constexpr Index kRounds = 40'000;

/// The sum of the chains: what is used cannot be left out.
template <class T>
T multiply_add_in_registers() {
    using S = Simd<T>;
    typename S::Packet chains[kChains];
    // x = 0.5 x + 1 converges: no denormals, no infinity.
    const auto half = S::set(T(0.5));
    const auto one = S::set(T(1));
    for (auto& chain : chains) chain = one;
    for (Index round = 0; round < kRounds; ++round)
        for (auto& chain : chains) chain = pk::pmadd(chain, half, one);
    for (int i = 1; i < kChains; ++i) chains[0] = pk::padd(chains[0], chains[i]);
    return pk::predux(chains[0]);
}

}  // namespace

template <class T>
double measure_peak(int threads) {
    double flops = 0;
    const double seconds = best_time(threads, 20, [&](const Team& team) {
        volatile T sink = multiply_add_in_registers<T>();
        (void)sink;
        if (team.rank() == 0)
            flops = 2.0 * Simd<T>::width * kChains * static_cast<double>(kRounds) * team.size();
    });
    return flops / seconds;
}

template double measure_peak<float>(int);
template double measure_peak<double>(int);

double measure_bandwidth(int threads, std::size_t bytes) {
    constexpr std::size_t kMiB = 1024 * 1024;
    constexpr double kBytesATime = 8e6;  // what is moved between two looks at the clock, at least
    const auto cache = static_cast<std::size_t>(cache_sizes().l3);
    const std::size_t most = std::min(std::max(4 * cache, 64 * kMiB), 256 * kMiB);
    const std::size_t used =
        std::min(std::max(bytes, static_cast<std::size_t>(threads) * 3072), most);
    const auto n = static_cast<Index>(used / (3 * sizeof(float)));
    const AlignedBuffer x(static_cast<std::size_t>(n) * sizeof(float));
    const AlignedBuffer z(static_cast<std::size_t>(n) * sizeof(float));
    const AlignedBuffer y(static_cast<std::size_t>(n) * sizeof(float));
    const double moved = 3.0 * static_cast<double>(n) * sizeof(float);
    const int rounds = std::max(1, static_cast<int>(kBytesATime / moved));
    const double seconds = best_time(threads, 4, [&](const Team& team) {
        const Range r = team.slice(n);
        const auto factor = Simd<float>::set(3.0f);
        for (int round = 0; round < rounds; ++round) {
            map_packets(x.as<float>() + r.begin, z.as<float>() + r.begin, y.as<float>() + r.begin,
                        r.size(),
                        [&](const auto& a, const auto& b) { return pk::pmadd(factor, b, a); });
            // A write that the compiler must respect: every round is done.
            if (!r.empty()) *const_cast<volatile float*>(x.as<float>() + r.begin) = 0.0f;
        }
    });
    return moved * rounds / seconds;
}

}  // namespace fastprop
