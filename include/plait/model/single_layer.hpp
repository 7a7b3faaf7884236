// One layer without a model, for experiments, tests and timings.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/call.hpp>
#include <plait/core/sentence.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/layers/layer.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>
#include <plait/model/initialize.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

namespace detail {
/// The signature of forward tells mixers, which take sequences, from feed-forwards, which do not
/// (layers/layer.hpp).
template <class Layer, class Weights, class Exec, class T = typename Exec::value_type>
concept mixer_layer = requires(Exec& exec, Weights const& w, layer_settings const& s,
                               sequences<T> const& seqs, matrix_view<T const> x, matrix_view<T> y,
                               no_observer see) {
  Layer::forward(exec, w, s, seqs, x, y, see);
};
template <class Layer, class Weights, class Exec, class T = typename Exec::value_type>
concept feed_forward_layer = requires(Exec& exec, Weights const& w, layer_settings const& s,
                                      matrix_view<T const> x, matrix_view<T> y, no_observer see) {
  Layer::forward(exec, w, s, x, y, see);
};
}  // namespace detail

/// The layer of a policy at width D, with its weights and sequences but without norm and residual
/// add. A mixer takes any number of tokens on top of any state, as in a model; a feed-forward has
/// no sequences. One caller at a time.
///
/// ```cpp body
/// plait::single_layer<64, plait::attention{.num_heads = 4, .num_kv_heads = 2}> layer(42);
/// layer.reserve(cpu, 8);
/// auto layer_sequence = layer.make();
/// layer_sequence.reserve(8);
/// std::vector<float> in(8 * 64, 0.5f), out(8 * 64);
/// plait::matrix_view<float const> const rows_in(in.data(), 8, 64);
/// layer.forward(cpu, layer_sequence, rows_in, plait::matrix_view<float>(out.data(), 8, 64));
/// ```
/// Equation: y = layer(x) on top of the sequence's state
/// Shapes: x, y [T, D], which must not overlap
/// Errors: after an error of forward nothing has changed
/// Cost: that of the layer; forward allocates nothing
/// Test: tests/unit/model/single_layer_test.cpp
template <int D, auto Policy, class Exec = exec::cpu<>>
class single_layer {
 public:
  using value_type = typename Exec::value_type;
  using storage_type = typename Exec::storage_type;
  using exec_type = Exec;
  using weights_type = plait::weights<Policy, D, storage_type>;
  using state_type = state_value<value_type>;
  using memory = typename Exec::memory;
  using sequence_type = basic_cache<state_type, memory>;

  static constexpr auto policy = Policy;
  static constexpr std::int64_t d_model = D;
  static constexpr bool is_mixer = detail::mixer_layer<layer<D, Policy>, weights_type, Exec>;
  static constexpr cache_layout layout{
      policies::state(Policy, D),
      policies::kv(Policy, D) * page_tokens* std::int64_t{sizeof(typename Exec::kv_type)}};
  static_assert(is_mixer || detail::feed_forward_layer<layer<D, Policy>, weights_type, Exec>,
                "plait: single_layer needs a layer whose forward is that of a mixer or of a "
                "feed-forward (layers/layer.hpp)");

  /// All weights allocated and zero.
  explicit single_layer(layer_settings settings = {}) : settings_(settings) { weights_.allocate(); }
  /// Weights drawn from a seed, equal to those of layer 0 of a model (model/initialize.hpp).
  explicit single_layer(std::uint64_t seed, layer_settings settings = {}) : single_layer(settings) {
    initialize(*this, seed);
  }

  weights_type& weights() { return weights_; }
  weights_type const& weights() const { return weights_; }
  /// model::for_each_tensor, for layer 0.
  template <class Visit>
  void for_each_tensor(Visit&& visit) {
    weights_.for_each(
        [&](tensor const& t, auto& data) { visit(0, is_mixer ? "mixer" : "ffn", t, data); });
  }

  /// An empty sequence.
  sequence_type make(cache_options options = {}) requires is_mixer { return pool_.make(options); }

  /// Makes room in the workspace of `exec` for calls of up to `tokens` tokens, and in the page
  /// table for sequences of up to `context` tokens. Pages belong to a sequence
  /// (basic_cache::reserve).
  void reserve(Exec& exec, std::int64_t tokens, std::int64_t context = 65536) {
    if (tokens < 1 || tokens > max_call_tokens || context < 0 || context > (std::int64_t{1} << 40))
      throw error(
          sentence("reserve: between 1 and {} tokens per call and a context of up to 2^40, not {} "
                   "and {}",
                   max_call_tokens, tokens, context));
    std::int64_t const pages =
        layout.page_bytes > 0 ? (std::max(tokens, context) + page_tokens - 1) / page_tokens : 0;
    if (pages > static_cast<std::int64_t>(table_.size()))
      table_.resize(static_cast<std::size_t>(pages));
    exec.workspace.reserve(size(exec, tokens));
    exec.start();
    if constexpr (requires { exec.upload_weights(*this); }) exec.upload_weights(*this);
  }

