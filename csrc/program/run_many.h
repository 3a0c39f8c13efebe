#pragma once
/// @file
/// @brief Runs of many Programs at a time, each on one thread.

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "program/program.h"

namespace fastprop {

/// A run that somebody else does: what it is, and how it went.
struct PendingRun {
    Program* program = nullptr;
    RunRequest request;
    RunResult result;
    double seconds = 0;        ///< that it took
    std::exception_ptr error;  ///< thrown by Program::run, which did nothing then
};

/// Does the runs that are submitted to it, the first first, on as many threads as it was made with;
/// whoever is free takes the next. A team of one thread is the caller itself, inside next(): then
/// nothing happens while the caller does something else.
class RunPool {
public:
    explicit RunPool(int threads);
    RunPool(const RunPool&) = delete;
    RunPool& operator=(const RunPool&) = delete;
    /// Stops the runs that are left and waits for them.
    ~RunPool();

    /// The run belongs to the caller, who keeps it until next() has given it back.
    void submit(PendingRun& run);

    /// A run that has ended; waits for one. nullptr if all have been given back. Asks `interrupted`
    /// on this thread about every 20 ms, and stops if the answer is yes.
    PendingRun* next(const std::function<bool()>& interrupted);

    /// Ends every run after its present step, as interrupted; those that are submitted later do no
    /// step at all.
    void stop() { stopped_.store(true); }

private:
    void work();
    void perform(PendingRun& run, const std::function<bool()>& interrupted);

    std::atomic<bool> stopped_{false};
    std::mutex mutex_;
    std::condition_variable waiting_or_closed_, ended_;  // what their waiters wait for
    std::deque<PendingRun*> queue_, done_;
    int unfinished_ = 0;  // submitted and not given back
    bool closed_ = false;
    std::vector<std::thread> workers_;
};

}  // namespace fastprop
