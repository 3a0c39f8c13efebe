#pragma once
/// @file
/// @brief Whether an array can be used as it is.

#include <pybind11/numpy.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bindings/arrays.h"
#include "kernels/finite.h"

namespace fastprop {

/// What arrays have to be to be used as they are. One look instead of a dozen in Python: those are
/// left for arrays that do not fit, to say why or to convert them.
class Form {
public:
    Form(pybind11::dtype dtype, std::vector<Index> row_shape, Index classes)
        : dtype_(std::move(dtype)), row_shape_(std::move(row_shape)), classes_(classes) {
        require(row_shape_.size() + 1 <= kMaxRank, "Form: at most ", kMaxRank, " axes, got ",
                row_shape_.size() + 1);
        require(classes_ < 0 || (dtype_.kind() == 'i' && dtype_.itemsize() == 8),
                "Form: labels must be int64");
    }

    bool fits(const pybind11::handle& value, bool finite) const {
        if (!looks_right(value)) return false;
        const TensorView view =
            view_of_array(pybind11::reinterpret_borrow<pybind11::array>(value), false, "Form.fits");
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
    bool looks_right(const pybind11::handle& value) const {
        const auto& api = pybind11::detail::npy_api::get();
        if (reinterpret_cast<PyObject*>(Py_TYPE(value.ptr())) !=
            reinterpret_cast<PyObject*>(api.PyArray_Type_))
            return false;
        const auto* array = pybind11::detail::array_proxy(value.ptr());
        constexpr int wanted =
            pybind11::array::c_style | pybind11::detail::npy_api::NPY_ARRAY_ALIGNED_;
        return array->descr == dtype_.ptr() && (array->flags & wanted) == wanted &&
               array->nd == static_cast<int>(row_shape_.size()) + 1 && array->dimensions[0] > 0 &&
               std::equal(row_shape_.begin(), row_shape_.end(), array->dimensions + 1);
    }

    pybind11::dtype dtype_;
    std::vector<Index> row_shape_;
    Index classes_;
};

}  // namespace fastprop
