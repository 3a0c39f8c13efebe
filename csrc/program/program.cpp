#include "program/program.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/denormals.h"
#include "program/host_call.h"
#include "program/profile.h"
#include "program/strips.h"

namespace fastprop {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kInterruptInterval = std::chrono::milliseconds(20);
constexpr Index kNever = std::numeric_limits<Index>::max();

thread_local int runs_of_this_thread = 0;

double scalar_value(const TensorView& view) {
    return view.dtype == DType::f32 ? static_cast<double>(*view.as<float>()) : *view.as<double>();
}

}  // namespace

/// What the threads of one run share.
struct Program::Session {
    const RunRequest& request;
    Index steps;
    Clock::time_point next_poll;
    Stop stop = Stop::done;
    // The step after which everybody leaves. Compared with one's own step, not read as a flag: a
    // thread that is late at a barrier must not act on what rank 0 decided one step later.
    std::atomic<Index> stop_after{kNever};
    Gate guard{};
    double copy_seconds = -1;
    std::atomic<Index> bad_step{kNever};  ///< its loss is not finite: nobody goes past the guard
};

/// The only run of a Program, which has one arena.
class Program::Turn {
public:
    Turn(Program& program, bool waits) : program_(program) {
        std::unique_lock<std::mutex> lock(program_.turns_);
        // Who waits inside of a run (a function of the host may run others) could wait for itself.
        if (program_.running_ && runs_of_this_thread > 0)
            throw Error(
                "Program.run: this Program is running already, and a call from inside of a run "
                "cannot wait for it");
        if (program_.running_ && !waits)
            throw Error(
                "Program.run: another thread is training with this Program, and the steps of an "
                "optimizer follow each other; hold one threading.Lock around each step, or give "
                "every thread a model and an optimizer of its own");
        program_.ended_.wait(lock, [&] { return !program_.running_; });
        program_.running_ = true;
        ++runs_of_this_thread;
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
        --runs_of_this_thread;
        {
            const std::lock_guard<std::mutex> lock(program_.turns_);
            program_.running_ = false;
        }
        program_.ended_.notify_one();
    }

private:
    Program& program_;
};

RunResult Program::run(const RunRequest& request) {
    const Turn turn(*this, request.waits);
    check_request(request);

    const Index steps = request.steps();
    if (steps == 0) return {};
    const Index short_rows = request.rows_of_epoch() % request.batch_size;
    prepare(prologue_, parts_.prologue, request, request.batch_size, nullptr);
    take_seats(request.threads);
    for (std::size_t i = 0; i < seats_of(request.threads); ++i) {
        Seat& seat = seats_[i];
        char* scratch = seat.scratch.as<char>();
        if (request.rows_of_epoch() >= request.batch_size)
            prepare(seat.full, parts_.step, request, request.batch_size, scratch);
        if (short_rows > 0) prepare(seat.last, parts_.step, request, short_rows, scratch);
    }
    Session session{request, steps, Clock::now() + kInterruptInterval};
    if (request.profile != nullptr) {
        // Allocated here, because nothing may throw inside a team.
        std::vector<Stopwatch> watches;
        const std::size_t entries = profile_entries();
        for (int rank = 0; rank < request.threads; ++rank)
            watches.emplace_back(request.profile + static_cast<std::size_t>(rank) * 2 * entries,
                                 entries);
        run_team(request.threads, [&](const Team& team) {
            loop(team, session, std::move(watches[static_cast<std::size_t>(team.rank())]));
        });
    } else {
        run_team(request.threads, [&](const Team& team) { loop(team, session, NoStopwatch()); });
    }

    RunResult result{steps, session.stop, session.copy_seconds, take_host_error()};
    const Index stop_after = session.stop_after.load();
    if (stop_after != kNever) result.steps = stop_after + 1;
    if (session.stop == Stop::nonfinite) result.steps = session.bad_step.load();
    if (result.error != nullptr) result.stop = Stop::interrupt;
    ++runs_;
    latest_steps_ = result.steps;
    return result;
}

