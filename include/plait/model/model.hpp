// The model: weights, and forward over any batch on top of any state.
#pragma once

#include <plait/core/prologue.hpp>

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

/// Where an observer is: a layer, or -1 outside of them, and a name.
/// "embed" [T, d] and, with a vocabulary, "final_norm" [R, d] and "logits" [R, V] (layer -1), R the
/// wanted rows; of a layer "mixer" and "ffn" (outputs before their residual adds) and "out" (after
/// both), and whatever its layers show ("router_logits", "experts", "expert_weights").
struct probe {
  int layer = -1;
  char const* name = "";
};

/// A hybrid sequence model: architecture C (policy/hybrid.hpp) on an execution policy.
///
/// With vocab_size = no_vocabulary there are only the layers: embeddings in, x out
/// (forward_hidden).
///
/// Any number of tokens on top of any state: prefill, chunked prefill and decode are the same
/// function, with bitwise the same result on the CPU. Layers of a kind share their code; the
/// layer's index is a run-time value. Cost: 2 operations an active parameter and token, and what
/// the layers add (policy/count.hpp).
///
/// Errors are found before anything is computed: then nothing has changed. Afterwards each sequence
/// has moved on, and the batch is used up: `clear` it. An observer must not throw.
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
/// Equation: x = embedding[ids]; for each layer x += mixer(norm(x)), x += ffn(norm(x)); logits =
///   head norm(x). `forward_hidden` stops before the head; without a vocabulary x itself comes out,
///   without a norm
/// Shapes: logits [rows_wanted, vocab_size], hidden [rows_wanted, d_model]; `reserve` counts tokens
///   of a call, with as many output rows. An observer sees `"embed"` [T, d_model], of each layer
///   `"mixer"`, `"ffn"` (before their residual adds), `"out"` (after both) and what its layers
///   show, then `"final_norm"` [R, d_model] and `"logits"` [R, vocab_size], R the wanted rows
/// Errors:
///   - `has moved on since it was added; clear the batch and add it again`: so, and below, after
///     `forward: sequence N of the batch`
/// Cost: 2 operations an active parameter and token, and what the layers add (`decode_cost`,
///   `prefill_cost` in policy/count.hpp); each weight is read once for a few tokens as for one.
///   forward allocates nothing after `reserve`, which measures by running forward dry
/// Source: Lieber et al., arXiv:2403.19887
/// Test: tests/unit/model/model_test.cpp, tests/unit/model/invariance_test.cpp,
///   tests/unit/model/allocation_test.cpp, tests/unit/io/golden_test.cpp
template <auto C, class Exec = exec::cpu<>>
class model : public model_weights<C, typename Exec::storage_type> {
  using base = model_weights<C, typename Exec::storage_type>;
  static_assert(sizeof(check<C>) > 0);

 public:
  using base::base;  // allocated and zero, or unallocated
  using value_type = typename Exec::value_type;
  using output_type = typename Exec::output_type;  ///< of logits
  using state_type = state_value<value_type>;
  using memory = typename Exec::memory;
  using storage_type = typename Exec::storage_type;
  using exec_type = Exec;
  using batch_type = basic_batch<value_type, memory>;
  static constexpr cache_layout layout{
      plan<C>::state_values, plan<C>::page_values* std::int64_t{sizeof(typename Exec::kv_type)}};
  static constexpr std::int64_t d_model = base::d_model, vocab_size = base::vocab_size;
  static constexpr layer_settings settings = base::settings;
  static constexpr bool has_vocabulary = base::has_vocabulary;

  /// What becomes of a sequence in several calls: as its least patient mixer says.
  static constexpr continuation continues() {
    continuation least = continuation::bitwise;
    base::for_each_kind([&](auto k) {
      least = std::max(least, plait::continues<int(d_model), plan<C>::template kind<k>::mixer>());
    });
    return least;
  }

  /// Makes room in the workspace of `exec` for calls of up to `tokens` tokens, with as many output
  /// rows, of up to `sequences` sequences. plait::error unless both are in [1, max_call_tokens] and
  /// there is memory.
  void reserve(Exec& exec, std::int64_t tokens, std::int64_t sequences = 1) const {
    if (tokens < 1 || sequences < 1 || tokens > max_call_tokens || sequences > max_call_tokens)
      throw error("reserve: between 1 and " + std::to_string(max_call_tokens) +
                  " tokens and sequences a call, not " + std::to_string(tokens) + " and " +
                  std::to_string(sequences));
    std::vector<std::int64_t> first(std::size_t(sequences) + 1, tokens),
        length(std::size_t(sequences), 0);
    first[0] = 0;
    exec.workspace.reserve(measure(
        exec, {.count = sequences, .first_row = first.data(), .length = length.data()}, tokens));
    exec.start();
    if constexpr (requires { exec.upload_weights(*this); }) exec.upload_weights(*this);
  }

