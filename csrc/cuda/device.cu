#include <cuda_runtime.h>

#include "core/check.h"
#include "core/device.h"

namespace fastprop {
namespace {

std::string version_text(int version) { return concat(version / 1000, '.', version % 1000 / 10); }

/// cudaSuccess and `count` > 0, or the error. An error of these calls is not sticky, but it is left
/// behind for cudaGetLastError, so it is taken away again.
cudaError_t count_devices(int& count) {
    count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status != cudaSuccess) (void)cudaGetLastError();
    return status;
}

}  // namespace

bool cuda_built() { return true; }

std::string cuda_description() {
    int count = 0;
    const cudaError_t status = count_devices(count);
    if (status != cudaSuccess) return concat("no device: ", cudaGetErrorString(status));
    if (count == 0) return "no device";

    cudaDeviceProp device{};
    int runtime = 0;
    if (cudaGetDeviceProperties(&device, 0) != cudaSuccess ||
        cudaRuntimeGetVersion(&runtime) != cudaSuccess) {
        return concat("no device: ", cudaGetErrorString(cudaGetLastError()));
    }
    const double gib = static_cast<double>(device.totalGlobalMem) / (1024.0 * 1024.0 * 1024.0);
    return concat(device.name, ", compute capability ", device.major, '.', device.minor, ", ",
                  static_cast<int>(gib + 0.5), " GiB, CUDA runtime ", version_text(runtime));
}

}  // namespace fastprop
