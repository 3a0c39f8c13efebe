#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <unordered_map>
#include <utility>

#include "bindings/bindings.h"
#include "bindings/program_run.h"
#include "program/run_many.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// A RunPool, and the Python objects of the runs that it has not given back.
class BoundRunPool {
public:
    explicit BoundRunPool(int threads) : pool_(std::make_unique<RunPool>(threads)) {}
    ~BoundRunPool() { close(); }

    void submit(const py::object& program, const RunArguments& arguments, py::object tag) {
        require(pool_ != nullptr, "RunPool.submit: the pool is closed");
        auto entry = std::make_unique<Entry>();
        prepare_run(program, arguments, entry->run);
        entry->pending.program = entry->run.program;
        entry->pending.request = std::move(entry->run.request);
        entry->tag = std::move(tag);
        PendingRun& pending = entry->pending;
        entries_[&pending] = std::move(entry);
        pool_->submit(pending);
    }

    py::object next() {
        require(pool_ != nullptr, "RunPool.next: the pool is closed");
        const auto interrupted = [this] {
            const py::gil_scoped_acquire acquire;
            if (PyErr_CheckSignals() == 0) return false;
            py::error_already_set raised;
            error_ = raised.value();
            return true;
        };
        PendingRun* pending = nullptr;
        {
            const py::gil_scoped_release release;
            pending = pool_->next(interrupted);
        }
        // A signal that nobody has asked about yet would be raised in the place of the result.
        if (interrupted()) pool_->stop();
        if (pending == nullptr) return py::none();
        const std::unique_ptr<Entry> entry = std::move(entries_.extract(pending).mapped());
        if (pending->error) std::rethrow_exception(pending->error);
        return py::make_tuple(entry->tag, entry->run.outcome(pending->result, error_),
                              pending->seconds);
    }

    void stop() {
        if (pool_) pool_->stop();
    }

    /// Ends all runs and waits for them, so that nothing is written any more when it returns.
    void close() {
        {
            const py::gil_scoped_release release;
            pool_.reset();
        }
        entries_.clear();
    }

private:
    struct Entry {
        ProgramRun run;
        PendingRun pending;
        py::object tag;
    };

    std::unordered_map<PendingRun*, std::unique_ptr<Entry>> entries_;
    std::unique_ptr<RunPool> pool_;
    py::object error_ = py::none();
};

}  // namespace

void bind_run_many(py::module_& m) {
    py::class_<BoundRunPool>(m, "RunPool",
                             "Threads that do runs of Programs, each run on one of them; 1 thread "
                             "is the caller's own, inside `next`.")
        .def(py::init<int>(), py::arg("threads"))
        .def(
            "submit",
            [](BoundRunPool& pool, const py::object& program, const py::sequence& sources,
               const py::object& order, Index batch_size, const std::optional<py::array>& scalars,
               std::int64_t first_step, std::uint64_t seed, Index epoch_rows, py::object tag,
               const std::optional<py::sequence>& copies) {
                pool.submit(
                    program,
                    {sources, order, batch_size, scalars, first_step, seed, epoch_rows, copies},
                    std::move(tag));
            },
            py::arg("program"), py::arg("sources"), py::arg("order"), py::arg("batch_size"),
            py::arg("step_scalars"), py::arg("first_step"), py::arg("seed"), py::arg("epoch_rows"),
            py::arg("tag"), py::arg("copies") = py::none(),
            "Ask for what `Program.run` does with these arguments.")
        .def("next", &BoundRunPool::next,
             "Wait for a run to end: its tag, what `Program.run` returns, and the seconds that it "
             "took; None if all have been given back. A signal handler's exception stops all runs "
             "and is what interrupted ones give.")
        .def("stop", &BoundRunPool::stop,
             "End every run after its present step; later ones do none.")
        .def("close", &BoundRunPool::close, "Stop, and wait for the threads to end.");
}

}  // namespace fastprop
