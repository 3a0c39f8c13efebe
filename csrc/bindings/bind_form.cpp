#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "kernels/finite.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// What arrays have to be to be used as they are. One look instead of a dozen in Python: those are
/// left for arrays that do not fit, to say why or to convert them.
class Form {
public:
    Form(py::dtype dtype, std::vector<Index> row_shape, Index classes)
        : dtype_(std::move(dtype)), row_shape_(std::move(row_shape)), classes_(classes) {
        require(row_shape_.size() + 1 <= kMaxRank, "Form: at most ", kMaxRank, " axes, got ",
                row_shape_.size() + 1);
        require(classes_ < 0 || (dtype_.kind() == 'i' && dtype_.itemsize() == 8),
                "Form: labels must be int64");
    }

    bool fits(const py::handle& value, bool finite) const {
        if (!looks_right(value)) return false;
        const TensorView view =
            view_of_array(py::reinterpret_borrow<py::array>(value), false, "Form.fits");
        if (classes_ >= 0) {
            const LabelRange range = label_range(view.as<std::int64_t>(), view.size());
            return range.least >= 0 && range.greatest < classes_;
        }
        if (!finite) return true;
        if (view.dtype == DType::f32) return all_finite(view.as<float>(), view.size());
        if (view.dtype == DType::f64) return all_finite(view.as<double>(), view.size());
        return true;
    }

private:
    /// An ndarray itself (subclasses have rules of their own) of this very dtype, which includes
    /// native byte order, contiguous and aligned, with rows of this shape and at least one.
    bool looks_right(const py::handle& value) const {
        const auto& api = py::detail::npy_api::get();
        if (reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())) !=
            reinterpret_cast<PyObject*>(api.PyArray_Type_))
            return false;
        const auto* array = py::detail::array_proxy(value.ptr());
        constexpr int wanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
        return array->descr == dtype_.ptr() && (array->flags & wanted) == wanted &&
               array->nd == static_cast<int>(row_shape_.size()) + 1 && array->dimensions[0] > 0 &&
               std::equal(row_shape_.begin(), row_shape_.end(), array->dimensions + 1);
    }

    py::dtype dtype_;
    std::vector<Index> row_shape_;
    Index classes_;
};

}  // namespace

void bind_form(py::module_& m) {
    py::class_<Form>(m, "Form", "What arrays have to be to be used as they are.")
        .def(py::init<py::dtype, std::vector<Index>, Index>(), py::arg("dtype"),
             py::arg("row_shape"), py::arg("classes") = -1)
        .def(
            "fits", &Form::fits, py::arg("value"), py::arg("finite"),
            "True if `value` is a NumPy array (no subclass) of this dtype, contiguous and aligned, "
            "with one or more rows of this shape; if its labels lie in [0, classes); and, where "
            "asked for, if its numbers are finite.");
}

}  // namespace fastprop
