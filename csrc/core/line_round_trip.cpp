#include "core/line_round_trip.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

#include "core/spread_team.h"

namespace fastprop {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

// The fastest of several batches counts: other processes' time slices stretch the rest.
constexpr long kTripsABatch = 100;
constexpr int kBatches = 20;
constexpr double kLongest = 10e-3;
constexpr long kStop = -1;
// Beyond any trip between two cores: the other thread has no core now, so this one is given away.
constexpr int kPollsBeforeYield = 4000;

/// Two lines, one for each direction. 128 bytes apart: some machines fetch lines in pairs.
struct Lines {
    alignas(128) std::atomic<long> there{0};
    alignas(128) std::atomic<long> back{0};
};

/// Polls until the line holds something else than `old`. `gives_up` is asked now and then.
template <class GivesUp>
long next_value(const std::atomic<long>& line, long old, const GivesUp& gives_up) {
    // No pause instruction between two polls: it takes longer than the trip on some cores.
    for (int polls = 0;; ++polls) {
        const long value = line.load(std::memory_order_acquire);
        if (value != old) return value;
        if (polls < kPollsBeforeYield) continue;
        if (gives_up()) return old;
        std::this_thread::yield();
        polls = 0;
    }
}

void answer(Lines& lines) {
    long last = 0;
    while (last != kStop) {
        last = next_value(lines.there, last, [] { return false; });
        lines.back.store(last, std::memory_order_release);
    }
}

/// The least seconds of a trip over all batches. Ends with the other thread told to stop.
double ask(Lines& lines) {
    const auto start = Clock::now();
    const auto late = [&] { return Seconds(Clock::now() - start).count() > kLongest; };
    double best = kLongest;
    long trip = 0;
    bool lost = false;
    for (int batch = 0; batch < kBatches && !lost && !late(); ++batch) {
        const auto batch_start = Clock::now();
        for (long i = 0; i < kTripsABatch && !lost; ++i) {
            lines.there.store(++trip, std::memory_order_release);
            lost = next_value(lines.back, trip - 1, late) != trip;
        }
        if (!lost)
            best = std::min(best, Seconds(Clock::now() - batch_start).count() / kTripsABatch);
    }
    lines.there.store(kStop, std::memory_order_release);
    return best;
}

}  // namespace

std::vector<double> line_round_trips(int threads) {
    // One more pair than needed: a team may be smaller than asked for, never larger.
    std::vector<Lines> lines(static_cast<std::size_t>(std::max(threads, 1)));
    std::vector<double> seconds(lines.size());
    int size = 1;
    run_spread_team(threads, [&](const Team& team) {
        if (team.rank() == 0) size = team.size();
        for (int other = 1; other < team.size(); ++other) {
            team.wait();
            const auto pair = static_cast<std::size_t>(other);
            if (team.rank() == 0) seconds[pair] = ask(lines[pair]);
            if (team.rank() == other) answer(lines[pair]);
        }
    });
    return {seconds.begin() + 1, seconds.begin() + size};
}

}  // namespace fastprop
