#pragma once
/// @file
/// @brief One bind_* function a topic. Bindings hold no arithmetic and convert nothing.

#include <pybind11/pybind11.h>

namespace fastprop {

void bind_config(pybind11::module_& m);
void bind_compiled(pybind11::module_& m);
void bind_ops(pybind11::module_& m);
void bind_host(pybind11::module_& m);
void bind_eager(pybind11::module_& m);
void bind_recipes(pybind11::module_& m);
void bind_index(pybind11::module_& m);
void bind_leaves(pybind11::module_& m);
void bind_backward(pybind11::module_& m);
void bind_effects(pybind11::module_& m);
void bind_form(pybind11::module_& m);
void bind_arrow(pybind11::module_& m);
void bind_pull(pybind11::module_& m);
void bind_planning(pybind11::module_& m);
void bind_program(pybind11::module_& m);
void bind_run_many(pybind11::module_& m);
void bind_single(pybind11::module_& m);
void bind_hints(pybind11::module_& m);

}  // namespace fastprop
