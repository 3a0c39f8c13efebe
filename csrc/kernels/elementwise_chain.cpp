#include "kernels/elementwise_chain.h"

#include <algorithm>

#include "core/packet.h"
#include "kernels/activation_functions.h"

namespace fastprop {
namespace {

using activation_detail::ActivationFunction;

/// Bytes of a register: a step's call costs little beside it, and a dozen of them fit in a
/// first-level cache beside the blocks of the arrays.
constexpr Index kRegisterBytes = 2048;

template <class T>
using Function = void (*)(const T* a, const T* b, T* y, Index n);

template <class T, ChainOp op>
EIGEN_STRONG_INLINE auto apply(const typename Simd<T>::Packet& a,
                               const typename Simd<T>::Packet& b) {
    if constexpr (op == ChainOp::add) return pk::padd(a, b);
    if constexpr (op == ChainOp::sub) return pk::psub(a, b);
    if constexpr (op == ChainOp::mul) return pk::pmul(a, b);
    if constexpr (op == ChainOp::div) return pk::pdiv(a, b);
    if constexpr (op == ChainOp::neg) return pk::pnegate(a);
    if constexpr (op == ChainOp::square) return pk::pmul(a, a);
    // As activation_backward does it.
    if constexpr (op == ChainOp::relu_backward) {
        const auto zero = Simd<T>::set(T(0));
        return pk::pselect(pk::pcmp_le(a, zero), zero, b);
    }
    if constexpr (op == ChainOp::sigmoid_backward)
        return pk::pmul(b, ActivationFunction<T, Activation::sigmoid>(0, 0).derivative(a));
    if constexpr (op == ChainOp::tanh_backward)
        return pk::pmul(b, ActivationFunction<T, Activation::tanh>(0, 0).derivative(a));
}

/// Four packets at a time: what a loop costs beside its arithmetic counts in a first-level cache.
template <class T, ChainOp op>
void run_step(const T* a, const T* b, T* y, Index n) {
    using S = Simd<T>;
    constexpr Index width = S::width;
    Index i = 0;
    for (; i + 4 * width <= n; i += 4 * width) {
        const auto y0 = apply<T, op>(S::load(a + i), S::load(b + i));
        const auto y1 = apply<T, op>(S::load(a + i + width), S::load(b + i + width));
        const auto y2 = apply<T, op>(S::load(a + i + 2 * width), S::load(b + i + 2 * width));
        const auto y3 = apply<T, op>(S::load(a + i + 3 * width), S::load(b + i + 3 * width));
        S::store(y + i, y0);
        S::store(y + i + width, y1);
        S::store(y + i + 2 * width, y2);
        S::store(y + i + 3 * width, y3);
    }
    map_packets(a + i, b + i, y + i, n - i,
                [](const auto& u, const auto& v) { return apply<T, op>(u, v); });
}

template <class T>
Function<T> function_of(ChainOp op) {
    static constexpr Function<T> kTable[kNumChainOps] = {
        run_step<T, ChainOp::add>,           run_step<T, ChainOp::sub>,
        run_step<T, ChainOp::mul>,           run_step<T, ChainOp::div>,
        run_step<T, ChainOp::neg>,           run_step<T, ChainOp::square>,
        run_step<T, ChainOp::relu_backward>, run_step<T, ChainOp::sigmoid_backward>,
        run_step<T, ChainOp::tanh_backward>,
    };
    return kTable[static_cast<int>(op)];
}

/// Where an operand is: in an array it moves on from block to block, in a register it does not.
template <class T>
struct Place {
    T* data;
    Index stride;
};

}  // namespace

template <class T>
void elementwise_chain(const ChainStep* steps, int num_steps, const ChainArray<T>* arrays,
                       int num_arrays, Index n) {
    if (n <= 0) return;
    constexpr Index kBlock = kRegisterBytes / Index{sizeof(T)};
    alignas(64) T registers[kMaxChainRegisters][kBlock];
    Place<T> places[kMaxChainArrays + kMaxChainRegisters];
    int used = 0;  // registers
    for (int i = 0; i < num_arrays; ++i) {
        places[i] = {arrays[i].data, 1};
        if (!arrays[i].scalar) continue;
        std::fill_n(registers[used], std::min(n, kBlock), *arrays[i].data);
        places[i] = {registers[used++], 0};
    }
    for (int i = num_arrays; used < kMaxChainRegisters; ++i) places[i] = {registers[used++], 0};

    Function<T> functions[kMaxChainSteps];
    for (int s = 0; s < num_steps; ++s) functions[s] = function_of<T>(steps[s].op);
    for (Index begin = 0; begin < n; begin += kBlock) {
        const Index size = std::min(kBlock, n - begin);
        const auto at = [&](int i) { return places[i].data + places[i].stride * begin; };
        for (int s = 0; s < num_steps; ++s)
            functions[s](at(steps[s].a), at(steps[s].b), at(steps[s].y), size);
    }
}

template void elementwise_chain(const ChainStep*, int, const ChainArray<float>*, int, Index);
template void elementwise_chain(const ChainStep*, int, const ChainArray<double>*, int, Index);

}  // namespace fastprop
