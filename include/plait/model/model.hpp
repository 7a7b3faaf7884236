// The model: the weights of an architecture, and forward.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/call.hpp>
#include <plait/core/sentence.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/layers/layer.hpp>
#include <plait/layers/norm.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/model_weights.hpp>
#include <plait/model/plan.hpp>
#include <plait/ops/linear/linear.hpp>
#include <plait/ops/norm/add_residual.hpp>
#include <plait/ops/rows/embed.hpp>
#include <plait/ops/rows/gather_rows.hpp>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN

/// The place of an observed activation: a layer, or -1 outside of the layers, and a name.
/// Shapes: layer -1: "embed" [T, d_model], "final_norm" [R, d_model], "logits" [R, vocab_size], R
///   the output rows; a layer: "mixer" and "ffn" [T, d_model], before their residual adds, "out"
///   [T, d_model], after both, and what the layers show ("router_logits", "experts",
///   "expert_weights"). Without a vocabulary there are no "final_norm" and "logits"
struct probe {
  int layer = -1;
  char const* name = "";
};

/// A hybrid sequence model: architecture C (policy/hybrid.hpp) on an execution policy.
///
/// forward takes any number of new tokens of any number of sequences, on top of any state: prefill,
/// chunked prefill and decode are one function, with bitwise the same result on the CPU. After it
/// each sequence is longer by its new tokens, and the batch is used up: `clear` it. An observer
/// must not throw, because the states and pages of the batch's sequences would be partly updated.
///
/// ```cpp body
/// small_model net;
/// plait::initialize(net, 1);
/// plait::exec::cpu<> cpu;
/// net.reserve(cpu, 3);
/// std::vector<std::int32_t> const ids{3, 1, 4};
/// std::vector<float> logits(256);
/// plait::batch<small_model> step;
/// step.add(sequence, ids);  // the logits of the last token
/// int shown = 0;
/// net.forward(cpu, step, {logits.data(), 1, 256},
///             [&](plait::probe at, auto const&) { shown += at.layer == 0; });
/// step.clear();
/// ```
/// Equation: x = embedding[ids]; per layer x += mixer(norm(x)), x += ffn(norm(x)); hidden =
///   norm(x); logits = head hidden. With vocab_size = no_vocabulary x is the embeddings of the
///   batch, and hidden = x
/// Shapes: logits [rows_wanted, vocab_size], hidden [rows_wanted, d_model]; `reserve` takes the
///   tokens per call, with as many output rows; for observers see `probe`
/// Errors: detected before anything is computed, so that nothing has changed
///   - `has moved on since it was added; clear the batch and add it again`: this and similar errors
///     follow `forward: sequence N of the batch`
/// Cost: 2 operations per active parameter and token, and those of the layers (`decode_cost`,
///   `prefill_cost` in policy/count.hpp); each weight is read once for a few tokens as for one.
///   forward allocates nothing after `reserve`, which measures by a dry run of forward
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/model/model_test.cpp, tests/unit/model/invariance_test.cpp,
///   tests/unit/model/allocation_test.cpp, tests/unit/io/golden_test.cpp
template <auto C, class Exec = exec::cpu<>>
class model : public model_weights<C, typename Exec::storage_type> {
  using base = model_weights<C, typename Exec::storage_type>;
  static_assert(sizeof(plait::check<C>) > 0);

 public:
  using base::base;  // weights allocated and zero, or unallocated
  using value_type = typename Exec::value_type;
  using output_type = typename Exec::output_type;  ///< of logits
  using state_type = state_value<value_type>;
  using memory = typename Exec::memory;
  using storage_type = typename Exec::storage_type;
  using exec_type = Exec;
  using batch_type = basic_batch<value_type, memory>;
  static constexpr cache_layout layout{
      plan<C>::state_values, plan<C>::page_values* std::int64_t{sizeof(typename Exec::kv_type)}};
  static constexpr std::int64_t d_model = base::d_model;
  static constexpr std::int64_t vocab_size = base::vocab_size;
  static constexpr layer_settings settings = base::settings;
  static constexpr bool has_vocabulary = base::has_vocabulary;

