#include "kernels/elementwise_chain.h"

#include <algorithm>

#include "core/packet.h"
#include "kernels/activation.h"

namespace fastprop {
namespace {

/// Bytes of a register: a step's call costs little beside it, and a dozen of them fit in a
/// first-level cache beside the blocks of the arrays.
constexpr Index kRegisterBytes = 2048;

template <class T>
using Function = void (*)(const T* a, const T* b, T* y, Index n);

template <class T, ChainOp op>
void binary_step(const T* a, const T* b, T* y, Index n) {
    using P = typename Simd<T>::Packet;
    map_packets(a, b, y, n, [](const P& u, const P& v) {
        if constexpr (op == ChainOp::add) return pk::padd(u, v);
        if constexpr (op == ChainOp::sub) return pk::psub(u, v);
        if constexpr (op == ChainOp::mul) return pk::pmul(u, v);
        if constexpr (op == ChainOp::div) return pk::pdiv(u, v);
    });
}

template <class T, ChainOp op>
void unary_step(const T* a, const T*, T* y, Index n) {
    using P = typename Simd<T>::Packet;
    map_packets(a, y, n, [](const P& u) {
        if constexpr (op == ChainOp::neg) return pk::pnegate(u);
        if constexpr (op == ChainOp::square) return pk::pmul(u, u);
    });
}

template <class T, Activation kind>
void backward_step(const T* h, const T* dy, T* dx, Index n) {
    activation_backward<T>(kind, T(0), T(0), h, dy, dx, n);
}

template <class T>
Function<T> function_of(ChainOp op) {
    static constexpr Function<T> kTable[kNumChainOps] = {
        binary_step<T, ChainOp::add>,         binary_step<T, ChainOp::sub>,
        binary_step<T, ChainOp::mul>,         binary_step<T, ChainOp::div>,
        unary_step<T, ChainOp::neg>,          unary_step<T, ChainOp::square>,
        backward_step<T, Activation::relu>,   backward_step<T, Activation::sigmoid>,
        backward_step<T, Activation::tanh>,
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
