// The execution policy of a device, for any runtime: CUDA (cuda/exec.cuh) or the emulator
// (emulator/exec.hpp).
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/arena.hpp>
#include <plait/core/call.hpp>
#include <plait/core/half.hpp>
#include <plait/core/view.hpp>
#include <plait/exec/captured_steps.hpp>
#include <plait/exec/staged_inputs.hpp>
#include <plait/gpu/attention_product.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_storage.hpp>
#include <plait/gpu/matrix_product.hpp>
#include <plait/policy/precision.hpp>
#include <plait/policy/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Kernels on a device, with weights stored as precision P says. All inputs and results of a call
/// are in the device's memory: pointers and views passed to `forward` are of that memory, except
/// token ids, which are on the host. `reserve` of a model uploads its weights.
///
/// `Runtime` runs the kernels. Its members:
///
/// - `memory`: the memory policy of the device (core/memory.hpp)
/// - `captured`: type of a captured graph
/// - `launch<Kernel>(grid, args)`: executes Kernel::run(block, shared, args) by every thread of
///   grid.x * grid.y * grid.z blocks (gpu/block.hpp)
/// - `gemm(product)`: a matrix product by a library (gpu/matrix_product.hpp)
/// - `copy_to_device(to, from, bytes)`: in order with the kernels; `from` may be changed afterwards
/// - `copy_to_host(to, from, bytes)`: waits for all kernels
/// - `capture(run) -> captured`: captures the launches of run() without executing them;
///   `replay(graph)` executes them
/// - `multiprocessor_count()`: the number of blocks that occupy the device
/// - `synchronize()`: waits for all kernels
/// - `attention(product) -> n`, optional: a library's attention (gpu/attention_product.hpp) of the
///   first n tokens of a prompt; 0 where it refuses
///
/// and for benchmarks:
///
/// - `seconds(run)`: calls run() and waits; the time from the start of its first kernel to the end
///   of its last
/// - `memory_bytes()`, `last_level_cache_bytes()`: of the device
/// - `probe_bytes()`: size of the arrays that measure its rates (benchmark/probe_device.hpp)
///
/// Equation: activations are bf16, or f32 where the weights are; sums, logits, softmax and
///   recurrent state are f32
/// Shapes: views and pointers passed to `forward`, embeddings and results, are of the device's
///   memory; token ids of the host's
/// State: the workspace, the staged lists of a call and the captured decode steps
/// Cost: one copy to the device per call (exec/staged_inputs.hpp)
/// Test: tests/unit/exec/device_test.cpp
template <precision P, class Runtime>
class device {
  static constexpr bool all_f32 = P.weights == dtype::f32;
  static_assert(!all_f32 || (P.experts == dtype::f32 && P.kv == dtype::f32),
                "plait: on a device f32 weights have f32 experts and f32 keys and values: take "
                "f32, bf16, int8 or experts_int8");
  static_assert(P.kv != dtype::int8, "plait: keys and values are kept as f32 or bf16, not int8");
  static_assert(P.compute == dtype::f32,
                "plait: on a device the products' arithmetic follows from the weights; "
                "with_compute is for the CPU");

 public:
  using runtime_type = Runtime;
  using memory = typename Runtime::memory;
  using value_type = std::conditional_t<all_f32, float, bf16_t>;
  using output_type = float;
  using kv_type = std::conditional_t<P.kv == dtype::f32, float, bf16_t>;
  using storage_type = storage::device<P.weights, P.experts, memory>;
  static constexpr precision types = P;
  static constexpr std::size_t max_graphs = captured_steps<Runtime>::max_graphs;

  Runtime runtime;
  arena workspace{[](std::int64_t bytes) {
    if constexpr (requires { memory::require(bytes, ""); })
      memory::require(bytes, "the workspace of such calls");
    auto const owner = std::make_shared<typename memory::template buffer<std::byte>>(bytes + 64);
    return std::shared_ptr<std::byte>{owner, owner->data()};
  }};

  device() = default;
  explicit device(Runtime r) : runtime(std::move(r)) {}

  template <class T>
  matrix_view<T> matrix(std::int64_t rows, std::int64_t cols) {
    return {workspace.take<T>(rows * cols), rows, cols};
  }

  template <class X, class Y>
  void gemm(matrix_product<X, Y> const& product) {
    if (!workspace.measuring() && product.rows > 0 && product.n > 0) runtime.gemm(product);
  }
  /// Whether the runtime has a library's attention.
  static constexpr bool has_attention =
      requires(Runtime & r, attention_product<value_type> const& product) {
    r.attention(product);
  };
  /// Attention of the first tokens of a prompt by a library: their number, 0 while measuring.
  std::int64_t attention(attention_product<value_type> const& product) requires has_attention {
    return workspace.measuring() || product.tokens == 0 ? 0 : runtime.attention(product);
  }
  /// Launches a kernel, except while measuring or with an empty grid.
  template <class Kernel>
  void launch(launch_grid grid, typename Kernel::args const& args) {
    if (!workspace.measuring() && grid.x > 0 && grid.y > 0 && grid.z > 0)
      runtime.template launch<Kernel>(grid, args);
  }

  void start() {}

  /// Uploads the weights that are not on the device yet, if there is room for all of them. A
  /// model's or layer's `reserve` calls it.
  template <class Model>
  void upload_weights(Model const& model) {
    if constexpr (requires { memory::require(std::int64_t{}, ""); }) {
      std::int64_t bytes = 0;
      const_cast<Model&>(model).for_each_tensor(
          [&](int, auto const&, tensor const&, auto& data) { bytes += data.pending_bytes(); });
      if (bytes > 0) memory::require(bytes, "the weights of this model");
    }
    const_cast<Model&>(model).for_each_tensor(
        [](int, auto const&, tensor const&, auto& data) { data.upload(); });
  }

  /// A call's inputs with their lists in the device's memory, valid until the next call. Captured
  /// steps read those lists, so that they are freed where the lists move.
  template <class T>
  call_inputs<T> stage(call_inputs<T> const& from) {
    return inputs_.stage(from, runtime, [this] { steps_.clear(); });
  }

  /// Runs the kernels of a call, or replays those of a captured decode step.
  template <class Run>
  void execute(call_shape const& shape, Run const& run) {
    steps_.execute(shape, runtime, workspace.data(), run);
  }
  /// Whether a decode step is running: it may be captured, so that its ops must not copy anything
  /// to the host.
  bool in_step() const { return steps_.in_step(); }

 private:
  staged_inputs<memory> inputs_;
  captured_steps<Runtime> steps_;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
