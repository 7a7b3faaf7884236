// What a benchmark times: an op, a layer, a model, or anything else that runs on an execution
// policy.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>

#include <concepts>
#include <memory>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// A subject defines the timed call, its operands, its check and its cost. benchmark/driver.hpp
/// makes copies of the operands, checks them, times the call and reports. A subject has
///
/// - `exec_type`: the execution policy. The CPU is timed by the wall clock, a device by its events
/// - `copy`: the operands of one call, such as weights and sequences. With warm weights the driver
///   keeps one, with cold weights as many as exceed the caches, used in turn
/// - `begin(exec, call)`: goes to a point of the sweep and makes what all copies share, such as
///   inputs and outputs
/// - `prepare(exec, unique_ptr<copy>&)`: makes a copy where the pointer is null, and brings it to
///   the point
/// - `check(exec, copy) -> verdict`: compares with a reference, before anything is timed
/// - `run(exec, copy)`: the timed call
/// - `cost() -> call_cost`: operations and bytes of a call, asked for after the check
///
/// Optional members, each with its default:
///
/// - `depends`: the `parameters` (benchmark/sweep.hpp) of a call, other than tokens, that the
///   subject depends on. Default: none
/// - `a == b`: whether two subjects may use the same copies. Default: those of one registration
/// - `rewind(copy)`: untimed work before each call. Default: nothing
/// - `copy_bytes()`: memory of a copy. Default: the bytes of its cost
/// - `copy_traffic()`: bytes of a copy that a call reads. Default: the bytes of its cost
/// - `least_seconds(roofline)`: the least time of a call. Default: that of its cost on the roofline
/// - `note() -> string`: text of the label between copies and check. Default: empty
/// - `add_counters(counters)`: further counters. Default: none
/// - `table(exec, roofline, next) -> explanation`: rows with measured times, for `sweep::by_layer`;
///   `next()` is the next copy, rewound. Default: no table
/// - `max_copies`: the maximum number of copies. Default: unlimited
/// - `calls_per_copy()`: untimed calls of each copy before the first timed one. Default: one call
///   in all
/// Test: tests/unit/benchmark/register_test.cpp, tests/checks/compile_fail/benchmark.cpp
template <class S>
concept subject = std::copy_constructible<S> &&
    requires(S s, typename S::exec_type& exec, typename S::copy& one,
             std::unique_ptr<typename S::copy>& maybe, call const& at) {
  s.begin(exec, at);
  s.prepare(exec, maybe);
  { s.check(exec, one) } -> std::same_as<verdict>;
  s.run(exec, one);
  { s.cost() } -> std::same_as<call_cost>;
};

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
