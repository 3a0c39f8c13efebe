/// @file
/// @brief The one table through which everything executes, and the checks at its door.

#include <algorithm>
#include <iterator>
#include <numeric>
#include <stdexcept>
#include <unordered_map>

#include "program/op.h"
#include "program/ops_chain.h"

namespace fastprop {
namespace {

bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

/// An op with one kernel for both types dispatches on its operands' dtypes itself (gather_rows
/// moves bytes of any dtype, cast has two of them).
bool dispatches_itself(const OpEntry& op) { return op.f32 == op.f64; }

std::vector<OpEntry> build_table() {
    std::vector<OpEntry> table;
    for (auto family :
         {linear_ops, activation_ops, elementwise_ops, chain_ops, reduction_ops, index_ops,
          loss_ops, data_ops, update_ops, random_ops, normalization_ops, parts_ops, host_ops}) {
        std::vector<OpEntry> rows = family();
        std::move(rows.begin(), rows.end(), std::back_inserter(table));
    }
    return table;
}

using NameIndex = std::unordered_map<std::string, const OpEntry*>;

NameIndex build_index(const std::vector<OpEntry>& table) {
    NameIndex index;
    for (const OpEntry& op : table) {
        if (!index.emplace(op.name, &op).second)
            throw std::logic_error(concat("op_table: two ops are named ", op.name));
    }
    return index;
}

/// Levenshtein's distance, one row of the table at a time.
std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i] == b[j] ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({replaced, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

[[noreturn]] void throw_unknown(const std::string& name) {
    const std::vector<OpEntry>& table = op_table();
    const auto nearest =
        std::min_element(table.begin(), table.end(), [&](const OpEntry& a, const OpEntry& b) {
            return edit_distance(name, a.name) < edit_distance(name, b.name);
        });
    const std::string hint =
        nearest == table.end() ? "" : concat("; did you mean \"", nearest->name, "\"?");
    throw Error(concat("unknown op \"", name, "\"", hint));
}

void check_counts(const OpEntry& op, const Call& call) {
    require(call.num_in >= op.min_inputs && call.num_in <= op.max_inputs, op.name, ": got ",
            call.num_in, " inputs, wants ", op.min_inputs, " to ", op.max_inputs);
    require(call.num_out >= 1 && call.num_out <= op.max_outputs, op.name, ": got ", call.num_out,
            " outputs, wants 1 to ", op.max_outputs);
    require(op.attributes.empty() || call.attrs != nullptr, op.name, ": its ", op.attributes.size(),
            " attributes are missing");
}

void check_view(const OpEntry& op, const char* kind, int i, const TensorView& view, bool required) {
    require(view.rank >= 0 && view.rank <= kMaxRank, op.name, ": ", kind, " ", i, " has rank ",
            view.rank, ", at most ", kMaxRank, " is possible");
    for (int axis = 0; axis < view.rank; ++axis)
        require(view.shape[axis] >= 0, op.name, ": ", kind, " ", i, " has extent ",
                view.shape[axis], " in axis ", axis);
    // An empty array may have no memory at all; nothing of it is touched.
    require(!required || view.present() || view.size() == 0, op.name, ": ", kind, " ", i,
            " is missing");
}

void check_same_type(const OpEntry& op, const Call& call) {
    const TensorView* first = nullptr;
    const auto compare = [&](const TensorView& view) {
        if (!view.present() || !is_floating(view.dtype)) return;
        if (first == nullptr) first = &view;
        require(view.dtype == first->dtype, op.name, ": operands are of ", dtype_name(first->dtype),
                " and ", dtype_name(view.dtype), ", wants one dtype");
    };
    std::for_each(call.out, call.out + call.num_out, compare);
    std::for_each(call.in, call.in + call.num_in, compare);
}

}  // namespace

const std::vector<OpEntry>& op_table() {
    static const std::vector<OpEntry> table = build_table();
    return table;
}

const OpEntry& find_op(const std::string& name) {
    static const NameIndex index = build_index(op_table());
    const auto found = index.find(name);
    if (found == index.end()) throw_unknown(name);
    return *found->second;
}

void check_call(const OpEntry& op, const Call& call) {
    check_counts(op, call);
    for (int i = 0; i < call.num_in; ++i) check_view(op, "input", i, call.in[i], i < op.min_inputs);
    for (int i = 0; i < call.num_out; ++i) check_view(op, "output", i, call.out[i], i == 0);
    if (!dispatches_itself(op)) check_same_type(op, call);
    if (op.check != nullptr) op.check(call);
}

Kernel select_kernel(const OpEntry& op, const Call& call) {
    if (dispatches_itself(op)) return op.f32;
    DType dtype = call.out[0].dtype;
    if (dtype == DType::i64 && op.i64 != nullptr) return op.i64;
    if (!is_floating(dtype) && call.num_in > 0) dtype = call.in[0].dtype;
    require(is_floating(dtype), op.name, ": wants float32 or float64, got ", dtype_name(dtype));
    return dtype == DType::f32 ? op.f32 : op.f64;
}

}  // namespace fastprop
