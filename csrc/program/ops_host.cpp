/// @file
/// @brief host_call(inputs…) -> output: rank 0 calls the host's function, on whole operands.

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

void run_host(const Call& call, const Team& team) {
    if (team.rank() != 0) return;
    if (host_error == nullptr) {
        try {
            host_function(call);
            return;
        } catch (...) {
            host_error = std::current_exception();
        }
    }
    if (call.out[0].dtype == DType::f32) poison<float>(call.out[0]);
    if (call.out[0].dtype == DType::f64) poison<double>(call.out[0]);
}

void check_host(const Call& call) {
    require(host_function != nullptr, "host_call: there is no function to call");
    require(call.attr(0) >= 0.0, "host_call: slot is ", call.attr(0));
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
    return {{"host_call", {"slot"}, 0, 64, 1, run_host, run_host, check_host}};
}

}  // namespace fastprop
