/// @file
/// @brief host_call(inputs…) -> output and host_update(inputs…) -> overwritten…: rank 0 calls the
/// host's function, on whole operands.

#include <algorithm>
#include <limits>

#include "program/host_call.h"

namespace fastprop {
namespace {

HostFunction host_function = nullptr;
thread_local std::exception_ptr host_error;

/// No result of a call that failed may pass for one.
template <class T>
void poison(const TensorView& out) {
    std::fill_n(out.as<T>(), out.size(), std::numeric_limits<T>::quiet_NaN());
}

/// False if the function threw, now or earlier in this run.
bool call_host(const Call& call, const double* numbers, Index count) {
    if (host_error != nullptr) return false;
    try {
        host_function(call, numbers, count);
        return true;
    } catch (...) {
        host_error = std::current_exception();
        return false;
    }
}

void run_host(const Call& call, const Team& team) {
    if (team.rank() != 0 || call_host(call, nullptr, 0)) return;
    if (call.out[0].dtype == DType::f32) poison<float>(call.out[0]);
    if (call.out[0].dtype == DType::f64) poison<double>(call.out[0]);
}

/// What it overwrites stays as the function left it.
void run_update(const Call& call, const Team& team) {
    if (team.rank() != 0) return;
    call_host(call, call.step->scalars + call.index_attr(1), call.index_attr(2));
}

void check_host(const Call& call) {
    require(host_function != nullptr, "host_call: there is no function to call");
    require(call.attr(0) >= 0.0, "host_call: slot is ", call.attr(0));
}

void check_update(const Call& call) {
    check_host(call);
    const Index first = call.index_attr(1), count = call.index_attr(2);
    require(first >= 0 && count >= 0, "host_update: its numbers are ", first, " to ",
            first + count);
    // A Program brings the numbers of its steps later; they are not there yet when it is built.
    require(call.step == nullptr || first + count <= call.step->num_scalars, "host_update: wants ",
            count, " of the step's numbers from ", first, " on");
}

}  // namespace

void set_host_function(HostFunction function) { host_function = function; }

bool host_failed() { return host_error != nullptr; }

std::exception_ptr take_host_error() {
    std::exception_ptr error;
    std::swap(error, host_error);
    return error;
}

std::vector<OpEntry> host_ops() {
    return {{"host_call", {"slot"}, 0, 64, 1, run_host, run_host, check_host},
            {"host_update",
             {"slot", "scalars", "numbers"},
             0,
             64,
             64,
             run_update,
             run_update,
             check_update}};
}

}  // namespace fastprop
