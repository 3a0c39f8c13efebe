/// @file
/// @brief Random arrays, dropout and noise in the op table.
///
/// Attributes seed_lo and seed_hi are the halves of the 64-bit seed (a double holds 53 bits). A
/// negative `step` stands for the program's own seed and the number of its step. dropout_mask and
/// gaussian_noise take the four numbers from a second input instead, int64 [4], where there is one:
/// an eager call has a stream of its own, and its attributes stay the same from call to call.

#include "kernels/random.h"

#include "kernels/dropout.h"
#include "kernels/mixup.h"
#include "program/operands.h"

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

RandomStream stream_of_key(const Call& call) {
    if (!call.has(1)) return stream_of(call);
    const std::int64_t* key = input<std::int64_t>(call, 1);
    RandomStream stream;
    stream.seed = static_cast<std::uint64_t>(key[1]) << 32 | static_cast<std::uint32_t>(key[0]);
    stream.stream = static_cast<std::uint32_t>(key[2]);
    stream.step = static_cast<std::uint32_t>(key[3]);
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

/// mixup(x) -> y: the batch mixed with itself, shifted by some rows; attributes seed_lo, seed_hi,
/// stream, step, alpha, back (1 shifts to the other side, which is the derivative).
template <class T>
void mixup_kernel(const Call& call, const Team& team) {
    const TensorView& x = call.in[0];
    const Range rows = team.slice(x.rows());
    if (rows.empty()) return;
    const RandomStream stream = stream_of(call);
    Index shift = mixup_shift(stream, x.rows());
    if (call.attr(5) != 0.0 && shift != 0) shift = x.rows() - shift;
    mix_with_shifted(x.as<T>(), call.out[0].as<T>(), mixup_share(stream, call.attr(4)), shift,
                     x.rows(), x.row_size(), rows.begin, rows.size());
}

void check_random(const Call& call) {
    for (int i = 0; i < 4; ++i)
        require(call.attr(i) >= -1.0 && call.attr(i) <= 4294967295.0,
                "random: seed_lo, seed_hi, stream and step are 32-bit numbers, got ", call.attr(i));
}

/// Of x only the shape counts.
void dropout_mask_kernel(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    dropout_mask(stream_of_key(call), output<std::uint8_t>(call) + r.begin, r.begin, r.size(),
                 call.attr(4));
}

/// mask, x
template <class T>
void dropout_kernel(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    dropout(input<std::uint8_t>(call, 0) + r.begin, input<T>(call, 1) + r.begin,
            output<T>(call) + r.begin, r.size(), {call.attr(0), call.attr(1), call.attr(2)});
}

template <class T>
void noise_kernel(const Call& call, const Team& team) {
    const Range r = own_elements(call, team);
    add_normal(stream_of_key(call), input<T>(call, 0) + r.begin, output<T>(call) + r.begin, r.begin,
               r.size(), call.attr(4));
}

void check_keyed(const Call& call) {
    check_random(call);
    require_size_of_output("random", call, 0);
    require(!call.has(1) || (call.in[1].dtype == DType::i64 && call.in[1].size() == 4),
            "random: the key wants 4 int64, got ", call.in[1].size(), " ",
            dtype_name(call.in[1].dtype));
}

void check_dropout_mask(const Call& call) {
    check_keyed(call);
    require(call.out[0].dtype == DType::u8, "dropout_mask: the output is ",
            dtype_name(call.out[0].dtype), ", wants uint8");
    require(call.attr(4) >= 0.0 && call.attr(4) < 1.0, "dropout_mask: p must be in [0, 1), got ",
            call.attr(4));
}

void check_dropout(const Call& call) {
    require(call.in[0].dtype == DType::u8 && call.in[1].dtype == call.out[0].dtype,
            "dropout: wants a mask of uint8 and an input of the output's dtype, got ",
            dtype_name(call.in[0].dtype), " and ", dtype_name(call.in[1].dtype));
    require_sizes_of_output("dropout", call);
}

void check_noise(const Call& call) {
    check_keyed(call);
    require(call.in[0].dtype == call.out[0].dtype, "gaussian_noise: the input is ",
            dtype_name(call.in[0].dtype), ", the output ", dtype_name(call.out[0].dtype));
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
         {"seed_lo", "seed_hi", "stream", "step", "alpha", "back"},
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
        {"dropout_mask",
         {"seed_lo", "seed_hi", "stream", "step", "p"},
         1,
         2,
         1,
         dropout_mask_kernel,
         dropout_mask_kernel,
         check_dropout_mask},
        {"dropout",
         {"scale", "shift", "fill"},
         2,
         2,
         1,
         dropout_kernel<float>,
         dropout_kernel<double>,
         check_dropout},
        {"gaussian_noise",
         {"seed_lo", "seed_hi", "stream", "step", "std"},
         1,
         2,
         1,
         noise_kernel<float>,
         noise_kernel<double>,
         check_noise},
    };
}

}  // namespace fastprop
