#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "bindings/bindings.h"
#include "core/check.h"
#include "kernels/interleave.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// The two structures of Arrow's C data interface, whose layout is fixed:
/// https://arrow.apache.org/docs/format/CDataInterface.html
struct ArrowSchema {
    const char* format;
    const char* name;
    const char* metadata;
    std::int64_t flags;
    std::int64_t n_children;
    ArrowSchema** children;
    ArrowSchema* dictionary;
    void (*release)(ArrowSchema*);
    void* private_data;
};

struct ArrowArray {
    std::int64_t length;
    std::int64_t null_count;
    std::int64_t offset;
    std::int64_t n_buffers;
    std::int64_t n_children;
    const void** buffers;
    ArrowArray** children;
    ArrowArray* dictionary;
    void (*release)(ArrowArray*);
    void* private_data;
};

/// What Arrow calls the numbers of a NumPy dtype; empty for one that it has not.
std::string_view format_of(const py::dtype& dtype) {
    const bool wide = dtype.itemsize() == 8;
    switch (dtype.kind()) {
        case 'f':
            return wide ? "g" : dtype.itemsize() == 4 ? "f" : "e";
        case 'i':
            return wide ? "l" : dtype.itemsize() == 4 ? "i" : dtype.itemsize() == 2 ? "s" : "c";
        case 'u':
            return wide ? "L" : dtype.itemsize() == 4 ? "I" : dtype.itemsize() == 2 ? "S" : "C";
        default:
            return {};
    }
}

/// Is any of the values [begin, begin + length) null? A set bit of the bitmap stands for a value.
bool has_null(const ArrowArray& column, std::int64_t begin, std::int64_t length) {
    const auto* valid = static_cast<const std::uint8_t*>(column.buffers[0]);
    if (column.null_count == 0 || valid == nullptr) return false;
    for (std::int64_t i = begin; i < begin + length; ++i) {
        if ((valid[i / 8] >> (i % 8) & 1) == 0) return true;
    }
    return false;
}

/// Where the numbers of the chosen columns begin; nothing if one of them is of another type than
/// `format`, or has a null.
std::vector<const void*> starts(const ArrowSchema& schema, const ArrowArray& batch,
                                const std::vector<Index>& columns, std::string_view format,
                                py::ssize_t size) {
    require(batch.n_children == schema.n_children, "interleave_columns: no record batch");
    std::vector<const void*> found;
    found.reserve(columns.size());
    for (const Index index : columns) {
        require(index >= 0 && index < batch.n_children, "interleave_columns: column ", index,
                " of ", batch.n_children);
        const ArrowArray& column = *batch.children[index];
        const std::int64_t begin = batch.offset + column.offset;
        if (schema.children[index]->format != format || column.n_buffers != 2) return {};
        if (schema.children[index]->dictionary != nullptr) return {};
        require(column.length >= batch.offset + batch.length,
                "interleave_columns: a column is too short");
        if (has_null(column, begin, batch.length)) return {};
        found.push_back(static_cast<const char*>(column.buffers[1]) + begin * size);
    }
    return found;
}

template <class U>
void write_rows(const std::vector<const void*>& from, Index rows, void* to) {
    std::vector<const U*> columns;
    columns.reserve(from.size());
    for (const void* start : from) columns.push_back(static_cast<const U*>(start));
    interleave(columns.data(), static_cast<Index>(columns.size()), rows, static_cast<U*>(to));
}

bool interleave_columns(const py::tuple& given, const std::vector<Index>& columns, py::array& out) {
    require(given.size() == 2, "interleave_columns: expects what __arrow_c_array__ gives");
    const auto* found = PyCapsule_GetPointer(PyTuple_GET_ITEM(given.ptr(), 0), "arrow_schema");
    if (found == nullptr) throw py::error_already_set();
    const auto& schema = *static_cast<const ArrowSchema*>(found);
    found = PyCapsule_GetPointer(PyTuple_GET_ITEM(given.ptr(), 1), "arrow_array");
    if (found == nullptr) throw py::error_already_set();
    const auto& batch = *static_cast<const ArrowArray*>(found);
    const Index rows = batch.length;
    require((out.flags() & py::array::c_style) != 0 && out.ndim() == 2 && out.shape(0) == rows &&
                out.shape(1) == static_cast<py::ssize_t>(columns.size()),
            "interleave_columns: expects a contiguous array of ", rows, " rows and ",
            columns.size(), " columns");
    const py::ssize_t size = out.itemsize();
    const std::string_view format = format_of(out.dtype());
    if (format.empty()) return false;
    if (rows == 0 || columns.empty()) return true;
    const auto from = starts(schema, batch, columns, format, size);
    if (from.empty()) return false;
    void* to = out.mutable_data();
    const py::gil_scoped_release released;
    if (size == 1) write_rows<std::uint8_t>(from, rows, to);
    if (size == 2) write_rows<std::uint16_t>(from, rows, to);
    if (size == 4) write_rows<std::uint32_t>(from, rows, to);
    if (size == 8) write_rows<std::uint64_t>(from, rows, to);
    return true;
}

}  // namespace

void bind_arrow(py::module_& m) {
    m.def("interleave_columns", &interleave_columns, py::arg("batch"), py::arg("columns"),
          py::arg("out"),
          "Write columns of an Arrow record batch (what its __arrow_c_array__ gives) side by side "
          "into a matrix; False, with nothing written, if one is of another type than the matrix "
          "or has a null.");
}

}  // namespace fastprop
