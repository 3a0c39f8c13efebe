#include "program/strips.h"

#include <map>

namespace fastprop {
namespace {

void check_local(const Operand& operand, const Program::Parts& parts, bool inside) {
    if (operand.place != Place::local) return;
    require(inside && operand.batched, "Program: a local operand must be batched, in a strip");
    const std::size_t bytes =
        row_bytes(operand) * static_cast<std::size_t>(rows_of_chunk(parts.capacity, parts.chunks));
    require(operand.offset <= parts.scratch_bytes && bytes <= parts.scratch_bytes - operand.offset,
            "Program: a local operand of ", bytes, " bytes at ", operand.offset,
            " lies outside the local memory of ", parts.scratch_bytes);
}

void check_operands(const Instruction& instruction, const Program::Parts& parts, bool inside) {
    for (const Operand& operand : instruction.in) check_local(operand, parts, inside);
    for (const Operand& operand : instruction.out) check_local(operand, parts, inside);
}

}  // namespace

std::size_t row_bytes(const Operand& operand) {
    std::size_t bytes = dtype_size(operand.dtype);
    for (int i = 1; i < operand.rank; ++i) bytes *= static_cast<std::size_t>(operand.shape[i]);
    return bytes;
}

Index rows_of_chunk(Index capacity, Index chunks) {
    if (capacity < 16 * chunks) return ceil_div(capacity, chunks);
    return 4 * ceil_div(ceil_div(capacity, 4), chunks);
}

void check_strips(const Program::Parts& parts) {
    require(parts.chunks >= 0, "Program: ", parts.chunks, " chunks");
    for (const Instruction& item : parts.prologue) {
        require(!item.by_chunks && item.strip < 0, "Program: the prologue has no batch");
        check_operands(item, parts, false);
    }
    std::map<int, std::size_t> ends;  // of the strips that have begun
    for (std::size_t i = 0; i < parts.step.size(); ++i) {
        const Instruction& item = parts.step[i];
        require(!item.by_chunks || parts.chunks > 0, "Program: there are no chunks");
        check_operands(item, parts, item.strip >= 0);
        if (item.strip < 0) continue;
        const bool goes_on = ends.count(item.strip) > 0;
        require(item.by_chunks, "Program: what is in a strip goes by chunks");
        require(!goes_on || (ends[item.strip] == i && !item.barrier &&
                             parts.guard != static_cast<Index>(i)),
                "Program: strip ", item.strip, " is interrupted by instruction ", i);
        ends[item.strip] = i + 1;
    }
    for (const std::vector<Operand>* outputs : {&parts.scalars, &parts.rows})
        for (const Operand& operand : *outputs) check_local(operand, parts, false);
}

std::vector<std::size_t> strip_ends(const Program::Parts& parts) {
    const std::vector<Instruction>& step = parts.step;
    std::vector<std::size_t> ends(step.size());
    for (std::size_t i = step.size(); i-- > 0;) {
        if (step[i].strip < 0) continue;
        const bool goes_on = i + 1 < step.size() && step[i + 1].strip == step[i].strip;
        ends[i] = goes_on ? ends[i + 1] : i + 1;
    }
    return ends;
}

}  // namespace fastprop
