#pragma once
/// @file
/// @brief A call of every op of the table, in shapes that fill packets, blocks and their ends.

#include <string>
#include <vector>

#include "op_runner.h"

namespace fastprop::test {

/// Inputs are of the op's dtype but for the one at `labels`, int64 on [0, classes), and the one at
/// `mask`, uint8.
struct OpCase {
    std::string op;
    std::vector<Shape> in;  ///< an empty vector is a scalar
    std::vector<Shape> out;
    std::vector<double> attrs;
    int labels = -1;
    Index classes = 1;
    std::string note = {};  ///< tells cases of one op apart
    int mask = -1;
};

std::vector<OpCase> elementwise_cases();
std::vector<OpCase> row_cases();  ///< softmax, prelu, reductions, layout
std::vector<OpCase> loss_cases();
std::vector<OpCase> linear_cases();     ///< without the packed forms
std::vector<OpCase> index_cases();      ///< parts of arrays, elements by index, running sums
std::vector<OpCase> remaining_cases();  ///< updates, random numbers, data

/// Every op but those with operands packed for this level.
std::vector<OpCase> all_cases();

/// The arrays of one call.
template <class T>
class OpArrays {
public:
    explicit OpArrays(const OpCase& c);

    void run(int threads = 1);
    const std::vector<std::vector<T>>& outputs() const { return out_; }

private:
    const OpCase& case_;
    std::vector<std::vector<T>> in_, out_;
    std::vector<std::int64_t> labels_;
    std::vector<std::uint8_t> mask_;
    std::vector<TensorView> in_views_, out_views_;
};

}  // namespace fastprop::test
