/// @file
/// @brief One op on NumPy arrays, its output made here: what an eager op on Tensors calls.
///
/// `execute` with less around it: called by CPython's vector protocol and not through pybind11, the
/// attributes come encoded, and the interpreter's lock is let go only for work that is worth it.
/// 0.3 µs for an op on a few numbers, where `execute` and numpy.empty take 1.2 µs together.

#include <cstddef>
#include <exception>
#include <new>
#include <vector>

#include "bindings/arrays.h"
#include "bindings/bindings.h"
#include "core/denormals.h"
#include "program/op.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Operands that are held without an allocation.
constexpr Py_ssize_t kFew = 4;
/// Elements from which on other Python threads may run meanwhile; below it handing over the lock
/// would take longer than the work.
constexpr Index kLongWork = 1 << 14;

/// Views of a tuple of arrays, None standing for an absent one.
class Inputs {
public:
    explicit Inputs(PyObject* arrays) {
        if (PyTuple_Check(arrays) == 0) throw TypeError("run_op: inputs must be a tuple");
        count_ = PyTuple_GET_SIZE(arrays);
        if (count_ > kFew) many_.resize(static_cast<std::size_t>(count_));
        TensorView* views = data();
        for (Py_ssize_t i = 0; i < count_; ++i) {
            const py::handle item = PyTuple_GET_ITEM(arrays, i);
            if (item.is_none()) continue;
            if (!py::isinstance<py::array>(item))
                throw TypeError("run_op: inputs must be NumPy arrays or None");
            views[i] = view_of_array(py::reinterpret_borrow<py::array>(item), false, "run_op");
            size_ += views[i].size();
        }
    }

    TensorView* data() { return many_.empty() ? few_ : many_.data(); }
    int count() const { return static_cast<int>(count_); }
    Index size() const { return size_; }

private:
    Py_ssize_t count_ = 0;
    Index size_ = 0;
    TensorView few_[kFew];
    std::vector<TensorView> many_;
};

py::array new_array(PyObject* shape, PyObject* dtype) {
    if (PyTuple_Check(shape) == 0 || PyTuple_GET_SIZE(shape) > kMaxRank)
        throw TypeError(concat("run_op: shape must be a tuple of at most ", kMaxRank));
    Py_intptr_t extents[kMaxRank] = {};
    const int rank = static_cast<int>(PyTuple_GET_SIZE(shape));
    for (int i = 0; i < rank; ++i) extents[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i));
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    const auto& numpy = py::detail::npy_api::get();
    if (!py::isinstance<py::dtype>(dtype)) throw TypeError("run_op: dtype must be a numpy.dtype");
    Py_INCREF(dtype);  // the call takes a reference
    PyObject* array = numpy.PyArray_NewFromDescr_(numpy.PyArray_Type_, dtype, rank, extents,
                                                  nullptr, nullptr, 0, nullptr);
    if (array == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::array>(array);
}

/// The doubles in a bytes object.
const double* attributes_of(const OpEntry& op, PyObject* encoded) {
    if (PyBytes_Check(encoded) == 0) throw TypeError("run_op: attrs must be bytes");
    const auto size = static_cast<std::size_t>(PyBytes_GET_SIZE(encoded));
    require(size == op.attributes.size() * sizeof(double), "run_op: ", op.name, " expects ",
            op.attributes.size(), " attributes, got ", size / sizeof(double));
    static_assert(offsetof(PyBytesObject, ob_sval) % alignof(double) == 0, "doubles are aligned");
    return reinterpret_cast<const double*>(PyBytes_AS_STRING(encoded));
}

py::array run(PyObject* const* args) {
    const Py_ssize_t code = PyLong_AsSsize_t(args[0]);
    if (code == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    require(code >= 0 && static_cast<std::size_t>(code) < op_table().size(), "run_op: no op ",
            code);
    const OpEntry& op = op_table()[static_cast<std::size_t>(code)];
    Inputs inputs(args[1]);
    py::array result = new_array(args[2], args[3]);
    const double* attrs = attributes_of(op, args[4]);
    const int threads = static_cast<int>(PyLong_AsLong(args[5]));
    if (PyErr_Occurred() != nullptr) throw py::error_already_set();
    const TensorView out = view_of_array(result, true, "run_op");
    const StepContext step;
    const Call call{inputs.data(), inputs.count(), &out, 1, attrs, &step};
    check_call(op, call);
    const Kernel kernel = select_kernel(op, call);
    const auto work = [&](const Team& team) {
        const FlushDenormals flush;
        kernel(call, team);
    };
    if (threads == 1 && inputs.size() + out.size() < kLongWork) {
        work(Team(0, 1, nullptr));
    } else {
        const py::gil_scoped_release release;
        run_team(threads, work);
    }
    return result;
}

/// No C++ exception may pass into the interpreter.
PyObject* run_op(PyObject*, PyObject* const* args, Py_ssize_t count) {
    try {
        if (count != 6) throw TypeError(concat("run_op: expects 6 arguments, got ", count));
        return run(args).release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const TypeError& error) {
        PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const Error& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

}  // namespace

void bind_eager(py::module_& m) {
    // CPython's table of methods holds functions of any signature under this one type.
    static PyMethodDef method = {
        "run_op", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&run_op)),
        METH_FASTCALL,
        "run_op(code, inputs, shape, dtype, attrs, threads)\n--\n\n"
        "Run one op on a tuple of NumPy arrays (None: absent) and give its one output, a new array "
        "of this shape and dtype; attrs are the attributes as the bytes of doubles."};
    m.attr("run_op") = py::reinterpret_steal<py::object>(PyCFunction_New(&method, nullptr));
}

}  // namespace fastprop
