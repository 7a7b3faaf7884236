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

/// A subject says what is timed and what it costs; benchmark/driver.hpp makes it, checks it, times
/// it and reports. It has
///
///   exec_type                     where it runs: threads of this machine, timed by the wall clock,
///   or a device, timed by its own events copy                          weights and sequences; the
///   driver keeps one, or as many in turn as the caches cannot hold begin(exec, call) goes to a
///   point of the sweep: inputs and outputs, which all copies share prepare(exec, unique_ptr) makes
///   a copy where there is none, and brings it to the point check(exec, copy) -> verdict  compares
///   with a reference, before anything is timed run(exec, copy)               the timed call cost()
///   -> call_cost           operations and bytes of a call, asked for after the check
///
/// and what it needs of
///
///   depends                       a `parameters` (benchmark/sweep.hpp): what of a call beside
///   tokens it depends on; nothing a == b                        whether two subjects can share
///   copies; only those of one registration do rewind(copy)                  what comes before each
///   call and is not timed; nothing copy_bytes()                  memory of a copy; the bytes of
///   its cost copy_traffic()                bytes of a copy that a call reads, and so has to find
///   cold; the bytes of its cost least_seconds(roofline)       the least time of a call; that of
///   the whole cost on the roofline note() -> string              what the label says between
///   copies and check; nothing add_counters(counters)        further counters; none table(exec,
///   roofline, next)   an explanation with measured rows, for sweep::by_layer; next() is the next
///   copy, rewound; none max_copies, calls_per_copy()  the most copies, and calls of each before
///   the first that is timed; any number, and one call in all
template <class S>
concept subject = std::copy_constructible<S> &&
    requires(S s, typename S::exec_type& exec, typename S::copy& one,
             std::unique_ptr<typename S::copy>& maybe, call const& what) {
  s.begin(exec, what);
  s.prepare(exec, maybe);
  { s.check(exec, one) } -> std::same_as<verdict>;
  s.run(exec, one);
  { s.cost() } -> std::same_as<call_cost>;
};

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
