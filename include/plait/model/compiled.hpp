// The part of plait::compiled above the ops: buffers, panels, caches and batches of exec::cpu.
// Test: tests/unit/model/isa_probe.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/buffer.hpp>
#include <plait/core/memory.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>

#if defined(PLAIT_COMPILED) || defined(PLAIT_COMPILING)
#if defined(PLAIT_COMPILING)
/// An instantiation of the library's, or its declaration to the users of the library.
#define PLAIT_INSTANTIATE template
#else
#define PLAIT_INSTANTIATE extern template
#endif

PLAIT_NAMESPACE_BEGIN

PLAIT_INSTANTIATE class buffer<std::byte>;
PLAIT_INSTANTIATE class buffer<float>;
PLAIT_INSTANTIATE class panel_matrix<dtype::f32>;
PLAIT_INSTANTIATE class panel_matrix<dtype::bf16>;
PLAIT_INSTANTIATE class panel_matrix<dtype::int8>;
PLAIT_INSTANTIATE class detail::page_pool<host_memory>;
PLAIT_INSTANTIATE class basic_cache<float, host_memory>;
PLAIT_INSTANTIATE class basic_snapshot<float, host_memory>;
PLAIT_INSTANTIATE class basic_cache_pool<float, host_memory>;
PLAIT_INSTANTIATE class basic_batch<float, host_memory>;

PLAIT_NAMESPACE_END

#undef PLAIT_INSTANTIATE
#endif

#include <plait/core/epilogue.hpp>
