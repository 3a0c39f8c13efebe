#pragma once
/// @file
/// @brief A whole training step as a flat list of instructions over one arena, and the loop that
/// runs it.

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include "core/aligned_buffer.h"
#include "program/op.h"

namespace fastprop {

/// Where an operand lives. Local is memory of the thread, for the rows of one chunk.
enum class Place : std::uint8_t { absent, arena, buffer, source, local };

struct Operand {
    Place place = Place::absent;
    int index = 0;           ///< which buffer or source
    std::size_t offset = 0;  ///< bytes from the start of the arena, buffer or local memory
    DType dtype = DType::f32;
    int rank = 0;
    Index shape[kMaxRank] = {};
    /// shape[0] is the capacity; a run gives the actual number of rows. Of a source rows are picked
    /// by the run's order, of one that is not batched everything is read.
    bool batched = false;
};

struct Instruction {
    int op = 0;  ///< index into op_table()
    std::vector<Operand> in;
    std::vector<Operand> out;
    std::vector<double> attrs;
    bool barrier = false;  ///< wait for the whole team before it
    int when = -1;  ///< which of the step's scalars must not be 0, else it is left out; -1: none
    bool by_chunks = false;   ///< sliced by chunks of the batch, see strips.h
    int strip = -1;           ///< neighbours with the same number are done chunk by chunk; -1: none
    bool by_columns = false;  ///< sliced along the last axis of its outputs instead of the first
};

/// Memory that outlives the Program: parameters, optimizer state, constants.
struct Buffer {
    void* data = nullptr;
    std::size_t bytes = 0;
};

/// What a run copies before it overwrites anything.
struct Copy {
    const void* from = nullptr;
    void* to = nullptr;
    std::size_t bytes = 0;
};

struct RunRequest {
    std::vector<TensorView> sources;      ///< read, and written where is_written() says so
    const std::int64_t* order = nullptr;  ///< rows of the sources, in the order they are visited
    Index count = 0;                      ///< length of order
    Index batch_size = 0;  ///< rows of a step, at most the capacity; the last may be shorter
    /// After so many rows the next batch begins, full or not: several epochs in one run. 0: `order`
    /// is one epoch. What is left of `order` for the last epoch is whole batches.
    Index epoch_rows = 0;
    const double* scalars = nullptr;  ///< [steps, scalars_per_step] for the optimizer
    Index scalars_per_step = 0;
    std::int64_t first_step = 0;
    std::uint64_t seed = 0;
    int threads = 1;
    bool waits = false;          ///< for a run of another thread to end; else that is an error
    double* values = nullptr;    ///< [steps, number of scalar outputs], written
    std::vector<void*> results;  ///< [count, …] for each per-row output, written
    /// Made in the first step, once its loss is known to be finite: what they have is then good.
    std::vector<Copy> copies;
    std::function<bool()> interrupted;  ///< asked by the calling thread about every 20 ms
    /// [threads, profile_entries(), 2], added to: nanoseconds of work, and of waiting before it, of
    /// each instruction, of the step's end and of the prologue. nullptr measures nothing.
    double* profile = nullptr;

    /// Rows of the first epoch: all of them, if `order` is one.
    Index rows_of_epoch() const { return epoch_rows > 0 ? std::min(epoch_rows, count) : count; }
    Index steps() const;
};

enum class Stop : std::uint8_t { done, nonfinite, interrupt };

struct RunResult {
    Index steps = 0;           ///< complete steps
    Stop stop = Stop::done;    ///< nonfinite: `values` has the loss of one step more
    double copy_seconds = -1;  ///< that the copies took; negative: they were not made
    std::exception_ptr error;  ///< what a function of the host has thrown; stop is interrupt then
};

class Program {
public:
    struct Parts {
        std::size_t arena_bytes = 0;
        Index capacity = 0;
        Index chunks = 0;               ///< of the batch; 0: no instruction goes by chunks
        std::size_t scratch_bytes = 0;  ///< local memory of each thread
        std::vector<Buffer> buffers;
        std::vector<Instruction> prologue;  ///< once a run: packs the weights
        std::vector<Instruction> step;
        std::vector<Operand> scalars;  ///< 0-d outputs, recorded after every step
        std::vector<Operand> rows;     ///< batched outputs, stored row by row
        /// Instructions of a step before the first scalar, the loss, is looked at; none of them may
        /// overwrite what outlives the step, so one that is not finite changes nothing. Negative:
        /// it is not looked at.
        Index guard = -1;
    };

