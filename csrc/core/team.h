#pragma once
/// @file
/// @brief A team of threads that stays together for a whole run of many steps.
///
/// One OpenMP parallel region covers a run; inside it every instruction does its own slice and
/// meets the others only at barriers that the planner placed. This is the only header backed by
/// <omp.h>.

#include <atomic>
#include <functional>

#include "core/types.h"

namespace fastprop {

/// A sense-counting barrier. It spins, since steps are microseconds long, and yields once a wait
/// gets long, so that more threads than cores still make progress.
class Barrier {
public:
    explicit Barrier(int size) : size_(size) {}
    void wait();

private:
    const int size_;
    alignas(64) std::atomic<int> waiting_{0};
    alignas(64) std::atomic<unsigned> generation_{0};
};

/// Lets the others go on with a step once rank 0 has said so; nobody waits for anybody else.
class Gate {
public:
    /// Steps are opened in order, by one thread.
    void open(Index step) { opened_.store(step, std::memory_order_release); }
    void wait(Index step) const;

private:
    alignas(64) std::atomic<Index> opened_{-1};
};

/// Who does a share of an instruction: a thread of a team, or a thread that goes over its rows in
/// chunks, one or all of its chunks at a time.
class Team {
public:
    /// Thread `rank` of `size`.
    Team(int rank, int size, Barrier* barrier)
        : rank_(rank), size_(size), begin_(rank), end_(rank + 1), parts_(size), barrier_(barrier) {}

    /// Chunks [begin, end) of `chunks`, which need nobody else.
    static Team of_chunks(Range own, Index chunks) { return Team(own, chunks); }

    int rank() const { return rank_; }
    int size() const { return size_; }

    /// This thread's share of `chunks`.
    Range share(Index chunks) const {
        return {ceil_div(chunks * rank_, size_), ceil_div(chunks * (rank_ + 1), size_)};
    }

    void wait() const {
        if (size_ > 1) barrier_->wait();
    }

    /// This share of `extent`, in units of 4 where there are enough of them: whole groups of rows
    /// keep register tiles full. Depends on nothing but extent and share, so two instructions over
    /// the same extent own the same indices and need no barrier between them.
    Range slice(Index extent) const {
        if (parts_ == 1) return {0, end_ > begin_ ? extent : 0};
        const Index unit = extent >= 16 * parts_ ? 4 : 1;
        const Index units = ceil_div(extent, unit);
        // Rounded up, so that a single element is rank 0's: it records scalars without a barrier.
        const Index begin = ceil_div(units * begin_, parts_) * unit;
        const Index end = ceil_div(units * end_, parts_) * unit;
        return {begin < extent ? begin : extent, end < extent ? end : extent};
    }

    /// The same share, for an instruction that is sliced by columns.
    Team by_columns() const {
        Team team = *this;
        team.by_columns_ = true;
        return team;
    }
    bool is_by_columns() const { return by_columns_; }

    /// This share of `extent` columns, in units of `unit`; the last share has what is left over.
    Range columns(Index extent, Index unit) const {
        const Index units = extent / unit;
        const Index end = end_ == parts_ ? extent : units * end_ / parts_ * unit;
        return {units * begin_ / parts_ * unit, end};
    }

private:
    Team(Range own, Index chunks)
        : rank_(0), size_(1), begin_(own.begin), end_(own.end), parts_(chunks), barrier_(nullptr) {}

    int rank_;
    int size_;
    Index begin_, end_, parts_;
    bool by_columns_ = false;
    Barrier* barrier_;
};

/// Calls `body(team)` on `threads` threads; the caller is rank 0. `body` must not throw.
/// In a process forked after the threads were first used the team has one member (the other threads
/// do not exist there); results do not depend on it.
void run_team(int threads, const std::function<void(const Team&)>& body);

/// Threads this process may use: FASTPROP_NUM_THREADS, OMP_NUM_THREADS, CPU affinity and the
/// cgroup's quota, the smallest of those that are set.
int available_threads();

}  // namespace fastprop