  /// Runs the batch's new tokens and writes the logits of its wanted rows, [rows_wanted,
  /// vocab_size]. Every sequence has moved on by its tokens afterwards; the batch is used up (clear
  /// it). On an error (an id outside the vocabulary, room not reserved, a wrong shape) nothing has
  /// changed. An observer must not throw: the sequences of the batch would be left half-way.
  template <class Observer>
  void forward(Exec& exec, batch_type& b, matrix_view<std::type_identity_t<output_type>> logits,
               Observer&& observe) const requires has_vocabulary {
    begin(exec, b, logits.rows(), logits.cols(), vocab_size);
    execute(exec, b, {}, logits, observe);
  }
  void forward(Exec& exec, batch_type& b, matrix_view<std::type_identity_t<output_type>> logits)
      const requires has_vocabulary {
    forward(exec, b, logits, unobserved{});
  }

  /// The same, but writes the rows before the head: final_norm(x), [rows_wanted, d_model]; x itself
  /// where there is no vocabulary.
  template <class Observer>
  void forward_hidden(Exec& exec, batch_type& b,
                      matrix_view<std::type_identity_t<value_type>> hidden,
                      Observer&& observe) const {
    begin(exec, b, hidden.rows(), hidden.cols(), d_model);
    execute(exec, b, hidden, {}, observe);
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

  static call_inputs<T> view(batch_type& b) {
    return {.seqs = {.count = b.size(),
                     .first_row = b.first_row_.data(),
                     .length = b.length_.data(),
                     .state = b.state_.data(),
                     .pages = b.table_.data()},
            .ids = b.ids_.data(),
            .wanted = b.wanted_.data(),
            .outputs = b.rows_wanted()};
  }

  std::int64_t measure(Exec& exec, sequences<T> const& seqs, std::int64_t outputs) const {
    return exec.workspace.measure([&] {
      matrix_view<T> const hidden{nullptr, has_vocabulary ? 0 : outputs, d_model};
      matrix_view<L> const logits{nullptr, has_vocabulary ? outputs : 0, vocab_size};
      run(exec, {.seqs = seqs, .outputs = outputs}, nullptr, hidden, logits, unobserved{});
    });
  }

  void begin(Exec& exec, batch_type& b, std::int64_t out_rows, std::int64_t out_cols,
             std::int64_t cols) const {
    if (out_rows != b.rows_wanted() || out_cols != cols)
      throw error("forward: the output is " + std::to_string(out_rows) + " x " +
                  std::to_string(out_cols) + ", the batch wants " +
                  std::to_string(b.rows_wanted()) + " x " + std::to_string(cols));
    if (b.tokens_count() > max_call_tokens)
      throw error("forward: " + std::to_string(b.tokens_count()) + " tokens in one call; at most " +
                  std::to_string(max_call_tokens) + " are possible, so split them");
    if (std::int64_t const s = b.repeated(); s >= 0)
      throw error("forward: sequence " + std::to_string(s) + " of the batch is in the batch twice");
    for (std::int64_t s = 0; s < b.size(); ++s) {
      auto const i = static_cast<std::size_t>(s);
      typename batch_type::cache_type& sequence = *b.entries_[i].sequence;
      auto const named = [&] {
        return "forward: sequence " + std::to_string(s) + " of the batch ";
      };
      std::int64_t const tokens = b.first_row_[i + 1] - b.first_row_[i];
      if (!(sequence.layout() == layout))
        throw error(named() + "belongs to a cache pool of another architecture");
      if (sequence.length() != b.length_[i])
        throw error(named() + "has moved on since it was added; clear the batch and add it again");
      if (matrix_view<T const> const e = b.entries_[i].embeddings;
          e.rows() > 0 && e.cols() != d_model)
        throw error(named() + "has embeddings of width " + std::to_string(e.cols()) +
                    ", the model's is " + std::to_string(d_model));
      if (!has_vocabulary && b.entries_[i].embeddings.rows() == 0 && tokens > 0)
        throw error(named() +
                    "has token ids, but this architecture has no vocabulary: add embeddings");
      if (continues() == continuation::none && sequence.length() > 0 && tokens > 0)
        throw error(named() + "has " + std::to_string(sequence.length()) +
                    " tokens already, but a mixer here sees later tokens, so that a sequence is "
                    "one call: start a new one");
      if (b.entries_[i].embeddings.rows() == 0)
        for (std::int64_t t = 0; t < tokens; ++t)
          if (std::int32_t const id = b.ids_[static_cast<std::size_t>(b.first_row_[i] + t)];
              id < 0 || id >= vocab_size)
            throw error(named() + "has token id " + std::to_string(id) + " at position " +
                        std::to_string(t) + "; the vocabulary has " + std::to_string(vocab_size));
      if (tokens > sequence.capacity() - sequence.length())
        throw error(named() + "has " + std::to_string(tokens) + " new tokens and room for " +
                    std::to_string(sequence.capacity() - sequence.length()) +
                    ": call reserve on its cache");
      b.state_[i] = sequence.state();
      sequence.page_table(sequence.length() + tokens, b.pages_[i].data());
      b.table_[i] = b.pages_[i].data();
    }
    if (std::int64_t const needed = measure(exec, view(b).seqs, b.rows_wanted());
        needed > exec.workspace.capacity())
      throw error("forward: " + std::to_string(b.tokens_count()) + " tokens need " +
                  std::to_string(needed) + " bytes of workspace, " +
                  std::to_string(exec.workspace.capacity()) +
                  " are reserved: call the model's reserve");
  }

  /// Either hidden or logits is what is wanted.
  template <class Observer>
  void execute(Exec& exec, batch_type& b, matrix_view<T> hidden, matrix_view<L> logits,
               Observer& observe) const {
    bool const repeatable = std::is_same_v<Observer, unobserved> && b.has_ids_only();
    call_inputs<T> const inputs = exec.stage(view(b));
    void const* const out =
        hidden.data() != nullptr ? static_cast<void const*>(hidden.data()) : logits.data();
    sequences<T> const& seqs = inputs.seqs;
    exec.execute(call_shape{this, out, seqs.count, seqs.total(), seqs.longest, inputs.outputs,
                            seqs.context, repeatable},
                 [&] { run(exec, inputs, &b, hidden, logits, observe); });
    for (std::size_t i = 0; i < b.entries_.size(); ++i)
      b.entries_[i].sequence->advance(b.first_row_[i + 1] - b.first_row_[i]);
  }

  /// Ids and embeddings to rows of x, a run of entries of one sort at a time.
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

  /// The forward pass; also its own measurement (core/arena.hpp), then without a batch and without
  /// data.
  template <class Observer>
  void run(Exec& exec, call_inputs<T> const& inputs, batch_type const* b, matrix_view<T> hidden,
           matrix_view<L> logits, Observer&& observe) const {
    using norm = layer<int(d_model), C.norm>;
    arena::frame const scratch(exec.workspace);
    std::int64_t const tokens = inputs.seqs.total();
    bool const to_logits = has_vocabulary && hidden.data() == nullptr && hidden.rows() == 0;
    auto const x = exec.template matrix<T>(tokens, d_model),
               h = exec.template matrix<T>(tokens, d_model),
               y = exec.template matrix<T>(tokens, d_model);
    matrix_view<T const> pending;  // a sublayer's output, added to x by the next norm
    auto const show = [&](int i, char const* name, auto const& m) {
      if (!exec.workspace.measuring()) observe(probe{i, name}, m);
    };

    if (b != nullptr) embed(exec, *b, inputs.ids, x);
    show(-1, "embed", matrix_view<T const>(x));
    for (int i = 0; i < plan<C>::layers; ++i) {
      sequences<T> here = inputs.seqs;
      here.state_offset = plan<C>::places[std::size_t(i)].state_offset;
      here.page_offset = plan<C>::places[std::size_t(i)].page_offset;
      base::at_layer(i, [&](auto k, auto const& w) {
        using kind = typename plan<C>::template kind<k>;
        auto const see = [&](char const* name, auto const& m) { show(i, name, m); };
        if constexpr (std::remove_cvref_t<decltype(w)>::has_mixer) {
          norm::forward(exec, w.mixer_norm, settings, x, pending, h);
          if (i > 0) show(i - 1, "out", matrix_view<T const>(x));
          layer<int(d_model), kind::mixer>::forward(exec, w.mixer, settings, here, h, y, see);
          see("mixer", matrix_view<T const>(pending = y));
        }
        if constexpr (std::remove_cvref_t<decltype(w)>::has_ffn) {
          norm::forward(exec, w.ffn_norm, settings, x, pending, h);
          if (i > 0 && !std::remove_cvref_t<decltype(w)>::has_mixer)
            show(i - 1, "out", matrix_view<T const>(x));
          layer<int(d_model), kind::ffn>::forward(exec, w.ffn, settings, h, y, see);
          see("ffn", matrix_view<T const>(pending = y));
        }
      });
    }
    if constexpr (has_vocabulary)
      norm::forward(exec, base::final_norm(), settings, x, pending, h);
    else
      ops::add_residual(exec, x, pending);
    show(plan<C>::layers - 1, "out", matrix_view<T const>(x));

    auto const wanted = to_logits ? exec.template matrix<T>(inputs.outputs, d_model) : hidden;
    ops::gather_rows(exec, has_vocabulary ? h : x, inputs.wanted, wanted);
    if constexpr (has_vocabulary) {
      show(-1, "final_norm", matrix_view<T const>(wanted));
      if (!to_logits) return;
      ops::linear(exec, wanted, ops::into(logits, base::head()));
      show(-1, "logits", matrix_view<L const>(logits));
    }
  }
};

PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