    /// Throws Error if an operand lies outside its buffer or an instruction is malformed.
    explicit Program(Parts parts);

    /// Runs request.steps() steps. Throws Error before any work if the request does not
    /// fit.
    RunResult run(const RunRequest& request);

    const Parts& parts() const { return parts_; }

    /// Whether a source is one that instructions write to. Batches are not.
    bool is_written(std::size_t source) const {
        return source < written_.size() && written_[source];
    }

    /// How many runs have come to an end, and the complete steps of the latest: for those who lost
    /// its result.
    Index runs() const { return runs_; }
    Index latest_steps() const { return latest_steps_; }

    /// The instructions of a step, then its end (outputs are stored and recorded there), then the
    /// prologue.
    std::size_t profile_entries() const { return parts_.step.size() + 2; }

private:
    struct Bound {  ///< an instruction with pointers, for one number of rows
        Kernel kernel;
        Call call;
        bool barrier;
        bool by_chunks;
        bool by_columns;
        bool sums_up;  ///< writes one result a chunk, also of a chunk without rows
        int when;
        std::size_t first_local;  ///< of its operands and those of what follows
    };
    /// Instructions with pointers, kept from run to run: what changes is where the sources lie.
    struct BoundList {
        struct Source {
            std::size_t view;
            std::size_t source;
            bool batched;  ///< its rows are picked, and their number may be another one each time
        };
        struct Local {
            std::size_t view;
            std::size_t offset;
            std::size_t row_bytes;
        };
        Index rows = -1;
        std::vector<TensorView> views;
        std::vector<Bound> calls;
        std::vector<Source> sources;
        std::vector<Local> locals;

        /// Points the local operands of calls [first, last) at the chunk that begins with `row`.
        void place_locals(std::size_t first, std::size_t last, char* scratch, Index row);
    };
    /// What a thread has for itself. Without local memory all share the first one.
    struct Seat {
        AlignedBuffer scratch;
        BoundList full, last;  ///< a step with a whole batch, and with a short one
    };
    struct Session;

    void check_instructions(const std::vector<Instruction>& list) const;
    void check_sources(const RunRequest& request);
    static void check_source(const RunRequest& request, const Operand& operand, Index& rows);
    void check_operand(const Operand& operand) const;
    void check_request(const RunRequest& request);
    TensorView bind(const Operand& operand, Index rows, char* scratch) const;
    BoundList bind(const std::vector<Instruction>& list, Index rows, char* scratch) const;
    void prepare(BoundList& bound, const std::vector<Instruction>& list, const RunRequest& request,
                 Index rows, char* scratch) const;
    void take_seats(int threads);
    std::size_t seats_of(int threads) const;
    template <class Watch>
    void loop(const Team& team, Session& session, Watch watch);
    bool passes_guard(const Team& team, Session& session, Index step) const;
    void store_rows(const Team& team, const Session& session, Index first, Index rows) const;
    bool record(Session& session, Index step) const;

    Parts parts_;
    AlignedBuffer arena_;
    std::vector<TensorView> scalars_;
    std::vector<TensorView> rows_;
    std::vector<bool> written_;        ///< which sources instructions write to
    std::vector<TensorView> sources_;  ///< of the latest run, that the step was checked with
    BoundList prologue_;
    std::vector<Seat> seats_;
    std::vector<std::size_t> strip_ends_;  ///< of a step, see strips.h
    Index runs_ = 0;
    Index latest_steps_ = 0;

    class Turn;
    bool running_ = false;
    std::mutex turns_;  ///< guards `running_`
    std::condition_variable ended_;
};

}  // namespace fastprop
