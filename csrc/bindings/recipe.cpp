/// @file
/// @brief Recipes: where their values lie, and their run.

#include "bindings/recipe.h"

#include <pybind11/numpy.h>

#include <algorithm>
#include <array>
#include <utility>

#include "bindings/arrays.h"
#include "bindings/new_tensor.h"
#include "core/denormals.h"

namespace py = pybind11;

namespace fastprop {
namespace {

/// Values in between lie here, one recipe at a time: kernels of a recipe run under Python's lock.
constexpr std::size_t kScratch = std::size_t{1} << 16;
alignas(64) std::byte scratch[kScratch];

std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

TensorView form_of(PyObject* spec) {
    TensorView form;
    form.dtype =
        dtype_of(py::reinterpret_borrow<py::dtype>(PyTuple_GET_ITEM(spec, spec_dtype)), "Recipe");
    PyObject* extents = PyTuple_GET_ITEM(spec, spec_shape);
    form.rank = static_cast<int>(PyTuple_GET_SIZE(extents));
    require(form.rank <= kMaxRank, "Recipe: at most ", kMaxRank, " axes, got ", form.rank);
    for (int i = 0; i < form.rank; ++i)
        form.shape[i] = PyLong_AsSsize_t(PyTuple_GET_ITEM(extents, i));
    return form;
}

Recipe::Recipe(const std::vector<TensorView>& operands, std::vector<Value> values,
               std::vector<int> outputs)
    : operand_count_(operands.size()), values_(std::move(values)), outputs_(std::move(outputs)) {
    std::vector<TensorView> forms = operands;
    for (const Value& value : values_) forms.push_back(form_of(value.spec.ptr()));
    const int count = static_cast<int>(forms.size());
    for (const int output : outputs_)
        require(output >= 0 && output < count, "Recipe: no value ", output);
    place_values(forms);
    data_.resize(forms.size());
    make_steps(forms);
}

void Recipe::place_values(const std::vector<TensorView>& forms) {
    const int given = static_cast<int>(operand_count_);
    const int count = static_cast<int>(forms.size());
    for (int i = 0; i < count; ++i) {
        roots_.push_back(i);
        offsets_.push_back(0);
        homes_.push_back({Place::given, static_cast<std::size_t>(i)});
        if (i < given) continue;
        const Value& value = values_[static_cast<std::size_t>(i - given)];
        for (const int operand : value.operands)
            require(operand >= 0 && operand < i, "Recipe: value ", i, " needs ", operand);
        if (value.constant) {
            homes_.back() = {Place::constant, 0};
        } else if (value.entry == nullptr) {
            require(!value.operands.empty(), "Recipe: value ", i, " is a view of nothing");
            place_part(static_cast<std::size_t>(i), value, forms);
        } else {
            homes_.back() = {Place::scratch, 0};
        }
    }
    for (std::size_t k = outputs_.size(); k-- > 0;) {
        Home& home =
            homes_[static_cast<std::size_t>(roots_[static_cast<std::size_t>(outputs_[k])])];
        if (home.place == Place::scratch || home.place == Place::result) home = {Place::result, k};
    }
    for (int i = given; i < count; ++i) {
        if (!values_[static_cast<std::size_t>(i - given)].kept) continue;
        const std::size_t root = static_cast<std::size_t>(roots_[static_cast<std::size_t>(i)]);
        if (homes_[root].place != Place::scratch) continue;
        homes_[root] = {Place::kept, kept_bytes_};
        kept_bytes_ += aligned(forms[root].bytes());
    }
    for (int i = given; i < count; ++i) {
        Home& home = homes_[static_cast<std::size_t>(i)];
        if (home.place != Place::scratch || roots_[static_cast<std::size_t>(i)] != i) continue;
        home.at = scratch_bytes_;
        scratch_bytes_ += aligned(forms[static_cast<std::size_t>(i)].bytes());
    }
    require(scratch_bytes_ <= kScratch && kept_bytes_ <= kScratch, "Recipe: ", scratch_bytes_,
            " bytes in between, at most ", kScratch);
}

void Recipe::place_part(std::size_t part, const Value& value,
                        const std::vector<TensorView>& forms) {
    const auto of = static_cast<std::size_t>(value.operands[0]);
    const double begin = value.attributes.empty() ? 0.0 : value.attributes[0];
    const auto whole = static_cast<double>(forms[of].bytes());
    require(begin >= 0 && begin + static_cast<double>(forms[part].bytes()) <= whole,
            "Recipe: value ", part, " is no part of value ", of);
    roots_[part] = roots_[of];
    offsets_[part] = offsets_[of] + static_cast<std::size_t>(begin);
}

void Recipe::make_steps(const std::vector<TensorView>& forms) {
    static char nothing[64];
    for (std::size_t i = operand_count_; i < forms.size(); ++i) {
        const Value& value = values_[i - operand_count_];
        if (value.entry == nullptr) continue;
        Step step{value.entry, nullptr,         {}, value.operands, forms[i], static_cast<int>(i),
                  false,       value.attributes};
        require(step.attributes.size() == value.entry->attributes.size(),
                "Recipe: ", value.entry->name, " has ", value.entry->attributes.size(),
                " attributes");
        for (const int operand : value.operands) {
            step.in.push_back(forms[static_cast<std::size_t>(operand)]);
            step.in.back().data = nothing;
            step.checked_every_time = step.checked_every_time || step.in.back().dtype == DType::i64;
        }
        step.out.data = nothing;
        const StepContext context;
        const Call call{
            step.in.data(), static_cast<int>(step.in.size()), &step.out, 1, step.attributes.data(),
            &context};
        if (!step.checked_every_time) check_call(*step.entry, call);
        step.kernel = select_kernel(*step.entry, call);
        steps_.push_back(std::move(step));
    }
}

std::ptrdiff_t Recipe::kept_offset(int value) const {
    const Home home =
        homes_.at(static_cast<std::size_t>(roots_.at(static_cast<std::size_t>(value))));
    require(home.place == Place::kept || home.place == Place::result, "Recipe: value ", value,
            " is not kept");
    return home.place == Place::kept ? static_cast<std::ptrdiff_t>(home.at) : -1;
}

void Recipe::set_data(const Operand* operands, std::byte* kept,
                      const std::vector<py::array>& arrays) {
    for (std::size_t i = 0; i < data_.size(); ++i) {
        const auto root = static_cast<std::size_t>(roots_[i]);
        const Home home = homes_[root];
        const auto at = [&](void* memory) -> void* {
            return static_cast<std::byte*>(memory) + offsets_[i];
        };
        switch (home.place) {
            case Place::given:
                data_[i] = at(operands[home.at].data);
                break;
            case Place::constant: {
                PyObject* array = slot(values_[root - operand_count_].constant.ptr(), slot_data);
                data_[i] = at(py::detail::array_proxy(array)->data);
                break;
            }
            case Place::result:
                data_[i] = at(const_cast<void*>(arrays[home.at].data()));
                break;
            case Place::kept:
                data_[i] = at(kept + home.at);
                break;
            case Place::scratch:
                data_[i] = at(scratch + home.at);
                break;
        }
    }
}

void Recipe::run(const Operand* operands, std::byte* kept, py::object* results) {
    // Everything that may call Python (an allocation collects garbage) comes before or after.
    std::vector<py::array> arrays(outputs_.size(), py::reinterpret_steal<py::array>(py::handle()));
    for (std::size_t k = 0; k < outputs_.size(); ++k) {
        const Home home =
            homes_[static_cast<std::size_t>(roots_[static_cast<std::size_t>(outputs_[k])])];
        if (home.place != Place::result || home.at != k) continue;
        const Value& value = values_[static_cast<std::size_t>(outputs_[k]) - operand_count_];
        arrays[k] = new_array(PyTuple_GET_ITEM(value.spec.ptr(), spec_shape),
                              PyTuple_GET_ITEM(value.spec.ptr(), spec_dtype));
    }
    set_data(operands, kept, arrays);
    {
        const FlushDenormals flush;
        const StepContext context;
        const Team alone(0, 1, nullptr);
        for (Step& step : steps_) {
            for (std::size_t k = 0; k < step.in.size(); ++k)
                step.in[k].data = data_[static_cast<std::size_t>(step.operands[k])];
            step.out.data = data_[static_cast<std::size_t>(step.result)];
            const Call call{step.in.data(),
                            static_cast<int>(step.in.size()),
                            &step.out,
                            1,
                            step.attributes.data(),
                            &context};
            if (step.checked_every_time) check_call(*step.entry, call);
            step.kernel(call, alone);
        }
    }
    for (std::size_t k = 0; k < outputs_.size(); ++k) results[k] = result(k, operands, arrays);
}

py::object Recipe::result(std::size_t output, const Operand* operands,
                          const std::vector<py::array>& arrays) const {
    const auto value = static_cast<std::size_t>(outputs_[output]);
    if (value < operand_count_) return py::reinterpret_borrow<py::object>(operands[value].tensor);
    const Value& own = values_[value - operand_count_];
    if (own.constant) return own.constant;
    const auto root = static_cast<std::size_t>(roots_[value]);
    const Home home = homes_[root];
    if (home.place == Place::result && home.at == output)
        return new_result(arrays[output], own.spec.ptr());
    PyObject* of = home.place == Place::given ? slot(operands[home.at].tensor, slot_data)
                   : home.place == Place::constant
                       ? slot(values_[root - operand_count_].constant.ptr(), slot_data)
                       : arrays[home.at].ptr();
    const bool read_only = home.place == Place::given && is_result(operands[home.at].tensor);
    return new_result(view_of_memory(of, own.spec.ptr(), read_only), own.spec.ptr());
}

std::vector<py::object> Derivation::results(PyObject* node, PyObject* dy) {
    PyObject* inputs = slot(node, slot_inputs);
    std::vector<Recipe::Operand> operands;
    operands.reserve(2 + static_cast<std::size_t>(PyTuple_GET_SIZE(inputs)) + kept_.size());
    const auto add = [&](PyObject* tensor) {
        operands.push_back({tensor, py::detail::array_proxy(slot(tensor, slot_data))->data});
    };
    add(dy);
    add(node);
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(inputs); ++i) add(PyTuple_GET_ITEM(inputs, i));
    PyObject* saved = slot(node, slot_saved);
    for (const std::ptrdiff_t offset : kept_)
        operands.push_back(
            {nullptr, offset < 0 ? operands[1].data : PyBytes_AS_STRING(saved) + offset});
    std::vector<py::object> found(recipe_.outputs());
    recipe_.run(operands.data(), nullptr, found.data());
    return found;
}

}  // namespace fastprop
