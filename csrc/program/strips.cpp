#include "program/strips.h"

#include <cstring>

namespace fastprop {
namespace {

/// Bytes of a row up to which a strip of an array stays in a second-level cache until the next
/// instruction reads it.
constexpr std::size_t kRowBytes = 128;

bool fits(const Instruction& instruction) {
    const Operand& out = instruction.out[0];
    const OpEntry& op = op_table()[static_cast<std::size_t>(instruction.op)];
    // What the host computes takes all rows at once.
    if (!out.batched || std::strcmp(op.name, "host_call") == 0) return false;
    std::size_t bytes = dtype_size(out.dtype);
    for (int i = 1; i < out.rank; ++i) bytes *= static_cast<std::size_t>(out.shape[i]);
    return bytes <= kRowBytes;
}

}  // namespace

std::vector<std::size_t> strip_runs(const std::vector<Instruction>& step, Index guard) {
    std::vector<std::size_t> ends(step.size());
    for (std::size_t i = step.size(); i-- > 0;) {
        const std::size_t next = i + 1;
        const bool goes_on = next < step.size() && static_cast<Index>(next) != guard &&
                             !step[next].barrier && ends[next] > next;
        ends[i] = !fits(step[i]) ? i : goes_on ? ends[next] : next;
    }
    return ends;
}

}  // namespace fastprop