  /// Chunked-prefill guarantee of the model: the weakest of its mixers'.
  static constexpr continuation continues() {
    continuation weakest = continuation::bitwise;
    base::for_each_kind([&](auto k) {
      weakest =
          std::max(weakest, plait::continues<int(d_model), plan<C>::template kind<k>::mixer>());
    });
    return weakest;
  }

  /// Makes room in the workspace of `exec` for calls of up to `tokens` tokens, with as many output
  /// rows, of up to `sequences` sequences. plait::error unless both are in [1, max_call_tokens] and
  /// there is memory.
  void reserve(Exec& exec, std::int64_t tokens, std::int64_t sequences = 1) const {
    if (tokens < 1 || sequences < 1 || tokens > max_call_tokens || sequences > max_call_tokens)
      throw error(sentence("reserve: between 1 and {} tokens and sequences per call, not {} and {}",
                           max_call_tokens, tokens, sequences));
    std::vector<std::int64_t> first_row(std::size_t(sequences) + 1, tokens);
    std::vector<std::int64_t> const length(std::size_t(sequences), 0);
    first_row[0] = 0;
    exec.workspace.reserve(
        size(exec, {.count = sequences, .first_row = first_row.data(), .length = length.data()},
             tokens));
    exec.start();
    if constexpr (requires { exec.upload_weights(*this); }) exec.upload_weights(*this);
  }

  /// Runs the new tokens of the batch and writes the logits of its output rows.
  template <class Observer>
  void forward(Exec& exec, batch_type& b, matrix_view<std::type_identity_t<output_type>> logits,
               Observer&& observe) const requires has_vocabulary {
    check(exec, b, logits.rows(), logits.cols(), vocab_size);
    launch(exec, b, {}, logits, observe);
  }
  void forward(Exec& exec, batch_type& b, matrix_view<std::type_identity_t<output_type>> logits)
      const requires has_vocabulary {
    forward(exec, b, logits, unobserved{});
  }

  /// Runs the new tokens of the batch and writes the rows before the head: final_norm(x), or x
  /// where there is no vocabulary.
  template <class Observer>
  void forward_hidden(Exec& exec, batch_type& b,
                      matrix_view<std::type_identity_t<value_type>> hidden,
                      Observer&& observe) const {
    check(exec, b, hidden.rows(), hidden.cols(), d_model);
    launch(exec, b, hidden, {}, observe);
  }
  void forward_hidden(Exec& exec, batch_type& b,
                      matrix_view<std::type_identity_t<value_type>> hidden) const {
    forward_hidden(exec, b, hidden, unobserved{});
  }

 private:
  using T = value_type;
  using L = output_type;
  struct unobserved {
    template <class View>
    void operator()(probe, View const&) const {}
  };

  /// Checks the call, and lists state and pages of its sequences in the batch.
  void check(Exec& exec, batch_type& b, std::int64_t out_rows, std::int64_t out_cols,
             std::int64_t cols) const {
    if (out_rows != b.rows_wanted() || out_cols != cols)
      throw error(sentence("forward: the output is {} x {}, the batch needs {} x {}", out_rows,
                           out_cols, b.rows_wanted(), cols));
    if (b.tokens_count() > max_call_tokens)
      throw error(sentence("forward: {} tokens in one call; split them, {} are the maximum",
                           b.tokens_count(), max_call_tokens));
    if (std::int64_t const s = b.duplicate(); s >= 0)
      throw error(sentence("forward: sequence {} of the batch is in the batch twice", s));
    for (std::size_t s = 0; s < b.entries_.size(); ++s) check_sequence(b, s);
    std::int64_t const needed = size(exec, inputs_of(b).seqs, b.rows_wanted());
    if (needed > exec.workspace.capacity())
      throw error(
          sentence("forward: {} tokens need {} bytes of workspace, {} are reserved: call the "
                   "model's reserve",
                   b.tokens_count(), needed, exec.workspace.capacity()));
  }

