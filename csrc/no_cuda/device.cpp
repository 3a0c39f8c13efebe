#include "core/device.h"

namespace fastprop {

bool cuda_built() { return false; }

std::string cuda_description() { return "not built in"; }

}  // namespace fastprop
