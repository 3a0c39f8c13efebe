// The dense layer's four products on one thread, as a training step calls them: packed operands,
// epilogues fused.
//
//     fastprop_bench_v3 --benchmark_filter=dense

#include <functional>
#include <string>
#include <vector>

#include "kernels/dense.h"
#include "kernels/pack.h"
#include "machine.h"

namespace fastprop::bench {
namespace {

template <class T>
struct Layer {
    Index rows, in, out;
    std::vector<T> x, w, b, dz, y, dx, dw, db, wp, wtp, dzp;
    ActivationSpec<T> f;

    Layer(Index r, Index i, Index o, Activation kind) : rows(r), in(i), out(o) {
        f.kind = kind;
        f.p0 = T(1);
        fill(x, rows * in, 1);
        fill(w, in * out, 2);
        fill(b, out, 3);
        fill(dz, rows * out, 4);
        y.resize(dz.size());
        dx.resize(x.size());
        dw.resize(w.size());
        db.resize(b.size());
        wp.resize(static_cast<std::size_t>(packed_size<T>(in, out)));
        wtp.resize(static_cast<std::size_t>(packed_size<T>(out, in)));
        dzp.resize(static_cast<std::size_t>(packed_size<T>(rows, out)));
        pack_rows(w.data(), wp.data(), in, out, {0, in});
        pack_rows_transposed(w.data(), wtp.data(), in, out, {0, in});
    }

    static void fill(std::vector<T>& v, Index n, unsigned seed) {
        v.resize(static_cast<std::size_t>(n));
        for (T& value : v) {
            seed = seed * 1664525u + 1013904223u;
            value = static_cast<T>(seed >> 8) / static_cast<T>(1 << 23) - T(1);
        }
    }

    void forward() {
        dense_forward_packed<T>(x.data(), wp.data(), b.data(), y.data(), nullptr, rows, in, out, f);
    }
    void backward_data() {
        dense_backward_data_packed<T>(dz.data(), wtp.data(), x.data(), dx.data(), rows, in, out, f);
    }
    /// With the packing of dz that it needs.
    void backward_weights() {
        pack_rows(dz.data(), dzp.data(), rows, out, {0, rows});
        dense_backward_weights_packed(x.data(), dzp.data(), dw.data(), rows, in, out, {0, in});
    }
    void backward_bias() { dense_backward_bias(dz.data(), db.data(), rows, out, {0, out}); }
};

/// Packed and unpacked kernels must give the same bits; the unit tests hold the latter to a
/// reference.
template <class T>
bool verify_layer(benchmark::State& state, Layer<T>& l) {
    std::vector<T> y(l.y.size()), dx(l.dx.size()), dw(l.dw.size());
    dense_forward<T>(l.x.data(), l.w.data(), l.b.data(), y.data(), nullptr, l.rows, l.in, l.out,
                     l.f);
    dense_backward_data<T>(l.dz.data(), l.w.data(), l.x.data(), dx.data(), l.rows, l.in, l.out,
                           l.f);
    dense_backward_weights(l.x.data(), l.dz.data(), dw.data(), l.rows, l.in, l.out, {0, l.in});
    l.forward();
    l.backward_data();
    l.backward_weights();
    return verify(state, l.y, y, 0) && verify(state, l.dx, dx, 0) && verify(state, l.dw, dw, 0);
}

template <class T>
void measure(benchmark::State& state, Index rows, Index in, Index out, Activation kind,
             void (Layer<T>::*work)(), bool is_product) {
    Layer<T> l(rows, in, out, kind);
    if (!verify_layer(state, l)) return;
    for (auto _ : state) {
        (l.*work)();
        benchmark::ClobberMemory();
    }
    const double flops = 2.0 * static_cast<double>(rows * in) * static_cast<double>(out);
    report<T>(state, is_product ? flops : 0,
              is_product ? 0 : static_cast<double>(l.dz.size()) * sizeof(T));
}

template <class T>
void register_layer(const char* dtype, Index rows, Index in, Index out, Activation kind) {
    struct Work {
        const char* name;
        void (Layer<T>::*run)();
        bool is_product;
    };
    const Work works[] = {{"forward", &Layer<T>::forward, true},
                          {"backward_data", &Layer<T>::backward_data, true},
                          {"backward_weights", &Layer<T>::backward_weights, true},
                          {"backward_bias", &Layer<T>::backward_bias, false}};
    for (const Work& work : works) {
        const std::string name = std::string("dense_") + work.name + "/" + dtype + "/" +
                                 activation_name(kind) + "/" + std::to_string(rows) + "x" +
                                 std::to_string(in) + "x" + std::to_string(out);
        benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
            measure<T>(state, rows, in, out, kind, work.run, work.is_product);
        });
    }
}

void register_all() {
    const Index shapes[][3] = {{32, 4, 64},    {32, 64, 64},    {32, 64, 1},      {256, 100, 256},
                               {256, 128, 10}, {128, 784, 512}, {512, 1024, 1024}};
    for (const auto& s : shapes) register_layer<float>("f32", s[0], s[1], s[2], Activation::relu);
    register_layer<float>("f32", 128, 784, 512, Activation::tanh);
    register_layer<double>("f64", 128, 784, 512, Activation::relu);
}

[[maybe_unused]] const bool registered = (register_all(), true);

}  // namespace
}  // namespace fastprop::bench
