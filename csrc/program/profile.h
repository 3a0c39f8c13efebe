#pragma once
/// @file
/// @brief Where the time of a run goes: a stopwatch for each thread, and one that does nothing.

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

#if defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
#elif defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace fastprop {

/// The cheapest monotonic counter there is, in units of its own: a step of a small network reads it
/// every microsecond.
inline std::uint64_t ticks() {
#if defined(__x86_64__) || defined(_M_X64)
    return __rdtsc();
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    std::uint64_t count;
    asm volatile("mrs %0, cntvct_el0" : "=r"(count));
    return count;
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Measures nothing: the loop that is compiled with it is the plain loop.
struct NoStopwatch {
    void start() {}
    void worked(std::size_t) {}
    void waited(std::size_t) {}
    void stop() {}
};

/// Splits one thread's time from start() to stop() among the entries of a profile, each of which
/// has a time of work and a time of waiting. Every call ends a stretch and begins the next, so the
/// entries add up to the whole.
class Stopwatch {
public:
    /// Adds nanoseconds to `profile` [entries, 2]: work and wait of each.
    Stopwatch(double* profile, std::size_t entries)
        : profile_(profile), counts_(2 * entries + kApart) {}

    void start() {
        clock_start_ = Clock::now();
        start_ = last_ = ticks();
    }
    void worked(std::size_t entry) { add(2 * entry); }
    void waited(std::size_t entry) { add(2 * entry + 1); }
    void stop() {
        const std::chrono::duration<double, std::nano> nanoseconds = Clock::now() - clock_start_;
        const std::uint64_t whole = ticks() - start_;
        if (whole == 0) return;
        const double scale = nanoseconds.count() / static_cast<double>(whole);
        for (std::size_t i = 0; i + kApart < counts_.size(); ++i)
            profile_[i] += scale * static_cast<double>(static_cast<std::int64_t>(counts_[i]));
    }

private:
    using Clock = std::chrono::steady_clock;
    static constexpr std::size_t kApart = 16;  // keeps threads off each other's cache lines

    // Unsigned on purpose: should a thread move to a core whose counter lags, sums stay right.
    void add(std::size_t slot) {
        const std::uint64_t now = ticks();
        counts_[slot] += now - last_;
        last_ = now;
    }

    double* profile_;
    std::vector<std::uint64_t> counts_;
    std::uint64_t start_ = 0;
    std::uint64_t last_ = 0;
    Clock::time_point clock_start_;
};

}  // namespace fastprop
