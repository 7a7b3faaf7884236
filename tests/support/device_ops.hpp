// The umbrella header of the device under test, for whole models.
#pragma once

#if defined(__CUDACC__)
#include <plait/cuda.cuh>
#else
#include <plait/emulator.hpp>
#endif