  static void check_sequence(batch_type& b, std::size_t s) {
    typename batch_type::cache_type& sequence = *b.entries_[s].sequence;
    matrix_view<T const> const embeddings = b.entries_[s].embeddings;
    std::int64_t const tokens = b.first_row_[s + 1] - b.first_row_[s];
    auto const refuse = [&](std::string const& reason) {
      throw error(sentence("forward: sequence {} of the batch {}", s, reason));
    };
    if (!(sequence.layout() == layout)) refuse("belongs to a cache pool of another architecture");
    if (sequence.length() != b.length_[s])
      refuse("has moved on since it was added; clear the batch and add it again");
    if (embeddings.rows() > 0 && embeddings.cols() != d_model)
      refuse(sentence("has embeddings of width {}, the model's is {}", embeddings.cols(), d_model));
    if (!has_vocabulary && embeddings.rows() == 0 && tokens > 0)
      refuse("has token ids, but this architecture has no vocabulary: add embeddings");
    if (continues() == continuation::none && sequence.length() > 0 && tokens > 0)
      refuse(
          sentence("has {} tokens already, but a mixer here sees later tokens, so that a sequence "
                   "is one call: start a new one",
                   sequence.length()));
    if (embeddings.rows() == 0)
      for (std::int64_t t = 0; t < tokens; ++t)
        if (std::int32_t const id = b.ids_[static_cast<std::size_t>(b.first_row_[s] + t)];
            id < 0 || id >= vocab_size)
          refuse(
              sentence("has token id {} at position {}; the vocabulary has {}", id, t, vocab_size));
    if (tokens > sequence.capacity() - sequence.length())
      refuse(sentence("has {} new tokens and room for {}: call reserve on its cache", tokens,
                      sequence.capacity() - sequence.length()));
    b.state_[s] = sequence.state();
    sequence.page_table(sequence.length() + tokens, b.pages_[s].data());
    b.table_[s] = b.pages_[s].data();
  }

  /// Bytes of workspace of a call: a dry run of compute (core/arena.hpp).
  std::int64_t size(Exec& exec, sequences<T> const& seqs, std::int64_t outputs) const {
    return exec.workspace.measure([&] {
      matrix_view<T> const hidden{nullptr, has_vocabulary ? 0 : outputs, d_model};
      matrix_view<L> const logits{nullptr, has_vocabulary ? outputs : 0, vocab_size};
      compute(exec, {.seqs = seqs, .outputs = outputs}, nullptr, hidden, logits, unobserved{});
    });
  }

  static call_inputs<T> inputs_of(batch_type& b) {
    return {.seqs = {.count = b.size(),
                     .first_row = b.first_row_.data(),
                     .length = b.length_.data(),
                     .state = b.state_.data(),
                     .pages = b.table_.data()},
            .ids = b.ids_.data(),
            .wanted = b.output_rows_.data(),
            .outputs = b.rows_wanted()};
  }

  /// Stages the inputs and launches the call; one of hidden and logits is empty.
  template <class Observer>
  void launch(Exec& exec, batch_type& b, matrix_view<T> hidden, matrix_view<L> logits,
              Observer& observe) const {
    bool const repeatable = std::is_same_v<Observer, unobserved> && b.has_ids_only();
    call_inputs<T> const inputs = exec.stage(inputs_of(b));
    sequences<T> const& seqs = inputs.seqs;
    void const* const out =
        hidden.data() != nullptr ? static_cast<void const*>(hidden.data()) : logits.data();
    call_shape const shape{.model = this,
                           .out = out,
                           .sequences = seqs.count,
                           .rows = seqs.total(),
                           .longest = seqs.longest,
                           .outputs = inputs.outputs,
                           .context = seqs.context,
                           .repeatable = repeatable};
    exec.execute(shape, [&] { compute(exec, inputs, &b, hidden, logits, observe); });
    for (std::size_t i = 0; i < b.entries_.size(); ++i)
      b.entries_[i].sequence->advance(b.first_row_[i + 1] - b.first_row_[i]);
  }

