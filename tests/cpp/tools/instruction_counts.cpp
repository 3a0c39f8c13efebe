// fastprop_instructions NAME N: runs one piece of work N times on one thread, for a tool that
// counts instructions (tests/instruction_counts.py). Without arguments: the compiler and Eigen that
// built it, then the names.

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "core/cpu_info.h"
#include "core/level.h"
#include "kernels/activation.h"
#include "kernels/gemm.h"
#include "mlp.h"
#include "op_cases.h"
#include "reference.h"

namespace {

using namespace fastprop;
using namespace fastprop::test;

struct Work {
    std::string name;
    std::function<void(int)> run;
};

/// One kernel of each family, on float32 arrays that fit in a first-level cache.
std::vector<OpCase> kernel_cases() {
    const auto kind = [](Activation a) { return static_cast<double>(a); };
    const Shape x = {32, 64}, rows = {32}, w = {64, 96}, y = {32, 96};
    return {
        {"matmul", {x, w}, {y}, {0, 0}},
        {"dense", {x, w, {96}}, {y}, {kind(Activation::relu), 0, 0}},
        {"dense_backward_data", {y, w, x}, {x}, {kind(Activation::relu), 0, 0}},
        {"dense_backward_weights", {x, y}, {w}, {}},
        {"dense_backward_bias", {y}, {{96}}, {}},
        {"activation", {x}, {x}, {kind(Activation::gelu), 0, 0}, -1, 1, " gelu"},
        {"activation_backward", {x, x}, {x}, {kind(Activation::tanh), 0, 0}, -1, 1, " tanh"},
        {"exp", {x}, {x}, {}},
        {"add", {x, {64}}, {x}, {}},
        {"prelu", {x, {64}}, {x}, {}},
        {"softmax", {x}, {x}, {}},
        {"sum", {x}, {{64}}, {1}, -1, 1, " of rows"},
        {"sum", {x}, {rows}, {2}, -1, 1, " of columns"},
        {"transpose", {x}, {{64, 32}}, {1, 0, 0, 0, 0, 0, 0, 0}},
        {"mse_fused", {x, x, rows}, {rows, x}, {1}},
        {"cross_entropy_fused", {{32, 10}, rows, rows}, {rows, {32, 10}}, {0}, 1, 10},
        {"adam_update", {x}, {x, x, x}, {0, 0.9, 0.999, 1e-8, 0}},
        {"random_normal", {}, {x}, {1, 2, 3, 4, 0, 1}},
        {"gather_rows", {x, rows}, {x}, {}, 1, 32},
        {"top_k_correct", {x, rows}, {rows}, {1}, 1, 64},
    };
}

/// A product whose left operand is what ReLU leaves, with fewer positive than negative values.
void multiply_zeros(int times) {
    const Index m = 32, n = 96, k = 64;
    std::vector<float> a = random_values<float>(m * k, 1), c(static_cast<std::size_t>(m * n));
    for (float& x : a) x = std::max(x - 0.4f, 0.0f);
    const std::vector<float> b = random_values<float>(k * n, 2);
    for (int i = 0; i < times; ++i) gemm<float>({a.data(), k}, {b.data(), n}, c.data(), n, m, n, k);
}

std::vector<Work> all_work() {
    std::vector<Work> work;
    work.push_back({"training step", [](int times) {
                        bench::Mlp mlp({20, 64, 48, 10}, 32);
                        Program program = mlp.program();
                        mlp.run(program, times, 1);
                    }});
    work.push_back({"product of zeros", &multiply_zeros});
    for (const OpCase& c : kernel_cases()) {
        work.push_back({c.op + c.note, [c](int times) {
                            OpArrays<float> arrays(c);
                            for (int i = 0; i < times; ++i) arrays.run();
                        }});
    }
    return work;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<Work> all = all_work();
    if (argc != 3) {
        std::printf("%s, Eigen %s\n", compiler_name().c_str(), eigen_version().c_str());
        for (const Work& work : all) std::printf("%s\n", work.name.c_str());
        return 0;
    }
    for (const Work& work : all) {
        if (work.name != argv[1]) continue;
        work.run(std::atoi(argv[2]));
        return 0;
    }
    std::fprintf(stderr, "fastprop_instructions: there is no work named %s\n", argv[1]);
    return 2;
}
