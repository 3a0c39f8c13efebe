/// @file
/// @brief Random arrays in the op table.
///
/// Attributes seed_lo and seed_hi are the halves of the 64-bit seed (a double holds 53 bits). A
/// negative `step` stands for the program's own seed and the number of its step.

#include "kernels/random.h"

#include "kernels/mixup.h"
#include "program/op.h"

namespace fastprop {
namespace {

std::uint32_t word_attr(const Call& call, int i) {
    return static_cast<std::uint32_t>(static_cast<std::int64_t>(call.attr(i)));
}

RandomStream stream_of(const Call& call) {
    RandomStream stream;
    stream.stream = word_attr(call, 2);
    if (call.attr(3) < 0.0 && call.step != nullptr) {
        stream.seed = call.step->seed;
        stream.step = static_cast<std::uint32_t>(call.step->step);
    } else {
        stream.seed = std::uint64_t{word_attr(call, 1)} << 32 | word_attr(call, 0);
        stream.step = word_attr(call, 3);
    }
    return stream;
}

template <class T>
using Fill = void (*)(const RandomStream&, T*, Index, Index, double, double);

template <class T, Fill<T> fill>
void random_kernel(const Call& call, const Team& team) {
    const TensorView& y = call.out[0];
    const Range rows = team.slice(y.rows());
    if (rows.empty()) return;
    const Index row_size = y.row_size();
    const Index first = rows.begin * row_size;
    fill(stream_of(call), y.as<T>() + first, first, rows.size() * row_size, call.attr(4),
         call.attr(5));
}

/// mixup(x) -> y: the batch mixed with its mirror image; attributes seed_lo, seed_hi, stream, step,
/// alpha.
template <class T>
void mixup_kernel(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    const Range rows = team.slice(x.rows());
    if (rows.empty()) return;
    mix_with_mirror(x.as<T>(), call.out[0].as<T>(), mixup_share(stream_of(call), call.attr(4)),
                    x.rows(), x.row_size(), rows.begin, rows.size());
}

void check_random(const Call& call) {
    for (int i = 0; i < 4; ++i)
        require(call.attr(i) >= -1.0 && call.attr(i) <= 4294967295.0,
                "random: seed_lo, seed_hi, stream and step are 32-bit numbers, got ", call.attr(i));
}

void check_mixup(const Call& call) {
    check_random(call);
    require(call.attr(4) > 0.0, "mixup: alpha must be positive, got ", call.attr(4));
    require(call.in[0].dtype == call.out[0].dtype && call.in[0].rows() == call.out[0].rows() &&
                call.in[0].size() == call.out[0].size(),
            "mixup: the output wants the shape and dtype of the input");
}

}  // namespace

std::vector<OpEntry> random_ops() {
    return {
        {"mixup",
         {"seed_lo", "seed_hi", "stream", "step", "alpha"},
         1,
         1,
         1,
         mixup_kernel<float>,
         mixup_kernel<double>,
         check_mixup},
        {"random_uniform",
         {"seed_lo", "seed_hi", "stream", "step", "lo", "hi"},
         0,
         0,
         1,
         random_kernel<float, random_uniform<float>>,
         random_kernel<double, random_uniform<double>>,
         check_random},
        {"random_normal",
         {"seed_lo", "seed_hi", "stream", "step", "mean", "std"},
         0,
         0,
         1,
         random_kernel<float, random_normal<float>>,
         random_kernel<double, random_normal<double>>,
         check_random},
    };
}

}  // namespace fastprop
