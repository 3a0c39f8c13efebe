#pragma once
/// @file
/// @brief One linear layer trained by SGD as a hand-made list of instructions.

#include <algorithm>
#include <cmath>
#include <vector>

#include "program/program.h"

namespace fastprop {

inline constexpr Index kRows = 23;  // not a multiple of the batch
inline constexpr Index kBatch = 5;
inline constexpr Index kIn = 3;
inline constexpr Index kOut = 2;

inline int code_of(const char* name) {
    return static_cast<int>(&find_op(name) - op_table().data());
}

inline Operand operand(Place place, int index, std::size_t offset, std::vector<Index> shape,
                       bool batched = false) {
    Operand o;
    o.place = place;
    o.index = index;
    o.offset = offset;
    o.rank = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), o.shape);
    o.batched = batched;
    return o;
}

inline Operand in_arena(std::size_t slot, std::vector<Index> shape, bool batched = true) {
    return operand(Place::arena, 0, slot * 256, std::move(shape), batched);
}

/// y = x W + b, mean squared error against t, one SGD step: everything that a Program consists of.
struct LinearModel {
    std::vector<float> x, t, w, b;
    std::vector<std::int64_t> order;
    std::vector<double> scalars;

    LinearModel() : x(kRows * kIn), t(kRows * kOut), w(kIn * kOut), b(kOut), order(kRows) {
        for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.7f * static_cast<float>(i));
        for (std::size_t i = 0; i < t.size(); ++i) t[i] = std::cos(0.3f * static_cast<float>(i));
        for (std::size_t i = 0; i < w.size(); ++i) w[i] = 0.1f * static_cast<float>(i);
        for (Index i = 0; i < kRows; ++i) order[static_cast<std::size_t>(i)] = (i * 7) % kRows;
        for (Index i = 0; i < ceil_div(kRows, kBatch); ++i) {
            scalars.push_back(0.05);  // learning rate
            scalars.push_back(1.0);   // factor of the gradient
        }
    }

    Program::Parts parts() {
        const Operand x_source = operand(Place::source, 0, 0, {kBatch, kIn}, true);
        const Operand t_source = operand(Place::source, 1, 0, {kBatch, kOut}, true);
        const Operand weights = operand(Place::buffer, 0, 0, {kIn, kOut});
        const Operand bias = operand(Place::buffer, 1, 0, {kOut});
        const Operand xb = in_arena(0, {kBatch, kIn}), tb = in_arena(1, {kBatch, kOut});
        const Operand y = in_arena(2, {kBatch, kOut}), dy = in_arena(3, {kBatch, kOut});
        const Operand g = in_arena(5, {kBatch});
        const Operand rows = in_arena(6, {kBatch}), dw = in_arena(7, {kIn, kOut}, false);
        const Operand db = in_arena(8, {kOut}, false), loss = in_arena(9, {}, false);
        const std::vector<double> sgd = {0, 0, 0, 0};
        Program::Parts parts;
        parts.arena_bytes = 10 * 256;
        parts.capacity = kBatch;
        parts.buffers = {{w.data(), w.size() * 4}, {b.data(), b.size() * 4}};
        parts.step = {
            {code_of("gather_rows"), {x_source}, {xb}, {}, false},
            {code_of("gather_rows"), {t_source}, {tb}, {}, false},
            {code_of("dense"), {xb, weights, bias}, {y}, {0, 0, 0}, false},
            {code_of("fill"), {}, {g}, {1.0 / kBatch}, false},
            {code_of("mse_fused"), {y, tb, g}, {rows, dy}, {1}, false},
            {code_of("dense_backward_weights"), {xb, dy}, {dw}, {}, true},
            {code_of("dense_backward_bias"), {dy}, {db}, {}, false},
            {code_of("sgd_update"), {dw}, {weights}, sgd, false},
            {code_of("sgd_update"), {db}, {bias}, sgd, false},
            {code_of("mean"), {rows}, {loss}, {1}, false},
        };
        parts.scalars = {loss};
        parts.rows = {y};
        return parts;
    }

    /// The same with the loss before the updates, and looked at there.
    Program::Parts guarded() {
        Program::Parts parts = this->parts();
        std::rotate(parts.step.end() - 3, parts.step.end() - 1, parts.step.end());
        parts.guard = static_cast<Index>(parts.step.size()) - 2;
        return parts;
    }

    /// The same in chunks of two rows, with what is local to the strip in memory of the thread.
    Program::Parts striped() {
        Program::Parts parts = this->parts();
        parts.chunks = 3;
        parts.scratch_bytes = 5 * 64;
        const Operand dw_parts = in_arena(10, {parts.chunks, kIn, kOut}, false);
        const Operand db_parts = in_arena(11, {parts.chunks, kOut}, false);
        parts.arena_bytes = 12 * 256;
        const Operand dw = parts.step[5].out[0], db = parts.step[6].out[0];
        const auto local = [](Operand& operand) {
            const std::size_t slot = operand.offset / 256;
            const bool kept = slot == 2 || slot == 6;  // y and the rows of the loss are read later
            if (operand.place != Place::arena || !operand.batched || kept) return;
            operand.place = Place::local;
            operand.offset = slot == 5 ? 2 * 64 : slot * 64;
        };
        parts.step[5] = {code_of("dense_backward_weights_parts"), parts.step[5].in, {dw_parts}, {}};
        parts.step[6] = {code_of("sum_parts"), parts.step[6].in, {db_parts}, {}};
        for (std::size_t i = 0; i < 7; ++i) {
            parts.step[i].by_chunks = true;
            parts.step[i].strip = 0;
            for (Operand& operand : parts.step[i].in) local(operand);
            for (Operand& operand : parts.step[i].out) local(operand);
        }
        const Instruction add_up[] = {{code_of("sum"), {dw_parts}, {dw}, {1}, true},
                                      {code_of("sum"), {db_parts}, {db}, {1}, false}};
        parts.step.insert(parts.step.begin() + 7, add_up, add_up + 2);
        return parts;
    }

    RunRequest request(std::vector<double>& values, std::vector<float>& outputs) {
        const Index steps = ceil_div(kRows, kBatch);
        values.assign(static_cast<std::size_t>(steps), 0.0);
        outputs.assign(static_cast<std::size_t>(kRows * kOut), 0.0f);
        RunRequest r;
        r.sources.resize(2);
        r.sources[0].data = x.data();
        r.sources[1].data = t.data();
        for (TensorView& s : r.sources) {
            s.rank = 2;
            s.shape[0] = kRows;
        }
        r.sources[0].shape[1] = kIn;
        r.sources[1].shape[1] = kOut;
        r.order = order.data();
        r.count = kRows;
        r.batch_size = kBatch;
        r.scalars = scalars.data();
        r.scalars_per_step = 2;
        r.values = values.data();
        r.results = {outputs.data()};
        return r;
    }

    /// The same training in plain loops; returns the losses.
    std::vector<double> reference() {
        std::vector<double> losses;
        for (Index start = 0; start < kRows; start += kBatch) {
            const Index n = std::min(kBatch, kRows - start);
            double dw[kIn][kOut] = {}, db[kOut] = {}, loss = 0;
            for (Index r = 0; r < n; ++r) {
                const auto row =
                    static_cast<std::size_t>(order[static_cast<std::size_t>(start + r)]);
                for (std::size_t j = 0; j < kOut; ++j) {
                    double y = b[j];
                    for (std::size_t i = 0; i < kIn; ++i) y += x[row * kIn + i] * w[i * kOut + j];
                    const double e = y - t[row * kOut + j];
                    loss += e * e / static_cast<double>(kOut * n);
                    const double dy = 2 * e / kOut / kBatch;
                    for (std::size_t i = 0; i < kIn; ++i) dw[i][j] += x[row * kIn + i] * dy;
                    db[j] += dy;
                }
            }
            for (std::size_t j = 0; j < kOut; ++j) {
                for (std::size_t i = 0; i < kIn; ++i)
                    w[i * kOut + j] -= static_cast<float>(0.05 * dw[i][j]);
                b[j] -= static_cast<float>(0.05 * db[j]);
            }
            losses.push_back(loss);
        }
        return losses;
    }
};

}  // namespace fastprop
