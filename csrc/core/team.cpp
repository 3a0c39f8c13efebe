#include "core/team.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <system_error>
#include <thread>
#include <vector>

#if defined(_OPENMP)
#include <omp.h>
#endif
#if defined(__linux__)
#include <pthread.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif

#include "core/granted_cpus.h"

namespace fastprop {
namespace {

// Beyond this many polls (about 20 µs) the wait is not a short one: give the core away.
constexpr int kSpinsBeforeYield = 1000;

void pause_briefly() {
#if defined(__x86_64__) || defined(_M_X64)
    _mm_pause();
#elif defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
    asm volatile("yield");
#endif
}

/// Between two polls; `spins` counts them, from 0, as far as it matters.
void relax(int& spins) {
    if (spins < kSpinsBeforeYield) {
        ++spins;
        pause_briefly();
    } else {
        std::this_thread::yield();
    }
}

std::atomic<bool> g_pool_used{false};
std::atomic<bool> g_forked_with_pool{false};

void watch_forks() {
#if defined(__linux__)
    static const int registered = pthread_atfork(nullptr, nullptr, [] {
        if (g_pool_used.load()) g_forked_with_pool.store(true);
    });
    (void)registered;
#endif
}

int positive_int_from_env(const char* name) {
    const char* text = std::getenv(name);
    if (text == nullptr) return 0;
    const long value = std::strtol(text, nullptr, 10);
    return value > 0 && value < 4096 ? static_cast<int>(value) : 0;
}

#if defined(_OPENMP)

void run_threads(int threads, const std::function<void(const Team&)>& body) {
    g_pool_used.store(true);
    // OpenMP may grant fewer threads than asked for, so rank 0 sizes the barrier inside. It lives
    // outside, because the others may still be looking at it when rank 0 has left its last wait.
    std::optional<Barrier> barrier;
    std::atomic<bool> ready{false};
#pragma omp parallel num_threads(threads)
    {
        const int size = omp_get_num_threads();
        const int rank = omp_get_thread_num();
        if (rank == 0) {
            barrier.emplace(size);
            ready.store(true, std::memory_order_release);
        } else {
            for (int spins = 0; !ready.load(std::memory_order_acquire);) relax(spins);
        }
        body(Team(rank, size, &*barrier));
    }
}

#else

// Where there is no OpenMP (and under ThreadSanitizer, which does not understand libgomp) threads
// are started per run. A run is many steps, so that costs little.
void run_threads(int threads, const std::function<void(const Team&)>& body) {
    std::vector<std::thread> others;
    others.reserve(static_cast<std::size_t>(threads));
    std::optional<Barrier> barrier;
    std::atomic<int> size{0};
    try {
        for (int rank = 1; rank < threads; ++rank)
            others.emplace_back([&, rank] {
                for (int spins = 0; size.load(std::memory_order_acquire) == 0;) relax(spins);
                body(Team(rank, size.load(std::memory_order_relaxed), &*barrier));
            });
    } catch (const std::system_error&) {
        // No more threads to be had: those that started are the team.
    }
    const int started = static_cast<int>(others.size()) + 1;
    barrier.emplace(started);
    size.store(started, std::memory_order_release);
    body(Team(0, started, &*barrier));
    for (std::thread& thread : others) thread.join();
}

#endif

}  // namespace

void Barrier::wait() {
    const unsigned generation = generation_.load(std::memory_order_relaxed);
    if (waiting_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
        waiting_.store(0, std::memory_order_relaxed);
        generation_.store(generation + 1, std::memory_order_release);
        return;
    }
    for (int spins = 0; generation_.load(std::memory_order_acquire) == generation;) relax(spins);
}

void Gate::wait(Index step) const {
    for (int spins = 0; opened_.load(std::memory_order_acquire) < step;) relax(spins);
}

void run_team(int threads, const std::function<void(const Team&)>& body) {
    watch_forks();
    if (threads > 1 && !g_forked_with_pool.load()) {
        run_threads(threads, body);
        return;
    }
    body(Team(0, 1, nullptr));
}

int available_threads() {
    const int fixed = positive_int_from_env("FASTPROP_NUM_THREADS");
    if (fixed > 0) return fixed;
    const int cpus = granted_cpus();
    const int limit = positive_int_from_env("OMP_NUM_THREADS");
    return limit > 0 ? std::min(cpus, limit) : cpus;
}

}  // namespace fastprop
