// fastprop_op_bits: one line for every op, shape and dtype, with a hash of the bits of its results.
// The outputs of two builds are compared, of packets of different widths: see cmake/tests.cmake.

#include <cinttypes>
#include <cstdio>
#include <set>
#include <string>

#include "core/level.h"
#include "kernels/pack.h"
#include "op_cases.h"

namespace {

using namespace fastprop;
using namespace fastprop::test;

template <class T>
constexpr const char* kName = sizeof(T) == 4 ? "float32" : "float64";

/// FNV-1a. All NaNs are one.
template <class T>
std::uint64_t hash_of(const std::vector<std::vector<T>>& arrays) {
    std::uint64_t hash = 14695981039346656037u;
    for (const auto& array : arrays) {
        for (T value : array) {
            if (value != value) value = std::numeric_limits<T>::quiet_NaN();
            unsigned char bytes[sizeof(T)];
            std::memcpy(bytes, &value, sizeof(T));
            for (const unsigned char byte : bytes) hash = (hash ^ byte) * 1099511628211u;
        }
    }
    return hash;
}

std::string text(const std::vector<Shape>& shapes) {
    std::string result;
    for (const Shape& shape : shapes) {
        result += '[';
        for (const Index extent : shape) result += std::to_string(extent) + ' ';
        result += ']';
    }
    return result;
}

template <class T>
void print_case(const OpCase& c) {
    OpArrays<T> arrays(c);
    arrays.run();
    std::printf("%s %s%s %s %016" PRIx64 "\n", c.op.c_str(), c.note.c_str(), text(c.in).c_str(),
                kName<T>, hash_of(arrays.outputs()));
}

/// The packed forms: what they give, not how their operands lie.
template <class T>
void print_packed(Index rows, Index in, Index out) {
    const auto x = random_values<T>(rows * in, 1), w = random_values<T>(in * out, 2);
    const auto b = random_values<T>(out, 3), dy = random_values<T>(rows * out, 4);
    const auto packed = [](Index k, Index n) {
        return std::vector<T>(static_cast<std::size_t>(packed_size<T>(k, n)));
    };
    std::vector<T> wp = packed(in, out), wtp = packed(out, in), dyp = packed(rows, out);
    std::vector<T> y(dy.size()), dx(x.size()), dw(w.size());
    const auto vector_of = [](const std::vector<T>& v) {
        return view_of(v, {static_cast<Index>(v.size())});
    };
    const double n = static_cast<double>(out);
    run_op("pack_weights", {view_of(w, {in, out})}, {vector_of(wp)}, {});
    run_op("pack_weights_transposed", {view_of(w, {in, out})}, {vector_of(wtp)}, {});
    run_op("pack_rows", {view_of(dy, {rows, out})}, {vector_of(dyp)}, {});
    run_op("dense_packed", {view_of(x, {rows, in}), vector_of(wp), view_of(b, {out})},
           {view_of(y, {rows, out})}, {1, 0, 0, n});
    run_op("dense_backward_data_packed",
           {view_of(dy, {rows, out}), vector_of(wtp), view_of(x, {rows, in})},
           {view_of(dx, {rows, in})}, {1, 0, 0});
    run_op("dense_backward_weights_packed", {view_of(x, {rows, in}), vector_of(dyp)},
           {view_of(dw, {in, out})}, {n});
    std::printf("packed %s %s %016" PRIx64 "\n", text({{rows, in, out}}).c_str(), kName<T>,
                hash_of<T>({y, dx, dw}));
}

/// Ops that no line above stands for.
int count_missing(const std::vector<OpCase>& cases) {
    std::set<std::string> known = {"dense_packed",
                                   "dense_backward_data_packed",
                                   "dense_backward_weights_packed",
                                   "pack_rows",
                                   "pack_weights",
                                   "pack_weights_transposed",
                                   "argmax",  // these give no floats
                                   "argsort",
                                   "dropout_mask",
                                   "host_call",  // these do what they are given
                                   "host_update"};
    for (const OpCase& c : cases) known.insert(c.op);
    int missing = 0;
    for (const OpEntry& op : op_table()) {
        if (known.count(op.name) != 0) continue;
        std::fprintf(stderr, "fastprop_op_bits: there is no case of %s\n", op.name);
        ++missing;
    }
    return missing;
}

}  // namespace

int main() {
    const std::vector<OpCase> cases = all_cases();
    for (const OpCase& c : cases) {
        print_case<float>(c);
        print_case<double>(c);
    }
    for (const auto& [rows, in, out] :
         {std::array<Index, 3>{37, 19, 23}, {130, 700, 65}, {1, 33, 8}}) {
        print_packed<float>(rows, in, out);
        print_packed<double>(rows, in, out);
    }
    std::fprintf(stderr, "fastprop_op_bits: packets of %d floats\n", simd_width<float>());
    return count_missing(cases) == 0 ? 0 : 1;
}
