// Whole models on the device under test: its umbrella header.
#pragma once

#if defined(__CUDACC__)
#include <plait/cuda.cuh>
#else
#include <plait/emulator.hpp>
#endif
