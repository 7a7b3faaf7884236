// Decode steps of a device, captured as graphs and replayed.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/call.hpp>

#include <cstddef>
#include <optional>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Captured decode steps, by shape. A call with one new token of each sequence is a decode step.
/// The second step of a shape is captured as a graph (a CUDA graph); this and later steps of the
/// shape replay it: the same kernels with the same roundings.
///
/// State: up to `max_graphs` graphs; the oldest is freed first
/// Cost: a linear search among the shapes
/// Test: tests/unit/exec/device_test.cpp
template <class Runtime>
class captured_steps {
 public:
  static constexpr std::size_t max_graphs = 64;

  /// Calls run(), or replays what it launched. `workspace` is the address of the workspace that the
  /// kernels use: graphs of another workspace are freed.
  template <class Run>
  void execute(call_shape const& shape, Runtime& runtime, std::byte const* workspace,
               Run const& run) {
    // A call with two tokens of one sequence and none of another is no decode step.
    if (shape.rows != shape.sequences || shape.longest > 1) return run();
    in_step_guard const guard(in_step_);
    if (!shape.repeatable) return run();
    if (workspace != workspace_) clear();
    for (step& s : steps_)
      if (s.shape == shape) {
        if (!s.graph) s.graph.emplace(runtime.capture(run));
        return runtime.replay(*s.graph);
      }
    if (steps_.size() == max_graphs) steps_.erase(steps_.begin());
    steps_.push_back({shape, {}});
    workspace_ = workspace;
    run();
  }
  /// Whether a decode step is running: it may be captured, so that its ops must not copy anything
  /// to the host.
  bool in_step() const { return in_step_; }
  /// Frees all graphs.
  void clear() { steps_.clear(); }

 private:
  struct step {
    call_shape shape;
    std::optional<typename Runtime::captured> graph;
  };
  class in_step_guard {
   public:
    explicit in_step_guard(bool& in_step) : in_step_(in_step) { in_step_ = true; }
    ~in_step_guard() { in_step_ = false; }
    in_step_guard(in_step_guard const&) = delete;

   private:
    bool& in_step_;
  };

  std::vector<step> steps_;
  std::byte const* workspace_ = nullptr;
  bool in_step_ = false;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