  /// Runs the new tokens x of a sequence, which is longer by them afterwards.
  template <class Observer = no_observer>
  void forward(Exec& exec, sequence_type& sequence, matrix_view<value_type const> x,
               matrix_view<value_type> y, Observer&& see = Observer{}) requires is_mixer {
    std::int64_t const tokens = x.rows();
    std::int64_t const length = sequence.length();
    check_shapes(x, y);
    check_sequence(sequence, tokens);
    check_workspace(exec, tokens);

    sequence.page_table(length + tokens, table_.data());
    std::array<std::int64_t, 2> const first_row{0, tokens};
    state_type* const state = sequence.state();
    std::byte* const* const pages = table_.data();
    call_inputs<value_type> const inputs =
        exec.stage(call_inputs<value_type>{.seqs = {.count = 1,
                                                    .first_row = first_row.data(),
                                                    .length = &length,
                                                    .state = &state,
                                                    .pages = &pages}});
    layer<D, Policy>::forward(exec, weights_, settings_, inputs.seqs, x, y, see);
    sequence.advance(tokens);
  }

  /// Runs the tokens x of a feed-forward.
  template <class Observer = no_observer>
  void forward(Exec& exec, matrix_view<value_type const> x, matrix_view<value_type> y,
               Observer&& see = Observer{}) requires(!is_mixer) {
    check_shapes(x, y);
    check_workspace(exec, x.rows());
    layer<D, Policy>::forward(exec, weights_, settings_, x, y, see);
  }

 private:
  static void check_shapes(matrix_view<value_type const> x, matrix_view<value_type> y) {
    if (x.cols() != D || y.cols() != D || x.rows() != y.rows())
      throw error(
          sentence("forward: x is {} x {}, y is {} x {}; both must have one row per token and {} "
                   "columns",
                   x.rows(), x.cols(), y.rows(), y.cols(), D));
  }
  void check_sequence(sequence_type const& sequence, std::int64_t tokens) const {
    std::int64_t const length = sequence.length();
    std::int64_t const room = sequence.capacity() - length;
    std::int64_t const table_tokens = static_cast<std::int64_t>(table_.size()) * page_tokens;
    if (!(sequence.layout() == layout))
      throw error("forward: the sequence belongs to another layer");
    if (continues<D, Policy>() == continuation::none && length > 0 && tokens > 0)
      throw error(
          sentence("forward: the sequence has {} tokens already, but this mixer sees later tokens, "
                   "so that a sequence is one call: start a new one",
                   length));
    if (tokens > room)
      throw error(
          sentence("forward: the sequence has {} new tokens and room for {}: call reserve on it",
                   tokens, room));
    if (layout.page_bytes > 0 && length + tokens > table_tokens)
      throw error(
          sentence("forward: the sequence grows to {} tokens, the layer's page table has room for "
                   "{}: call the layer's reserve with that context",
                   length + tokens, table_tokens));
  }
  void check_workspace(Exec& exec, std::int64_t tokens) const {
    if (std::int64_t const needed = size(exec, tokens); needed > exec.workspace.capacity())
      throw error(
          sentence("forward: {} tokens need {} bytes of workspace, {} are reserved: call the "
                   "layer's reserve",
                   tokens, needed, exec.workspace.capacity()));
  }
  /// Bytes of workspace of a call: a dry run of forward (core/arena.hpp).
  std::int64_t size(Exec& exec, std::int64_t tokens) const {
    return exec.workspace.measure([&] {
      matrix_view<value_type> const y{nullptr, tokens, D};
      matrix_view<value_type const> const x = y;
      if constexpr (is_mixer) {
        std::array<std::int64_t, 2> const first_row{0, tokens};
        std::int64_t const length = 0;
        layer<D, Policy>::forward(
            exec, weights_, settings_,
            sequences<value_type>{.count = 1, .first_row = first_row.data(), .length = &length}, x,
            y, no_observer{});
      } else {
        layer<D, Policy>::forward(exec, weights_, settings_, x, y, no_observer{});
      }
    });
  }

  layer_settings settings_;
  weights_type weights_;
  basic_cache_pool<state_type, memory> pool_{layout};
  std::vector<std::byte*> table_;
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
