#pragma once
/// @file
/// @brief Whole training steps of dense networks, laid out by hand as fastprop's Python layer lays
/// them out.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/philox.h"
#include "kernels/pack.h"
#include "program/program.h"

namespace fastprop::bench {

/// A ReLU network with mean squared error and Adam: its memory, and its Program.
class Mlp {
public:
    Mlp(std::vector<Index> widths, Index batch)
        : widths_(std::move(widths)), batch_(batch), order_(static_cast<std::size_t>(batch)) {
        for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<std::int64_t>(i);
        x_ = random(batch * widths_.front(), 1.0f);
        t_ = random(batch * widths_.back(), 1.0f);
        parts_.capacity = batch;
        build();
        parts_.arena_bytes = top_;
    }

    Program program() const { return Program(parts_); }

    /// Runs `steps` steps on the same batch; returns the last loss.
    double run(Program& program, Index steps, int threads) {
        std::vector<std::int64_t> order;
        std::vector<double> scalars;
        for (Index s = 0; s < steps; ++s) {
            order.insert(order.end(), order_.begin(), order_.end());
            const double t = static_cast<double>(++step_);
            scalars.insert(scalars.end(), {1e-3, 1e-3 / (1 - std::pow(0.9, t)),
                                           1 / std::sqrt(1 - std::pow(0.999, t))});
        }
        std::vector<double> values(static_cast<std::size_t>(steps));
        RunRequest request;
        request.sources = {view(x_, widths_.front()), view(t_, widths_.back())};
        request.order = order.data();
        request.count = steps * batch_;
        request.batch_size = batch_;
        request.scalars = scalars.data();
        request.scalars_per_step = 3;
        request.values = values.data();
        request.threads = threads;
        program.run(request);
        return values.back();
    }

    /// Loss of the present weights, in plain double loops.
    double reference_loss() const {
        double loss = 0;
        const auto rows = static_cast<std::size_t>(batch_);
        for (std::size_t r = 0; r < rows; ++r) {
            const auto in = static_cast<std::size_t>(widths_.front());
            std::vector<double> y(x_.begin() + static_cast<std::ptrdiff_t>(r * in),
                                  x_.begin() + static_cast<std::ptrdiff_t>((r + 1) * in));
            for (std::size_t l = 0; l + 1 < widths_.size(); ++l) y = layer(l, y);
            const auto out = y.size();
            for (std::size_t j = 0; j < out; ++j)
                loss += std::pow(y[j] - t_[r * out + j], 2) / static_cast<double>(out * rows);
        }
        return loss;
    }

    /// Multiply-adds count as two; the first layer needs no dx.
    double flops() const {
        double sum = 0;
        for (std::size_t l = 0; l + 1 < widths_.size(); ++l)
            sum += (l == 0 ? 4.0 : 6.0) * static_cast<double>(batch_ * widths_[l] * widths_[l + 1]);
        return sum;
    }

    /// Adam reads g, w, m, v and writes w, m, v.
    double update_bytes() const {
        double n = 0;
        for (std::size_t l = 0; l + 1 < widths_.size(); ++l)
            n += static_cast<double>((widths_[l] + 1) * widths_[l + 1]);
        return 7 * sizeof(float) * n;
    }

private:
    struct Layer {
        std::vector<float> w, b;
        std::vector<float> state[4];  // m, v of w; m, v of b
    };

    std::vector<float> random(Index n, float scale) {
        std::vector<float> values(static_cast<std::size_t>(n));
        for (std::size_t i = 0; i < values.size(); ++i)
            values[i] = scale * (2 * uniform_float(philox_block(1, stream_, 0, i)[0]) - 1);
        ++stream_;
        return values;
    }

    std::vector<double> layer(std::size_t l, const std::vector<double>& x) const {
        const auto out = static_cast<std::size_t>(widths_[l + 1]);
        std::vector<double> y(layers_[l].b.begin(), layers_[l].b.end());
        for (std::size_t i = 0; i < x.size(); ++i)
            for (std::size_t j = 0; j < out; ++j) y[j] += x[i] * layers_[l].w[i * out + j];
        if (l + 2 < widths_.size())
            for (double& v : y) v = v > 0 ? v : 0;
        return y;
    }

    TensorView view(const std::vector<float>& data, Index width) const {
        TensorView v;
        v.data = const_cast<float*>(data.data());
        v.rank = 2;
        v.shape[0] = batch_;
        v.shape[1] = width;
        return v;
    }

    Operand arena(std::vector<Index> shape, bool batched) {
        Operand o;
        o.place = Place::arena;
        o.offset = top_;
        o.rank = static_cast<int>(shape.size());
        o.batched = batched;
        std::size_t size = sizeof(float);
        for (std::size_t i = 0; i < shape.size(); ++i) {
            o.shape[i] = shape[i];
            size *= static_cast<std::size_t>(shape[i]);
        }
        top_ += align_up(size);
        return o;
    }

