// One layer on its own, to be tried, tested and timed without a model: weights, sequences, forward;
// no norm, no residual.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/exec/cpu.hpp>
#include <plait/layers/layer.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/initialize.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

namespace detail {
/// What a layer is, its forward says (layers/layer.hpp): one that is given sequences mixes tokens,
/// one that is not treats each alone.
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

/// The layer of a policy at width D, alone: to be tried, tested and timed without a model around
/// it. No norm and no residual.
///
///   plait::exec::cpu<> exec;
///   plait::single_layer<256, plait::mamba{}> layer(42);       // weights from a seed
///   layer.reserve(exec, 64);                                  // calls of up to 64 tokens
///   auto sequence = layer.make();
///   layer.forward(exec, sequence, x, y);                      // a feed-forward has no sequence
///
/// Mixers take any number of tokens on top of any state, as a model does. One caller at a time.
///
/// ```cpp body
/// plait::single_layer<64, plait::attention{.num_heads = 4, .num_kv_heads = 2}> layer(42);
/// layer.reserve(cpu, 8);
/// auto tokens_so_far = layer.make();
/// tokens_so_far.reserve(8);
/// std::vector<float> in(8 * 64, 0.5f), out(8 * 64);
/// plait::matrix_view<float const> const rows_in(in.data(), 8, 64);
/// layer.forward(cpu, tokens_so_far, rows_in, plait::matrix_view<float>(out.data(), 8, 64));
/// ```
/// Equation: y = layer(x) on top of the sequence's state; weights from a seed are those of layer 0
///   of a model with that seed
/// Shapes: x, y [T, D], which must not overlap; `tokens` a call, `context` the longest sequence
/// Cost: the layer's; forward allocates nothing
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

  /// All weights allocated, zero.
  explicit single_layer(layer_settings settings = {}) : settings_(settings) { weights_.allocate(); }
  /// Weights drawn from a seed: the same as in layer 0 of a model (model/initialize.hpp).
  explicit single_layer(std::uint64_t seed, layer_settings settings = {}) : single_layer(settings) {
    initialize(*this, seed);
  }

  weights_type& weights() { return weights_; }
  weights_type const& weights() const { return weights_; }
  /// As model::for_each_tensor, for layer 0.
  template <class Visit>
  void for_each_tensor(Visit&& visit) {
    weights_.for_each(
        [&](tensor const& t, auto& data) { visit(0, is_mixer ? "mixer" : "ffn", t, data); });
  }

  /// An empty sequence.
  sequence_type make(cache_options options = {}) requires is_mixer { return pool_.make(options); }

  /// Makes room for calls of up to `tokens` tokens: in the workspace of `exec`, and for the page
  /// table of sequences of up to `context` tokens. The pages themselves are a sequence's own
  /// (basic_cache::reserve).
  void reserve(Exec& exec, std::int64_t tokens, std::int64_t context = 65536) {
    if (tokens < 1 || tokens > max_call_tokens || context < 0 || context > (std::int64_t{1} << 40))
      throw error("reserve: between 1 and " + std::to_string(max_call_tokens) +
                  " tokens a call and a context of up to 2^40, not " + std::to_string(tokens) +
                  " and " + std::to_string(context));
    std::int64_t const pages =
        layout.page_bytes > 0 ? (std::max(tokens, context) + page_tokens - 1) / page_tokens : 0;
    if (pages > static_cast<std::int64_t>(table_.size()))
      table_.resize(static_cast<std::size_t>(pages));
    exec.workspace.reserve(measure(exec, tokens));
    exec.start();
    if constexpr (requires { exec.upload_weights(*this); }) exec.upload_weights(*this);
  }

  /// Runs the new tokens x [T, D] of a sequence; it has moved on by them afterwards. y [T, D] must
  /// not overlap x. Allocates nothing. On an error (room not reserved, a wrong shape) nothing has
  /// changed.
  template <class Observer = no_observer>
  void forward(Exec& exec, sequence_type& sequence, matrix_view<value_type const> x,
               matrix_view<value_type> y, Observer&& see = Observer{}) requires is_mixer {
    std::int64_t const tokens = x.rows(), length = sequence.length(), after = length + tokens;
    check_shapes(x, y);
    if (!(sequence.layout() == layout))
      throw error("forward: the sequence belongs to another layer");
    if (continues<D, Policy>() == continuation::none && length > 0 && tokens > 0)
      throw error("forward: the sequence has " + std::to_string(length) +
                  " tokens already, but this mixer sees later tokens, so that a sequence is one "
                  "call: start a new one");
    if (tokens > sequence.capacity() - length)
      throw error("forward: the sequence has " + std::to_string(tokens) +
                  " new tokens and room for " + std::to_string(sequence.capacity() - length) +
                  ": call reserve on it");
    if (layout.page_bytes > 0 && after > static_cast<std::int64_t>(table_.size()) * page_tokens)
      throw error("forward: the sequence grows to " + std::to_string(after) +
                  " tokens, the layer's page table has room for " +
                  std::to_string(static_cast<std::int64_t>(table_.size()) * page_tokens) +
                  ": call the layer's reserve with that context");
    check_workspace(exec, tokens);

    sequence.page_table(after, table_.data());
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

  /// The same for a feed-forward, which knows no sequences.
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
      throw error("forward: x is " + std::to_string(x.rows()) + " x " + std::to_string(x.cols()) +
                  ", y is " + std::to_string(y.rows()) + " x " + std::to_string(y.cols()) +
                  "; both must have one row a token and " + std::to_string(D) + " columns");
  }
  void check_workspace(Exec& exec, std::int64_t tokens) const {
    if (std::int64_t const needed = measure(exec, tokens); needed > exec.workspace.capacity())
      throw error("forward: " + std::to_string(tokens) + " tokens need " + std::to_string(needed) +
                  " bytes of workspace, " + std::to_string(exec.workspace.capacity()) +
                  " are reserved: call the layer's reserve");
  }
  std::int64_t measure(Exec& exec, std::int64_t tokens) const {
    return exec.workspace.measure([&] {
      matrix_view<value_type> const nothing{nullptr, tokens, D};
      matrix_view<value_type const> const x = nothing;
      if constexpr (is_mixer) {
        std::array<std::int64_t, 2> const first_row{0, tokens};
        std::int64_t const length = 0;
        layer<D, Policy>::forward(
            exec, weights_, settings_,
            sequences<value_type>{.count = 1, .first_row = first_row.data(), .length = &length}, x,
            nothing, no_observer{});
      } else {
        layer<D, Policy>::forward(exec, weights_, settings_, x, nothing, no_observer{});
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
