#include "program/program.h"

#include <algorithm>
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

TensorView view_of(const Operand& operand, void* data, Index rows) {
    TensorView view;
    view.data = data;
    view.dtype = operand.dtype;
    view.rank = operand.rank;
    std::copy(operand.shape, operand.shape + kMaxRank, view.shape);
    if (operand.batched && operand.rank > 0) view.shape[0] = rows;
    return view;
}

double scalar_value(const TensorView& view) {
    return view.dtype == DType::f32 ? static_cast<double>(*view.as<float>()) : *view.as<double>();
}

const OpEntry& op_of(const Instruction& instruction) {
    return op_table()[static_cast<std::size_t>(instruction.op)];
}

bool reads_source(const Instruction& instruction) {
    return std::any_of(instruction.in.begin(), instruction.in.end(),
                       [](const Operand& operand) { return operand.place == Place::source; });
}

/// All but the place is the same.
bool same_look(const TensorView& a, const TensorView& b) {
    return a.dtype == b.dtype && a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
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
    std::atomic<Index> bad_step{kNever};  ///< its loss is not finite: nobody goes past the guard
};

Program::Program(Parts parts) : parts_(std::move(parts)), arena_(parts_.arena_bytes) {
    require(parts_.capacity > 0, "Program: capacity must be positive, got ", parts_.capacity);
    check_instructions(parts_.prologue);
    check_instructions(parts_.step);
    require(std::none_of(parts_.prologue.begin(), parts_.prologue.end(), reads_source),
            "Program: the prologue may not read a source");
    for (const Operand& operand : parts_.scalars) {
        check_operand(operand);
        scalars_.push_back(bind(operand, 1));
        require(scalars_.back().size() == 1 && dtype_size(operand.dtype) >= 4 &&
                    (operand.dtype == DType::f32 || operand.dtype == DType::f64),
                "Program: a recorded output must be one floating-point number");
    }
    for (const Operand& operand : parts_.rows) {
        check_operand(operand);
        require(operand.batched, "Program: a per-row output must be batched");
        rows_.push_back(bind(operand, parts_.capacity));
    }
    require(parts_.guard <= static_cast<Index>(parts_.step.size()), "Program: guard ", parts_.guard,
            " is behind the last instruction");
    require(parts_.guard < 0 || !scalars_.empty(), "Program: a guard needs a scalar to look at");
    run_ends_ = strip_runs(parts_.step, parts_.guard);
}

void Program::check_operand(const Operand& operand) const {
    require(operand.rank >= 0 && operand.rank <= kMaxRank, "Program: rank ", operand.rank,
            " is out of range");
    if (operand.batched)
        require(operand.rank > 0 && operand.shape[0] == parts_.capacity,
                "Program: a batched operand has ", operand.shape[0], " rows, the capacity is ",
                parts_.capacity);
    if (operand.place == Place::absent || operand.place == Place::source) return;
    std::size_t limit = arena_.bytes();
    if (operand.place == Place::buffer) {
        require(
            operand.index >= 0 && static_cast<std::size_t>(operand.index) < parts_.buffers.size(),
            "Program: no buffer ", operand.index);
        limit = parts_.buffers[static_cast<std::size_t>(operand.index)].bytes;
    }
    const TensorView view = view_of(operand, nullptr, parts_.capacity);
    for (int i = 0; i < view.rank; ++i)
        require(view.shape[i] >= 0, "Program: negative extent ", view.shape[i]);
    require(operand.offset <= limit && view.bytes() <= limit - operand.offset,
            "Program: an operand of ", view.bytes(), " bytes at ", operand.offset,
            " lies outside its buffer of ", limit);
}

void Program::check_instructions(const std::vector<Instruction>& list) const {
    for (const Instruction& instruction : list) {
        require(instruction.op >= 0 && static_cast<std::size_t>(instruction.op) < op_table().size(),
                "Program: no op ", instruction.op);
        const OpEntry& op = op_table()[static_cast<std::size_t>(instruction.op)];
        require(instruction.attrs.size() == op.attributes.size(), "Program: ", op.name, " expects ",
                op.attributes.size(), " attributes, got ", instruction.attrs.size());
        for (const Operand& operand : instruction.in) check_operand(operand);
        for (const Operand& operand : instruction.out) check_operand(operand);
    }
    const BoundList bound = bind(list, parts_.capacity);
    for (std::size_t i = 0; i < list.size(); ++i) {
        // What reads a source is checked when a run brings it, all else once.
        if (!reads_source(list[i])) check_call(op_of(list[i]), bound.calls[i].call);
    }
}