  /// Writes ids and embeddings to the rows of x: one launch per run of entries with ids.
  void embed(Exec& exec, batch_type const& b, std::int32_t const* ids, matrix_view<T> x) const {
    for (std::size_t i = 0, end = 0; i < b.entries_.size(); i = end) {
      std::int64_t const first = b.first_row_[i];
      if (matrix_view<T const> const e = b.entries_[i].embeddings; e.rows() > 0) {
        end = i + 1;
        ops::gather_rows(exec, e, nullptr, x.middle_rows(first, e.rows()));
        continue;
      }
      for (end = i; end < b.entries_.size() && b.entries_[end].embeddings.rows() == 0; ++end) {}
      std::int64_t const tokens = b.first_row_[end] - first;
      if constexpr (has_vocabulary)
        ops::embed(exec, {ids + first, static_cast<std::size_t>(tokens)}, base::embedding(),
                   x.middle_rows(first, tokens));
    }
  }

  /// The forward pass; while the workspace measures, without a batch and without data.
  template <class Observer>
  void compute(Exec& exec, call_inputs<T> const& inputs, batch_type const* b, matrix_view<T> hidden,
               matrix_view<L> logits, Observer&& observe) const {
    using norm = layer<int(d_model), C.norm>;
    arena::frame const scratch(exec.workspace);
    std::int64_t const tokens = inputs.seqs.total();
    bool const to_logits = has_vocabulary && hidden.data() == nullptr && hidden.rows() == 0;
    auto const x = exec.template matrix<T>(tokens, d_model);
    auto const h = exec.template matrix<T>(tokens, d_model);
    auto const y = exec.template matrix<T>(tokens, d_model);
    matrix_view<T const> pending;  // the output of a sublayer, which the next norm adds to x
    auto const show = [&](int i, char const* name, auto const& m) {
      if (!exec.workspace.measuring()) observe(probe{i, name}, m);
    };

    if (b != nullptr) embed(exec, *b, inputs.ids, x);
    show(-1, "embed", matrix_view<T const>(x));
    for (int i = 0; i < plan<C>::layers; ++i) {
      sequences<T> seqs = inputs.seqs;
      seqs.state_offset = plan<C>::places[std::size_t(i)].state_offset;
      seqs.page_offset = plan<C>::places[std::size_t(i)].page_offset;
      base::at_layer(i, [&](auto k, auto const& w) {
        using kind = typename plan<C>::template kind<k>;
        using weights_type = std::remove_cvref_t<decltype(w)>;
        auto const see = [&](char const* name, auto const& m) { show(i, name, m); };
        if constexpr (weights_type::has_mixer) {
          norm::forward(exec, w.mixer_norm, settings, x, pending, h);
          if (i > 0) show(i - 1, "out", matrix_view<T const>(x));
          layer<int(d_model), kind::mixer>::forward(exec, w.mixer, settings, seqs, h, y, see);
          pending = y;
          see("mixer", pending);
        }
        if constexpr (weights_type::has_ffn) {
          norm::forward(exec, w.ffn_norm, settings, x, pending, h);
          if (i > 0 && !weights_type::has_mixer) show(i - 1, "out", matrix_view<T const>(x));
          layer<int(d_model), kind::ffn>::forward(exec, w.ffn, settings, h, y, see);
          pending = y;
          see("ffn", pending);
        }
      });
    }
    if constexpr (has_vocabulary)
      norm::forward(exec, base::final_norm(), settings, x, pending, h);
    else
      ops::add_residual(exec, x, pending);
    show(plan<C>::layers - 1, "out", matrix_view<T const>(x));

    auto const output_rows = to_logits ? exec.template matrix<T>(inputs.outputs, d_model) : hidden;
    ops::gather_rows(exec, has_vocabulary ? h : x, inputs.wanted, output_rows);
    if constexpr (has_vocabulary) {
      show(-1, "final_norm", matrix_view<T const>(output_rows));
      if (!to_logits) return;
      ops::linear(exec, output_rows, ops::into(logits, base::head()));
      show(-1, "logits", matrix_view<L const>(logits));
    }
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
