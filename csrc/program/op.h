#pragma once
/// @file
/// @brief What an op is to the executor: a name, attributes, and a kernel that does one slice.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "core/check.h"
#include "core/team.h"
#include "core/tensor_view.h"

namespace fastprop {

/// What changes from step to step.
struct StepContext {
    std::int64_t step = 0;            ///< global number of this step, from 0
    std::uint64_t seed = 0;           ///< seed of everything random in the program
    const double* scalars = nullptr;  ///< this step's row of optimizer scalars (learning rate, …)
    Index num_scalars = 0;
    Index rows = 0;                       ///< actual rows of this batch
    const std::int64_t* order = nullptr;  ///< source rows that this batch is made of
};

struct Call {
    const TensorView* in;
    int num_in;
    const TensorView* out;
    int num_out;
    const double*
        attrs;  ///< in the order of OpEntry::attributes; enums and integers as exact doubles
    const StepContext* step;

    double attr(int i) const { return attrs[i]; }
    Index index_attr(int i) const { return static_cast<Index>(attrs[i]); }
    /// True if optional input i was given.
    bool has(int i) const { return i < num_in && in[i].present(); }
    bool has_out(int i) const { return i < num_out && out[i].present(); }
};

/// Does the slice of axis 0 of out[0] that `team.slice` gives, or of its last axis where
/// `team.is_by_columns()`. Must not throw and must not wait.
using Kernel = void (*)(const Call&, const Team&);

/// Refuses a call whose operands would make a kernel read or write out of bounds: throws Error.
/// Python's `infer` has given the friendly message already; this is the last line of defence.
using Check = void (*)(const Call&);

struct OpEntry {
    const char* name;
    std::vector<std::string> attributes;
    int min_inputs;
    int max_inputs;
    int max_outputs;
    Kernel f32;
    Kernel f64;
    Check check;
    Kernel i64 = nullptr;     ///< for int64, where the op makes sense there
    bool by_columns = false;  ///< it can be sliced by columns
};

/// Rows of the table, one function a family (ops_<family>.cpp).
std::vector<OpEntry> linear_ops();
std::vector<OpEntry> activation_ops();
std::vector<OpEntry> elementwise_ops();
std::vector<OpEntry> reduction_ops();
std::vector<OpEntry> index_ops();
std::vector<OpEntry> loss_ops();
std::vector<OpEntry> data_ops();
std::vector<OpEntry> update_ops();
std::vector<OpEntry> random_ops();
std::vector<OpEntry> host_ops();
std::vector<OpEntry> normalization_ops();
std::vector<OpEntry> parts_ops();

/// The whole table, built once.
const std::vector<OpEntry>& op_table();

/// Throws Error with the nearest known name if there is none.
const OpEntry& find_op(const std::string& name);

/// Counts and dtypes, then the op's own check.
void check_call(const OpEntry& op, const Call& call);

/// The kernel for the call's dtype: that of out[0] where there is one for it, else of in[0].
Kernel select_kernel(const OpEntry& op, const Call& call);

}  // namespace fastprop
