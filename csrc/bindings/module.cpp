#include <pybind11/pybind11.h>

#include <exception>

#include "bindings/bindings.h"
#include "core/check.h"
#include "core/level.h"

namespace {

void translate(std::exception_ptr pending) {
    try {
        if (pending) std::rethrow_exception(pending);
    } catch (const fastprop::TypeError& error) {
        PyErr_SetString(PyExc_TypeError, error.what());
    } catch (const fastprop::Error& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    }
}

}  // namespace

// level_entry.cpp gives it the name of a level.
PYBIND11_MODULE(_core, m) {
    m.doc() = "The arithmetic of fastprop, compiled for one instruction-set level.";
    m.attr("level") = fastprop::level_name();
    pybind11::register_local_exception_translator(&translate);
    fastprop::bind_config(m);
    fastprop::bind_ops(m);
    fastprop::bind_host(m);
    fastprop::bind_eager(m);
    fastprop::bind_recipes(m);
    fastprop::bind_index(m);
    fastprop::bind_leaves(m);
    fastprop::bind_backward(m);
    fastprop::bind_effects(m);
    fastprop::bind_form(m);
    fastprop::bind_arrow(m);
    fastprop::bind_planning(m);
    fastprop::bind_program(m);
    fastprop::bind_run_many(m);
    fastprop::bind_compiled(m);
    fastprop::bind_pull(m);
    fastprop::bind_single(m);
    fastprop::bind_hints(m);
}
