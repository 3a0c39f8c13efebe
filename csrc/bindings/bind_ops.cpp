#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/aligned_buffer.h"
#include "core/denormals.h"
#include "kernels/activation.h"
#include "kernels/finite.h"
#include "kernels/pack.h"
#include "kernels/random.h"
#include "program/op.h"

namespace py = pybind11;

namespace fastprop {
namespace {

std::vector<TensorView> views_of(const py::sequence& arrays, bool writable) {
    std::vector<TensorView> views;
    views.reserve(arrays.size());
    for (const py::handle item : arrays) {
        if (item.is_none()) {
            views.emplace_back();
        } else if (py::isinstance<py::array>(item)) {
            views.push_back(
                view_of_array(py::reinterpret_borrow<py::array>(item), writable, "execute"));
        } else {
            throw TypeError("execute: operands must be NumPy arrays or None");
        }
    }
    return views;
}

std::tuple<int, std::vector<std::string>> op_info(const std::string& name) {
    const OpEntry& op = find_op(name);
    return {static_cast<int>(&op - op_table().data()), op.attributes};
}

void execute(int code, const py::sequence& inputs, const py::sequence& outputs,
             const std::vector<double>& attrs, const std::optional<std::vector<double>>& scalars,
             int threads) {
    require(code >= 0 && static_cast<std::size_t>(code) < op_table().size(), "execute: no op ",
            code);
    const OpEntry& op = op_table()[static_cast<std::size_t>(code)];
    require(attrs.size() == op.attributes.size(), "execute: ", op.name, " expects ",
            op.attributes.size(), " attributes, got ", attrs.size());
    const std::vector<TensorView> in = views_of(inputs, false);
    const std::vector<TensorView> out = views_of(outputs, true);
    StepContext step;
    if (scalars) {
        step.scalars = scalars->data();
        step.num_scalars = static_cast<Index>(scalars->size());
    }
    const Call call{in.data(),    static_cast<int>(in.size()),
                    out.data(),   static_cast<int>(out.size()),
                    attrs.data(), &step};
    check_call(op, call);
    const Kernel kernel = select_kernel(op, call);
    const py::gil_scoped_release release;
    run_team(threads, [&](const Team& team) {
        const FlushDenormals flush;
        kernel(call, team);
    });
}

std::vector<std::tuple<std::string, bool>> activation_info() {
    std::vector<std::tuple<std::string, bool>> info;
    for (int i = 0; i < kNumActivations; ++i) {
        const auto kind = static_cast<Activation>(i);
        info.emplace_back(activation_name(kind), activation_uses_output(kind));
    }
    return info;
}

/// Flat index of the first NaN or infinity, or -1.
Index first_nonfinite_of(const py::array& array) {
    const TensorView view = view_of_array(array, false, "first_nonfinite");
    const py::gil_scoped_release release;
    if (view.dtype == DType::f32) return first_nonfinite(view.as<float>(), view.size());
    if (view.dtype == DType::f64) return first_nonfinite(view.as<double>(), view.size());
    return -1;
}

py::array_t<std::int64_t> permutation_of(std::uint64_t seed, std::uint32_t stream,
                                         std::uint32_t step, Index n, Index count) {
    require(n >= 0 && count >= 0, "permutation: n and count must not be negative, got ", n, ", ",
            count);
    py::array_t<std::int64_t> order(n * count);
    std::int64_t* rows = order.mutable_data();
    for (Index i = 0; i < count; ++i)
        permutation(seed, stream, step + static_cast<std::uint32_t>(i), rows + i * n, n);
    return order;
}

/// Zeroed arrays that look like others, each on a cache line, one behind the other in one array.
py::list flat_views(const std::vector<py::array>& like) {
    const auto place = [](const py::array& array) {
        return align_up(static_cast<std::size_t>(array.nbytes()));
    };
    std::size_t bytes = 0;
    for (const py::array& array : like) bytes += place(array);
    const auto flat = py::module_::import("numpy")
                          .attr("zeros")(bytes + alignment_of(bytes), "uint8")
                          .cast<py::array>();
    auto* raw = static_cast<char*>(aligned_part(flat.request(true).ptr, bytes));
    py::list views;
    for (const py::array& array : like) {
        const std::vector<py::ssize_t> shape(array.shape(), array.shape() + array.ndim());
        views.append(py::array(array.dtype(), shape, raw, flat));
        raw += place(array);
    }
    return views;
}

Index panel_width_of(const py::dtype& dtype) {
    if (dtype.kind() == 'f' && dtype.itemsize() == 4) return packed_panel_width(DType::f32);
    if (dtype.kind() == 'f' && dtype.itemsize() == 8) return packed_panel_width(DType::f64);
    throw TypeError("panel_width: expects float32 or float64");
}

}  // namespace

void bind_ops(py::module_& m) {
    m.def("op_info", &op_info, py::arg("name"),
          "Index of an op in the table, and the names of its attributes in order.");
    m.def("execute", &execute, py::arg("code"), py::arg("inputs"), py::arg("outputs"),
          py::arg("attrs"), py::arg("scalars") = py::none(), py::arg("threads") = 1,
          "Run one op on NumPy arrays, writing into `outputs`; None stands for an absent operand.");
    m.attr("SLOPE") = static_cast<int>(Activation::slope);
    m.def("activation_info", &activation_info,
          "Name of every activation in the order of its code, and whether its derivative is taken "
          "from its output (else from its input).");
    m.def("first_nonfinite", &first_nonfinite_of, py::arg("array"),
          "Flat index of the first NaN or infinity, or -1 if there is none.");
    m.def(
        "all_finite", [](const py::array& array) { return first_nonfinite_of(array) < 0; },
        py::arg("array"), "True if no element is NaN or infinite.");
    m.def(
        "any_bit",
        [](const py::array& array) {
            const TensorView view = view_of_array(array, false, "any_bit");
            const py::gil_scoped_release release;
            return any_bit(view.data, static_cast<std::size_t>(array.nbytes()));
        },
        py::arg("array"), "True if some bit of a contiguous array is set: minus zero has one.");
    m.def("permutation", &permutation_of, py::arg("seed"), py::arg("stream"), py::arg("step"),
          py::arg("n"), py::arg("count") = 1,
          "A random order of range(n) that depends on the arguments alone; those of `count` steps, "
          "one behind the other.");
    m.def("flat_views", &flat_views, py::arg("like"),
          "Zeroed arrays of the same shapes and dtypes, each on a cache line, one behind the other "
          "in one array.");
    m.def("panel_width", &panel_width_of, py::arg("dtype"),
          "Columns in a panel of a packed matrix, at this instruction-set level.");
}

}  // namespace fastprop