/// The instructions that read sources, with those of a run; nothing to do where they look like the
/// latest ones.
void Program::check_sources(const RunRequest& request) {
    if (std::equal(request.sources.begin(), request.sources.end(), sources_.begin(), sources_.end(),
                   same_look))
        return;
    BoundList bound;
    prepare(bound, parts_.step, request, parts_.capacity);
    for (std::size_t i = 0; i < parts_.step.size(); ++i)
        if (reads_source(parts_.step[i])) check_call(op_of(parts_.step[i]), bound.calls[i].call);
    sources_ = request.sources;
}

TensorView Program::bind(const Operand& operand, Index rows) const {
    switch (operand.place) {
        case Place::arena:
            return view_of(operand, arena_.as<char>() + operand.offset, rows);
        case Place::buffer: {
            const Buffer& buffer = parts_.buffers[static_cast<std::size_t>(operand.index)];
            return view_of(operand, static_cast<char*>(buffer.data) + operand.offset, rows);
        }
        case Place::source:
            return view_of(operand, nullptr, rows);  // prepare() tells where it lies
        case Place::absent:
            break;
    }
    return {};
}

Program::BoundList Program::bind(const std::vector<Instruction>& list, Index rows) const {
    BoundList bound;
    bound.rows = rows;
    std::size_t count = 0;
    for (const Instruction& i : list) count += i.in.size() + i.out.size();
    bound.views.reserve(count);  // calls point into it
    bound.calls.reserve(list.size());
    for (const Instruction& i : list) {
        const TensorView* in = bound.views.data() + bound.views.size();
        for (const Operand& operand : i.in) {
            if (operand.place == Place::source)
                bound.sources.push_back(
                    {bound.views.size(), static_cast<std::size_t>(operand.index), operand.batched});
            bound.views.push_back(bind(operand, rows));
        }
        const TensorView* out = bound.views.data() + bound.views.size();
        for (const Operand& operand : i.out) bound.views.push_back(bind(operand, rows));
        const Call call{in,
                        static_cast<int>(i.in.size()),
                        out,
                        static_cast<int>(i.out.size()),
                        i.attrs.data(),
                        nullptr};
        bound.calls.push_back({select_kernel(op_of(i), call), call, i.barrier, i.when});
    }
    return bound;
}

/// Makes `bound` the instructions of `list` on `rows` rows of the request's sources.
void Program::prepare(BoundList& bound, const std::vector<Instruction>& list,
                      const RunRequest& request, Index rows) const {
    if (bound.rows != rows) bound = bind(list, rows);
    for (const BoundList::Source& s : bound.sources) {
        const TensorView& source = request.sources[s.source];
        TensorView& view = bound.views[s.view];
        if (s.batched)
            view = source;
        else
            view.data = source.data;
    }
}

Index RunRequest::steps() const {
    const Index epoch = rows_of_epoch();
    if (epoch == 0) return 0;
    return count / epoch * ceil_div(epoch, batch_size) + ceil_div(count % epoch, batch_size);
}

void Program::check_request(const RunRequest& request) {
    require(request.batch_size > 0 && request.batch_size <= parts_.capacity,
            "Program.run: batch_size must be between 1 and ", parts_.capacity, ", got ",
            request.batch_size);
    // Batches have two sizes at most: full, and what an epoch ends with.
    const Index left = request.count == 0 ? 0 : request.count % request.rows_of_epoch();
    require(request.epoch_rows >= 0 && left % request.batch_size == 0,
            "Program.run: the order ends in the middle of a batch, ", request.count,
            " rows in epochs of ", request.epoch_rows);
    require(request.results.size() == parts_.rows.size(), "Program.run: expects ",
            parts_.rows.size(), " result arrays, got ", request.results.size());
    Index source_rows = kNever;
    for (const Instruction& instruction : parts_.step) {
        require(instruction.when < (request.scalars == nullptr ? 0 : request.scalars_per_step),
                "Program.run: an instruction asks for scalar ", instruction.when,
                " of the step, there are ", request.scalars_per_step);
        for (const Operand& operand : instruction.in) {
            if (operand.place != Place::source) continue;
            const auto index = static_cast<std::size_t>(operand.index);
            require(index < request.sources.size(), "Program.run: expects a source ", index,
                    ", got ", request.sources.size(), " sources");
            const TensorView& source = request.sources[index];
            const TensorView wanted = view_of(operand, nullptr, operand.shape[0]);
            // One that is not batched may be read under another shape than it has.
            const bool fits = operand.batched
                                  ? source.rank == operand.rank &&
                                        std::equal(source.shape + 1, source.shape + source.rank,
                                                   operand.shape + 1)
                                  : source.size() == wanted.size();
            require(fits && source.dtype == operand.dtype, "Program.run: source ", index,
                    " differs in dtype or shape from what was traced");
            if (operand.batched) source_rows = std::min(source_rows, source.rows());
        }
    }
    for (Index i = 0; i < request.count; ++i)
        require(request.order[i] >= 0 && request.order[i] < source_rows, "Program.run: order[", i,
                "] = ", request.order[i], ", but the sources have ", source_rows, " rows");
    check_sources(request);
}

