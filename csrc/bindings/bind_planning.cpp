#include <pybind11/stl.h>

#include <tuple>
#include <utility>
#include <vector>

#include "bindings/bindings.h"
#include "core/check.h"
#include "program/arena_plan.h"
#include "program/place_buffers.h"

namespace py = pybind11;

namespace fastprop {
namespace {

using ValueFields = std::tuple<std::size_t, int, int, bool>;
using ItemFields =
    std::tuple<int, std::vector<std::pair<int, bool>>, std::vector<int>, int, std::vector<int>>;

ArenaPlan arena_plan_from(const std::vector<ValueFields>& values,
                          const std::vector<ItemFields>& items, const std::vector<int>& kept) {
    const int count = static_cast<int>(values.size());
    const auto check = [count](int value) {
        require(value >= 0 && value < count, "ArenaPlan: there is no value ", value);
    };
    std::vector<PlanValue> plan_values;
    plan_values.reserve(values.size());
    for (const auto& [bytes, key, columns, in_arena] : values)
        plan_values.push_back({bytes, key, columns, in_arena});
    std::vector<PlanItem> plan_items;
    plan_items.reserve(items.size());
    for (const auto& [key, reads, writes, last_output, replaceable] : items) {
        for (const auto& read : reads) check(read.first);
        for (const int value : writes) check(value);
        for (const int value : replaceable) check(value);
        plan_items.push_back({key, reads, writes, last_output, replaceable});
    }
    for (const int value : kept) check(value);
    return {std::move(plan_values), std::move(plan_items), kept};
}

PhasedOrder order_from(const ArenaPlan& plan, std::vector<int> items, std::vector<int> phases) {
    require(items.size() == phases.size(), "ArenaPlan: ", items.size(), " instructions, ",
            phases.size(), " phases");
    for (const int item : items)
        require(item >= 0 && static_cast<std::size_t>(item) < plan.num_items(),
                "ArenaPlan: there is no instruction ", item);
    return {std::move(items), std::move(phases)};
}

/// A method of an order that is given as instructions and phases.
template <auto method>
auto of_order(const ArenaPlan& plan, std::vector<int> items, std::vector<int> phases) {
    return (plan.*method)(order_from(plan, std::move(items), std::move(phases)));
}

using Placed = std::tuple<std::size_t, int, int, std::size_t, std::vector<int>>;

std::vector<Placed> placed(const ArenaPlan& plan, std::vector<int> items, std::vector<int> phases) {
    std::vector<BufferWish> wishes;
    std::vector<SharedBuffer> buffers =
        plan.buffers(order_from(plan, std::move(items), std::move(phases)));
    for (const SharedBuffer& buffer : buffers) wishes.push_back(buffer.wish);
    const std::vector<std::size_t> offsets = place_buffers(wishes);
    std::vector<Placed> found;
    for (std::size_t i = 0; i < buffers.size(); ++i)
        found.emplace_back(wishes[i].bytes, wishes[i].start, wishes[i].end, offsets[i],
                           std::move(buffers[i].values));
    return found;
}

}  // namespace

void bind_planning(py::module_& m) {
    m.def(
        "place_buffers",
        [](const std::vector<std::tuple<std::size_t, int, int>>& wishes) {
            std::vector<BufferWish> list;
            for (const auto& [bytes, start, end] : wishes) list.push_back({bytes, start, end});
            return place_buffers(list);
        },
        py::arg("wishes"),
        "Offsets in an arena for (bytes, start, end): from the largest to the smallest, each into "
        "the tightest gap among those that live when it does.");
    py::class_<ArenaPlan>(m, "ArenaPlan",
                          "Which values of a step share memory; see fastprop.graph.memory.")
        .def(py::init(&arena_plan_from), py::arg("values"), py::arg("items"), py::arg("kept"))
        .def("placed", &placed, py::arg("order"), py::arg("phases"),
             "(bytes, start, end, offset, values) of every buffer.")
        .def("peak_bytes", &of_order<&ArenaPlan::peak_bytes>, py::arg("order"), py::arg("phases"),
             "What is live at the fullest moment.")
        .def("total_bytes", &of_order<&ArenaPlan::total_bytes>, py::arg("order"), py::arg("phases"),
             "Bytes of the arena.")
        .def("places_behind_barriers", &of_order<&ArenaPlan::places_behind_barriers>,
             py::arg("order"), py::arg("phases"),
             "(position, bytes) where an output could take the place of an input if a phase began "
             "there.")
        .def("dying_bytes", &of_order<&ArenaPlan::dying_bytes>, py::arg("order"), py::arg("phases"),
             "Bytes in the arena whose last use is at each position.");
}

}  // namespace fastprop
