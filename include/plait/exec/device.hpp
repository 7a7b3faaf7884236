// What the execution policies of a device share, whoever runs their kernels: CUDA (cuda/exec.cuh),
// or the emulator (emulator/exec.hpp). What the execution policies of a device share:
// activations, storage, workspace in its memory, a call's lists, and decode steps that are kept and
// launched as a whole.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/arena.hpp>
#include <plait/core/call.hpp>
#include <plait/core/half.hpp>
#include <plait/core/view.hpp>
#include <plait/gpu/attention_product.hpp>
#include <plait/gpu/block.hpp>
#include <plait/gpu/device_storage.hpp>
#include <plait/gpu/matrix_product.hpp>
#include <plait/policy/precision.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Kernels on a device, with weights stored as precision P says. Activations are bf16, or f32 where
/// all weights are; products sum in f32; logits, softmax and recurrent state are f32. Everything a
/// call computes with, and its result, is in the device's memory: pointers and views given to
/// forward are of that memory, ids apart.
///
/// Runtime runs the kernels:
///
/// - `memory`: where buffers are (core/memory.hpp)
/// - `launch<Kernel>(grid, args)`: Kernel::run(block, shared, args) by every thread of grid.x *
///   grid.y * grid.z blocks (gpu/block.hpp)
/// - `gemm(product)`: a product of many rows by a library (gpu/matrix_product.hpp)
/// - `send(to, from, bytes)`: from this machine, in order with the kernels; `from` may be changed
///   afterwards
/// - `fetch(to, from, bytes)`: to this machine: waits for all kernels
/// - `capture(run) -> kept`: runs nothing, but keeps what `run` would launch; replay(kept) launches
///   that
/// - `processors()`: multiprocessors: how many blocks keep the device busy
///   synchronize()
/// it may have
///
/// - `attention(product) -> n`: what it likes to do of a prompt (gpu/attention_product.hpp): the
///   first n tokens, none where it cannot
///
/// and for benchmarks
///
/// - `seconds(run)`: calls `run` and waits: the time from the first kernel that it launches to the
///   end of the last
/// - `memory_bytes(), last_level_cache_bytes()`: of the device
/// - `probe_bytes()`: what its rates are measured with (benchmark/probe_device.hpp)
///
/// `reserve` of a model moves its weights to the device. What runs the kernels, Runtime, is CUDA,
/// or in the tests fibers of this machine; it also says how long work takes, and how large the
/// device's memory and last-level cache are, for benchmarks. At most `max_graphs` decode steps are
/// kept.
/// Equation: activations are bf16, or f32 where the weights are; sums, logits, softmax and
///   recurrent state f32. A call whose shape comes for the second time, one token of each sequence,
///   is kept, and replayed from then on
/// Shapes: views and pointers given to `forward`, embeddings and results, are of the device's
///   memory; token ids of this machine's
/// Cost: a call sends its lists as one block: 16 bytes a sequence and token, 8 a page of 64 tokens
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
  static constexpr std::size_t max_graphs = 64;  ///< that are kept (execute); the oldest gives way

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
  /// Whether the runtime has attention.
  static constexpr bool has_attention =
      requires(Runtime & r, attention_product<value_type> const& product) {
    r.attention(product);
  };
  /// The first tokens of a prompt by a library: how many it has done. None while measuring.
  std::int64_t attention(attention_product<value_type> const& product) requires has_attention {
    return workspace.measuring() || product.tokens == 0 ? 0 : runtime.attention(product);
  }
  /// Nothing while measuring, and nothing for an empty grid.
  template <class Kernel>
  void launch(launch_grid grid, typename Kernel::args const& args) {
    if (!workspace.measuring() && grid.x > 0 && grid.y > 0 && grid.z > 0)
      runtime.template launch<Kernel>(grid, args);
  }

  void start() {}

  /// Moves weights to the device that are not there yet, if there is room for all of them; a
  /// model's or layer's reserve calls it.
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

  /// A call's lists, sent to the device as one block. Lengths are rounded up to the next power of
  /// two for what this machine decides by them (grids), so that most steps of a decode are alike.
  template <class T>
  call_inputs<T> stage(call_inputs<T> const& from) {
    sequences<T> const& s = from.seqs;
    auto const count = static_cast<std::size_t>(s.count);
    std::int64_t const rows = s.total();
    call_inputs<T> to = from;
    to.seqs.rows = rows;
    std::int64_t context = page_tokens;
    to.seqs.cached = 0;
    for (std::size_t i = 0; i < count; ++i) {
      std::int64_t const tokens = s.first_row[i + 1] - s.first_row[i];
      to.seqs.longest = std::max(to.seqs.longest, tokens);
      context = std::max(context, s.length[i] + tokens);
      to.seqs.cached = std::max(to.seqs.cached, s.length[i]);
    }
    if (to.seqs.cached > 0)
      to.seqs.cached =
          static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(to.seqs.cached)));
    to.seqs.context = context =
        static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(context)));
    std::int64_t const table = context / page_tokens;
    layout at;
    to.seqs.first_row = at.template place<std::int64_t>(s.count + 1);
    to.seqs.length = at.template place<std::int64_t>(s.count);
    to.seqs.state = at.template place<typename sequences<T>::state_type*>(s.count);
    to.seqs.pages = at.template place<std::byte* const*>(s.count);
    to.ids = at.template place<std::int32_t>(from.ids != nullptr ? rows : 0);
    to.wanted = at.template place<std::int64_t>(from.wanted != nullptr ? from.outputs : 0);
    std::byte* const* const tables =
        at.template place<std::byte*>(s.pages != nullptr ? s.count * table : 0);
    if (at.bytes > staged_.size()) {
      forget();
      staged_ = typename memory::template buffer<std::byte>(2 * at.bytes);
    }
    block_.resize(static_cast<std::size_t>(at.bytes));
    auto const put = [&](auto const*& where, auto const* what, std::int64_t n) {
      std::size_t const offset = reinterpret_cast<std::size_t>(where);
      if (n > 0)
        std::memcpy(block_.data() + offset, what, static_cast<std::size_t>(n) * sizeof(*what));
      where = reinterpret_cast<std::remove_reference_t<decltype(where)>>(staged_.data() + offset);
    };
    if (table_of_.size() < count) table_of_ = std::vector<std::byte* const*>(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::size_t const offset = reinterpret_cast<std::size_t>(tables) +
                                 i * static_cast<std::size_t>(table) * sizeof(std::byte*);
      table_of_[i] = reinterpret_cast<std::byte* const*>(staged_.data() + offset);
      std::int64_t const pages =
          (s.length[i] + s.first_row[i + 1] - s.first_row[i] + page_tokens - 1) / page_tokens;
      if (s.pages != nullptr && s.pages[i] != nullptr && pages > 0)
        std::memcpy(block_.data() + offset, s.pages[i],
                    static_cast<std::size_t>(pages) * sizeof(std::byte*));
    }
    put(to.seqs.first_row, s.first_row, s.count + 1);
    put(to.seqs.length, s.length, s.count);
    put(to.seqs.state, s.state, s.state != nullptr ? s.count : 0);
    put(to.seqs.pages, table_of_.data(), s.count);
    put(to.ids, from.ids, from.ids != nullptr ? rows : 0);
    if (from.wanted != nullptr) put(to.wanted, from.wanted, from.outputs);
    if (from.ids == nullptr) to.ids = nullptr;
    runtime.copy_to_device(staged_.data(), block_.data(), at.bytes);
    return to;
  }

  /// Runs the kernels of a call. A decode step, one token of each sequence, is kept when it comes
  /// for the second time, and launched as a whole from then on (a CUDA graph). The kernels are the
  /// same ones every time, and so are the roundings.
  template <class Run>
  void execute(call_shape const& shape, Run const& run) {
    if (shape.rows != shape.sequences || shape.longest > 1)
      return run();  // two tokens of one and none of another are no step
    struct mark {
      bool& on;
      explicit mark(bool& flag) : on(flag) { on = true; }
      ~mark() { on = false; }
    } const here(in_step_);
    if (!shape.repeatable) return run();
    if (workspace.data() != kept_for_) forget();
    for (auto& known : steps_)
      if (known.shape == shape) {
        if (!known.kept) known.kept.emplace(runtime.capture(run));
        return runtime.replay(*known.kept);
      }
    if (steps_.size() == max_graphs) steps_.erase(steps_.begin());
    steps_.push_back({shape, {}});
    kept_for_ = workspace.data();
    run();
  }
  /// Whether a decode step is being run: its kernels may be kept, so that nothing may be fetched.
  bool in_step() const { return in_step_; }

 private:
  struct step {
    call_shape shape;
    std::optional<typename Runtime::kept> kept;
  };

  /// Arrays behind one another; a pointer is an offset until the block has its place.
  struct layout {
    std::int64_t bytes = 0;
    template <class T>
    T* place(std::int64_t n) {
      std::int64_t const at = bytes;
      bytes += (n * static_cast<std::int64_t>(sizeof(T)) + 15) / 16 * 16;
      return reinterpret_cast<T*>(at);
    }
  };

  void forget() { steps_.clear(); }

  typename memory::template buffer<std::byte> staged_;
  std::vector<std::byte> block_;
  std::vector<std::byte* const*> table_of_;
  std::vector<step> steps_;
  std::byte* kept_for_ = nullptr;
  bool in_step_ = false;
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