    Operand buffer(std::vector<float>& data, std::vector<Index> shape) {
        Operand o;
        o.place = Place::buffer;
        o.index = static_cast<int>(parts_.buffers.size());
        o.rank = static_cast<int>(shape.size());
        for (std::size_t i = 0; i < shape.size(); ++i) o.shape[i] = shape[i];
        parts_.buffers.push_back({data.data(), data.size() * sizeof(float)});
        return o;
    }

    Operand source(int index, Index width) const {
        Operand o;
        o.place = Place::source;
        o.index = index;
        o.rank = 2;
        o.shape[0] = batch_;
        o.shape[1] = width;
        o.batched = true;
        return o;
    }

    void add(const char* op, std::vector<Operand> in, std::vector<Operand> out,
             std::vector<double> attrs, bool barrier = false) {
        const int code = static_cast<int>(&find_op(op) - op_table().data());
        parts_.step.push_back({code, std::move(in), std::move(out), std::move(attrs), barrier});
    }

    void build() {
        const std::size_t count = widths_.size() - 1;
        layers_.resize(count);
        std::vector<Operand> w, b, wp, wtp, h = {arena({batch_, widths_[0]}, true)};
        const Operand t = arena({batch_, widths_.back()}, true);
        add("gather_rows", {source(0, widths_.front())}, {h[0]}, {});
        add("gather_rows", {source(1, widths_.back())}, {t}, {});
        for (std::size_t l = 0; l < count; ++l) {
            const Index in = widths_[l], out = widths_[l + 1];
            layers_[l].w = random(in * out, std::sqrt(6.0f / static_cast<float>(in + out)));
            layers_[l].b.assign(static_cast<std::size_t>(out), 0.0f);
            w.push_back(buffer(layers_[l].w, {in, out}));
            b.push_back(buffer(layers_[l].b, {out}));
            wp.push_back(arena({packed_size<float>(in, out)}, false));
            wtp.push_back(arena({packed_size<float>(out, in)}, false));
            h.push_back(arena({batch_, out}, true));
            const double relu = l + 1 < count ? 1 : 0;
            add("dense_packed", {h[l], wp[l], b[l]}, {h[l + 1]},
                {relu, 0, 0, static_cast<double>(out)});
        }
        const Operand g = arena({batch_}, true), rows = arena({batch_}, true);
        Operand dz = arena({batch_, widths_.back()}, true);
        add("fill", {}, {g}, {1.0 / static_cast<double>(batch_)});
        add("mse_fused", {h[count], t, g}, {rows, dz}, {1});
        std::vector<Operand> dzs(count), dzp(count);
        for (std::size_t l = count; l-- > 0;) {
            dzs[l] = dz;
            dzp[l] = arena({packed_size<float>(batch_, widths_[l + 1])}, false);
            add("pack_rows", {dz}, {dzp[l]}, {});
            if (l == 0) break;
            dz = arena({batch_, widths_[l]}, true);
            add("dense_backward_data_packed", {dzs[l], wtp[l], h[l]}, {dz}, {1, 0, 0});
        }
        const Operand loss = arena({}, false);
        add("mean", {rows}, {loss}, {1}, true);
        for (std::size_t l = count; l-- > 0;)
            build_update(l, h[l], dzs[l], dzp[l], w[l], b[l], wp[l], wtp[l]);
        parts_.scalars = {loss};
    }

    void build_update(std::size_t l, const Operand& x, const Operand& dz, const Operand& dzp,
                      const Operand& w, const Operand& b, const Operand& wp, const Operand& wtp) {
        const Index in = widths_[l], out = widths_[l + 1];
        const std::vector<double> adam = {0, 0.9, 0.999, 1e-8, 0};
        Layer& layer = layers_[l];
        for (int i = 0; i < 4; ++i)
            layer.state[i].assign(i < 2 ? layer.w.size() : layer.b.size(), 0.0f);
        const Operand dw = arena({in, out}, false), db = arena({out}, false);
        add("dense_backward_weights_packed", {x, dzp}, {dw}, {static_cast<double>(out)});
        add("adam_update", {dw},
            {w, buffer(layer.state[0], {in, out}), buffer(layer.state[1], {in, out})}, adam);
        for (const bool transposed : {false, true}) {
            if (transposed && l == 0) continue;  // nobody asks for dx of the input
            add(transposed ? "pack_weights_transposed" : "pack_weights", {w},
                {transposed ? wtp : wp}, {});
            parts_.prologue.push_back(parts_.step.back());
        }
        add("dense_backward_bias", {dz}, {db}, {});
        add("adam_update", {db}, {b, buffer(layer.state[2], {out}), buffer(layer.state[3], {out})},
            adam);
    }

    std::vector<Index> widths_;
    Index batch_;
    std::vector<std::int64_t> order_;
    std::vector<float> x_, t_;
    std::vector<Layer> layers_;
    Program::Parts parts_;
    std::size_t top_ = 0;
    std::int64_t step_ = 0;
    std::uint32_t stream_ = 0;
};

}  // namespace fastprop::bench