template <class Watch>
void Program::loop(const Team& team, Session& session, Watch watch) {
    const FlushDenormals flush;
    const RunRequest& request = session.request;
    StepContext context;
    context.seed = request.seed;
    context.num_scalars = request.scalars_per_step;

    Seat& seat = seats_[parts_.scratch_bytes > 0 ? static_cast<std::size_t>(team.rank()) : 0];
    const Index chunks = parts_.chunks;
    const Range own = team.share(chunks);
    const Team my_chunks = Team::of_chunks(own, std::max<Index>(chunks, 1));
    const Team my_columns = team.by_columns();

    const auto execute = [&](const Bound& bound, std::size_t entry, const Team& who) {
        if (bound.when >= 0 && context.scalars[bound.when] == 0.0) return;
        Call call = bound.call;
        call.step = &context;
        bound.kernel(call, who);
        watch.worked(entry);
    };
    const auto execute_strip = [&](BoundList& list, std::size_t first, std::size_t last) {
        for (Index c = own.begin; c < own.end; ++c) {
            const Team chunk = Team::of_chunks({c, c + 1}, chunks);
            const Range rows = chunk.slice(context.rows);
            list.place_locals(first, last, seat.scratch.as<char>(), rows.begin);
            for (std::size_t i = first; i < last; ++i) {
                // Without rows only sums have something to say: nothing.
                if (!rows.empty() || list.calls[i].sums_up) execute(list.calls[i], i, chunk);
            }
        }
    };
    const auto execute_all = [&](BoundList& list, std::size_t first, std::size_t last) {
        for (std::size_t i = first, strip_end; i < last; i = std::max(strip_end, i + 1)) {
            const Bound& bound = list.calls[i];
            if (bound.barrier) {
                team.wait();
                watch.waited(i);
            }
            strip_end = strip_ends_[i];
            if (strip_end > i) {
                execute_strip(list, i, strip_end);
            } else {
                execute(bound, i,
                        bound.by_chunks    ? my_chunks
                        : bound.by_columns ? my_columns
                                           : team);
            }
        }
    };
    const std::size_t end = parts_.step.size();
    const std::size_t prologue = end + 1;
    const bool guarded = parts_.guard >= 0;
    const std::size_t guard = guarded ? static_cast<std::size_t>(parts_.guard) : end;
    watch.start();
    for (const Bound& bound : prologue_.calls) {
        if (bound.barrier) {
            team.wait();
            watch.waited(prologue);
        }
        execute(bound, prologue, team);
    }
    team.wait();
    watch.waited(prologue);
    Index first = 0;
    Index epoch_end = request.rows_of_epoch();
    for (Index step = 0; step < session.steps; ++step, first += context.rows) {
        if (first == epoch_end) epoch_end = std::min(first + request.epoch_rows, request.count);
        context.rows = std::min(request.batch_size, epoch_end - first);
        context.step = request.first_step + step;
        context.order = request.order + first;
        if (request.scalars != nullptr)
            context.scalars = request.scalars + step * request.scalars_per_step;
        BoundList& list = context.rows == request.batch_size ? seat.full : seat.last;
        execute_all(list, 0, guard);
        if (guarded) {
            const bool passes = passes_guard(team, session, step);
            watch.waited(guard);
            if (!passes) break;
        }
        execute_all(list, guard, end);
        store_rows(chunks > 0 ? my_chunks : team, session, first, context.rows);
        if (team.rank() == 0 && !record(session, step)) session.stop_after.store(step);
        watch.worked(end);
        team.wait();
        watch.waited(end);
        if (session.stop_after.load() <= step) break;
    }
    watch.stop();
}

/// Rank 0 looks at the loss, which it computed itself, makes the copies, and lets the others go on.
/// They come here later than rank 0 as a rule: the loss is the first thing that it computes in its
/// phase.
bool Program::passes_guard(const Team& team, Session& session, Index step) const {
    if (team.rank() != 0) {
        session.guard.wait(step);
        return session.bad_step.load() != step;
    }
    const double loss = scalar_value(scalars_[0]);
    const bool finite = std::isfinite(loss) && !host_failed();
    if (!finite) {
        double* values = session.request.values + step * static_cast<Index>(scalars_.size());
        std::fill_n(values, scalars_.size(), std::numeric_limits<double>::quiet_NaN());
        values[0] = loss;
        session.stop = Stop::nonfinite;
        session.bad_step.store(step);
    } else if (step == 0 && !session.request.copies.empty()) {
        const auto started = Clock::now();
        for (const Copy& copy : session.request.copies) std::memcpy(copy.to, copy.from, copy.bytes);
        session.copy_seconds = std::chrono::duration<double>(Clock::now() - started).count();
    }
    session.guard.open(step);
    return finite;
}

/// Copies this thread's slice of every per-row output to its place among all rows.
void Program::store_rows(const Team& team, const Session& session, Index first, Index rows) const {
    const Range slice = team.slice(rows);
    if (slice.empty()) return;
    for (std::size_t i = 0; i < rows_.size(); ++i) {
        const TensorView& value = rows_[i];
        const auto row_bytes = static_cast<std::size_t>(value.row_size()) * dtype_size(value.dtype);
        std::memcpy(static_cast<char*>(session.request.results[i]) +
                        static_cast<std::size_t>(first + slice.begin) * row_bytes,
                    value.as<char>() + static_cast<std::size_t>(slice.begin) * row_bytes,
                    static_cast<std::size_t>(slice.size()) * row_bytes);
    }
}

/// Rank 0 notes the scalar outputs and decides whether to go on. It wrote them itself (a scalar has
/// one slice), so no barrier comes before.
bool Program::record(Session& session, Index step) const {
    const RunRequest& request = session.request;
    double* values = request.values + step * static_cast<Index>(scalars_.size());
    for (const TensorView& scalar : scalars_) *values++ = scalar_value(scalar);
    if (host_failed()) return false;
    if (request.interrupted) {
        const auto now = Clock::now();
        if (now >= session.next_poll) {
            session.next_poll = now + kInterruptInterval;
            if (request.interrupted()) {
                session.stop = Stop::interrupt;
                return false;
            }
        }
    }
    return true;
}

}  // namespace fastprop
