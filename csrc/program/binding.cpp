/// @file
/// @brief Operands of a Program become views: what is checked once, and what every run brings.

#include <algorithm>
#include <limits>

#include "program/program.h"
#include "program/strips.h"

namespace fastprop {
namespace {

TensorView view_of(const Operand& operand, void* data, Index rows) {
    TensorView view;
    view.data = data;
    view.dtype = operand.dtype;
    view.rank = operand.rank;
    std::copy(operand.shape, operand.shape + kMaxRank, view.shape);
    if (operand.batched && operand.rank > 0) view.shape[0] = rows;
    return view;
}

const OpEntry& op_of(const Instruction& instruction) {
    return op_table()[static_cast<std::size_t>(instruction.op)];
}

bool is_source(const Operand& operand) { return operand.place == Place::source; }

bool touches_source(const Instruction& instruction) {
    return std::any_of(instruction.in.begin(), instruction.in.end(), is_source) ||
           std::any_of(instruction.out.begin(), instruction.out.end(), is_source);
}

/// All but the place is the same.
bool same_look(const TensorView& a, const TensorView& b) {
    return a.dtype == b.dtype && a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
}

}  // namespace

Program::Program(Parts parts) : parts_(std::move(parts)), arena_(parts_.arena_bytes) {
    require(parts_.capacity > 0, "Program: capacity must be positive, got ", parts_.capacity);
    check_strips(parts_);
    take_seats(1);
    check_instructions(parts_.prologue);
    check_instructions(parts_.step);
    require(std::none_of(parts_.prologue.begin(), parts_.prologue.end(), touches_source),
            "Program: the prologue may not use a source");
    for (const Operand& operand : parts_.scalars) {
        check_operand(operand);
        scalars_.push_back(bind(operand, 1, nullptr));
        require(scalars_.back().size() == 1 && dtype_size(operand.dtype) >= 4 &&
                    (operand.dtype == DType::f32 || operand.dtype == DType::f64),
                "Program: a recorded output must be one floating-point number");
    }
    for (const Operand& operand : parts_.rows) {
        check_operand(operand);
        require(operand.batched, "Program: a per-row output must be batched");
        rows_.push_back(bind(operand, parts_.capacity, nullptr));
    }
    require(parts_.guard <= static_cast<Index>(parts_.step.size()), "Program: guard ", parts_.guard,
            " is behind the last instruction");
    require(parts_.guard < 0 || !scalars_.empty(), "Program: a guard needs a scalar to look at");
    strip_ends_ = strip_ends(parts_);
    for (const Instruction& instruction : parts_.step) {
        for (const Operand& operand : instruction.out) {
            if (!is_source(operand)) continue;
            require(!operand.batched && operand.index >= 0,
                    "Program: rows of a source are written");
            const auto index = static_cast<std::size_t>(operand.index);
            written_.resize(std::max(written_.size(), index + 1));
            written_[index] = true;
        }
    }
}

void Program::check_operand(const Operand& operand) const {
    require(operand.rank >= 0 && operand.rank <= kMaxRank, "Program: rank ", operand.rank,
            " is out of range");
    if (operand.batched)
        require(operand.rank > 0 && operand.shape[0] == parts_.capacity,
                "Program: a batched operand has ", operand.shape[0], " rows, the capacity is ",
                parts_.capacity);
    if (operand.place != Place::arena && operand.place != Place::buffer) return;
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
    const BoundList bound = bind(list, parts_.capacity, seats_[0].scratch.as<char>());
    for (std::size_t i = 0; i < list.size(); ++i) {
        // What uses a source is checked when a run brings it, all else once.
        if (!touches_source(list[i])) check_call(op_of(list[i]), bound.calls[i].call);
    }
}

/// The instructions that use sources, with those of a run; nothing to do where they look like the
/// latest ones.
void Program::check_sources(const RunRequest& request) {
    if (std::equal(request.sources.begin(), request.sources.end(), sources_.begin(), sources_.end(),
                   same_look))
        return;
    BoundList bound;
    prepare(bound, parts_.step, request, parts_.capacity, seats_[0].scratch.as<char>());
    for (std::size_t i = 0; i < parts_.step.size(); ++i)
        if (touches_source(parts_.step[i])) check_call(op_of(parts_.step[i]), bound.calls[i].call);
    sources_ = request.sources;
}

TensorView Program::bind(const Operand& operand, Index rows, char* scratch) const {
    switch (operand.place) {
        case Place::arena:
            return view_of(operand, arena_.as<char>() + operand.offset, rows);
        case Place::buffer: {
            const Buffer& buffer = parts_.buffers[static_cast<std::size_t>(operand.index)];
            return view_of(operand, static_cast<char*>(buffer.data) + operand.offset, rows);
        }
        case Place::local:  // of the first chunk, see place_locals()
            return view_of(operand, scratch + operand.offset, rows);
        case Place::source:
            return view_of(operand, nullptr, rows);  // prepare() tells where it lies
        case Place::absent:
            break;
    }
    return {};
}

Program::BoundList Program::bind(const std::vector<Instruction>& list, Index rows,
                                 char* scratch) const {
    BoundList bound;
    bound.rows = rows;
    std::size_t count = 0;
    for (const Instruction& i : list) count += i.in.size() + i.out.size();
    bound.views.reserve(count);  // calls point into it
    bound.calls.reserve(list.size());
    const auto take = [&](const Operand& operand) {
        const TensorView view = bind(operand, rows, scratch);
        if (operand.place == Place::source)
            bound.sources.push_back(
                {bound.views.size(), static_cast<std::size_t>(operand.index), operand.batched});
        if (operand.place == Place::local)
            bound.locals.push_back({bound.views.size(), operand.offset, row_bytes(operand)});
        bound.views.push_back(view);
    };
    for (const Instruction& i : list) {
        const std::size_t locals = bound.locals.size();
        const TensorView* in = bound.views.data() + bound.views.size();
        for (const Operand& operand : i.in) take(operand);
        const TensorView* out = bound.views.data() + bound.views.size();
        for (const Operand& operand : i.out) take(operand);
        const Call call{in,
                        static_cast<int>(i.in.size()),
                        out,
                        static_cast<int>(i.out.size()),
                        i.attrs.data(),
                        nullptr};
        const bool sums_up = i.by_chunks && !i.out[0].batched;
        bound.calls.push_back(
            {select_kernel(op_of(i), call), call, i.barrier, i.by_chunks, sums_up, i.when, locals});
    }
    return bound;
}

void Program::BoundList::place_locals(std::size_t first, std::size_t last, char* scratch,
                                      Index row) {
    const std::size_t end = last < calls.size() ? calls[last].first_local : locals.size();
    for (std::size_t i = calls[first].first_local; i < end; ++i) {
        const Local& local = locals[i];
        views[local.view].data =
            scratch + local.offset - static_cast<std::size_t>(row) * local.row_bytes;
    }
}

/// Memory of their own for as many threads as need some.
void Program::take_seats(int threads) {
    while (seats_.size() < seats_of(threads)) {
        seats_.emplace_back();
        seats_.back().scratch = AlignedBuffer(parts_.scratch_bytes);
    }
}

std::size_t Program::seats_of(int threads) const {
    return parts_.scratch_bytes > 0 ? static_cast<std::size_t>(threads) : 1;
}

/// Makes `bound` the instructions of `list` on `rows` rows of the request's sources.
void Program::prepare(BoundList& bound, const std::vector<Instruction>& list,
                      const RunRequest& request, Index rows, char* scratch) const {
    if (bound.rows != rows) bound = bind(list, rows, scratch);
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

/// That the array of a run for this operand is as it was traced.
void Program::check_source(const RunRequest& request, const Operand& operand, Index& rows) {
    const auto index = static_cast<std::size_t>(operand.index);
    require(index < request.sources.size(), "Program.run: expects a source ", index, ", got ",
            request.sources.size(), " sources");
    const TensorView& source = request.sources[index];
    const TensorView wanted = view_of(operand, nullptr, operand.shape[0]);
    // One that is not batched may be read under another shape than it has.
    const bool fits = operand.batched ? source.rank == operand.rank &&
                                            std::equal(source.shape + 1, source.shape + source.rank,
                                                       operand.shape + 1)
                                      : source.size() == wanted.size();
    require(fits && source.dtype == operand.dtype, "Program.run: source ", index,
            " differs in dtype or shape from what was traced");
    if (operand.batched) rows = std::min(rows, source.rows());
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
    require(request.copies.empty() || parts_.guard >= 0,
            "Program.run: copies are made once the loss is known, and this Program looks at none");
    require(request.results.size() == parts_.rows.size(), "Program.run: expects ",
            parts_.rows.size(), " result arrays, got ", request.results.size());
    Index source_rows = std::numeric_limits<Index>::max();
    for (const Instruction& instruction : parts_.step) {
        require(instruction.when < (request.scalars == nullptr ? 0 : request.scalars_per_step),
                "Program.run: an instruction asks for scalar ", instruction.when,
                " of the step, there are ", request.scalars_per_step);
        for (const std::vector<Operand>* operands : {&instruction.in, &instruction.out}) {
            for (const Operand& operand : *operands)
                if (is_source(operand)) check_source(request, operand, source_rows);
        }
    }
    for (Index i = 0; i < request.count; ++i)
        require(request.order[i] >= 0 && request.order[i] < source_rows, "Program.run: order[", i,
                "] = ", request.order[i], ", but the sources have ", source_rows, " rows");
    check_sources(request);
}

}  // namespace fastprop