RunResult Program::run(const RunRequest& request) {
    if (running_.test_and_set())
        throw Error("Program.run: this Program is running already in another thread");
    struct Release {
        std::atomic_flag& flag;
        ~Release() { flag.clear(); }
    } release{running_};
    check_request(request);

    const Index steps = request.steps();
    if (steps == 0) return {};
    const Index short_rows = request.rows_of_epoch() % request.batch_size;
    prepare(prologue_, parts_.prologue, request, request.batch_size);
    if (request.rows_of_epoch() >= request.batch_size)
        prepare(full_, parts_.step, request, request.batch_size);
    if (short_rows > 0) prepare(last_, parts_.step, request, short_rows);
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

    RunResult result{steps, session.stop, take_host_error()};
    const Index stop_after = session.stop_after.load();
    if (stop_after != kNever) result.steps = stop_after + 1;
    if (session.stop == Stop::nonfinite) result.steps = session.bad_step.load();
    if (result.error != nullptr) result.stop = Stop::interrupt;
    ++runs_;
    latest_steps_ = result.steps;
    return result;
}

template <class Watch>
void Program::loop(const Team& team, Session& session, Watch watch) const {
    const FlushDenormals flush;
    const RunRequest& request = session.request;
    StepContext context;
    context.seed = request.seed;
    context.num_scalars = request.scalars_per_step;

    const auto execute = [&](const Bound& bound, std::size_t entry, const Team& who, bool waits) {
        if (bound.barrier && waits) {
            team.wait();
            watch.waited(entry);
        }
        if (bound.when >= 0 && context.scalars[bound.when] == 0.0) return;
        Call call = bound.call;
        call.step = &context;
        bound.kernel(call, who);
        watch.worked(entry);
    };
    const auto execute_all = [&](const BoundList& list, std::size_t first, std::size_t last) {
        const Index most = std::max<Index>(context.rows / (kStripRows * team.size()), 1);
        for (std::size_t i = first, run_end; i < last; i = run_end) {
            run_end = std::max(run_ends_[i], i + 1);
            const int strips = run_end > i + 1 ? static_cast<int>(most) : 1;
            for (int s = 0; s < strips; ++s) {
                const Team strip(team.rank() * strips + s, team.size() * strips, nullptr);
                for (std::size_t k = i; k < run_end; ++k) execute(list.calls[k], k, strip, s == 0);
            }
        }
    };
    const std::size_t end = parts_.step.size();
    const std::size_t prologue = end + 1;
    const bool guarded = parts_.guard >= 0;
    const std::size_t guard = guarded ? static_cast<std::size_t>(parts_.guard) : end;
    watch.start();
    for (const Bound& bound : prologue_.calls) execute(bound, prologue, team, true);
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
        const BoundList& list = context.rows == request.batch_size ? full_ : last_;
        execute_all(list, 0, guard);
        if (guarded) {
            const bool passes = passes_guard(team, session, step);
            watch.waited(guard);
            if (!passes) break;
        }
        execute_all(list, guard, end);
        store_rows(team, session, first, context.rows);
        if (team.rank() == 0 && !record(session, step)) session.stop_after.store(step);
        watch.worked(end);
        team.wait();
        watch.waited(end);
        if (session.stop_after.load() <= step) break;
    }
    watch.stop();
}

/// Rank 0 looks at the loss, which it computed itself, and lets the others go on. They come here
/// later than rank 0 as a rule: the loss is the first thing that it computes in its phase.
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
