#include "program/run_many.h"

#include <chrono>
#include <system_error>

namespace fastprop {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kInterruptInterval = std::chrono::milliseconds(20);

}  // namespace

RunPool::RunPool(int threads) {
    require(threads > 0, "RunPool: threads must be positive, got ", threads);
    if (threads == 1) return;
    workers_.reserve(static_cast<std::size_t>(threads));
    try {
        for (int i = 0; i < threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (const std::system_error&) {
        // No more threads to be had: those that started do the work, or else the caller.
    }
}

RunPool::~RunPool() {
    stop();
    {
        const std::lock_guard lock(mutex_);
        closed_ = true;
    }
    waiting_or_closed_.notify_all();
    for (std::thread& worker : workers_) worker.join();
}

void RunPool::submit(PendingRun& run) {
    {
        const std::lock_guard lock(mutex_);
        queue_.push_back(&run);
        ++unfinished_;
    }
    waiting_or_closed_.notify_one();
}

PendingRun* RunPool::next(const std::function<bool()>& interrupted) {
    std::unique_lock lock(mutex_);
    if (unfinished_ == 0) return nullptr;
    --unfinished_;
    PendingRun* run = nullptr;
    if (workers_.empty()) {
        run = queue_.front();
        queue_.pop_front();
        lock.unlock();
        perform(*run, interrupted);
        return run;
    }
    while (!ended_.wait_for(lock, kInterruptInterval, [this] { return !done_.empty(); })) {
        lock.unlock();  // who is asked may wait for somebody who waits for this thread
        if (interrupted()) stop();
        lock.lock();
    }
    run = done_.front();
    done_.pop_front();
    return run;
}

void RunPool::work() {
    std::unique_lock lock(mutex_);
    for (;;) {
        waiting_or_closed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
        if (closed_) return;
        PendingRun* run = queue_.front();
        queue_.pop_front();
        lock.unlock();
        perform(*run, [] { return false; });
        lock.lock();
        done_.push_back(run);
        ended_.notify_one();
    }
}

void RunPool::perform(PendingRun& run, const std::function<bool()>& interrupted) {
    if (stopped_.load()) {
        run.result = {};
        run.result.stop = Stop::interrupt;
        return;
    }
    run.request.threads = 1;
    run.request.interrupted = [&] {
        if (interrupted()) stop();
        return stopped_.load();
    };
    const auto started = Clock::now();
    try {
        run.result = run.program->run(run.request);
    } catch (...) {
        run.error = std::current_exception();
    }
    run.seconds = std::chrono::duration<double>(Clock::now() - started).count();
}

}  // namespace fastprop
