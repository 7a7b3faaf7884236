// The sequences of a model and its timed call of forward.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/fill_model.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/core/view.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/cache_pool.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// Sequences with contexts, and a call that gives each of them new tokens.
/// Shapes: output [sequences, columns]: logits or, without a vocabulary, hidden states of the last
///   tokens
/// Errors: those of the model's forward
/// Cost: contexts are filled by forward in calls of 512 tokens, starting from the contexts of the
///   previous point where those are not longer
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
template <class Model>
class model_steps {
 public:
  using exec_type = typename Model::exec_type;
  using T = typename Model::value_type;
  using memory = typename Model::memory;
  using output_type = std::conditional_t<Model::has_vocabulary, typename Model::output_type, T>;
  static constexpr std::int64_t columns =
      Model::has_vocabulary ? Model::vocab_size : Model::d_model;
  static constexpr auto config = Model::config;

  model_steps(Model const& m, routing r)
      : model_(m), routing_(r), channels_(detail::router_channels(config)) {}

  /// Makes the caches of a call, filled with its contexts.
  void prepare(exec_type& exec, call const& next_call) {
    static constexpr std::int64_t chunk = 512;
    model_.reserve(exec,
                   std::max(next_call.tokens * next_call.sequences,
                            std::min(chunk, std::max<std::int64_t>(1, next_call.context))),
                   next_call.sequences);
    if (std::int64_t(caches_.size()) != next_call.sequences || context_ > next_call.context) {
      starts_.clear();
      caches_.clear();
      caches_.reserve(static_cast<std::size_t>(next_call.sequences));
      for (std::int64_t s = 0; s < next_call.sequences; ++s) caches_.push_back(pool_.make());
      context_ = 0;
    } else {
      for (std::size_t s = 0; s < caches_.size(); ++s) caches_[s].restore(starts_[s]);
    }
    starts_.clear();
    placed<output_type, memory> unused(1, columns);
    for (std::int64_t s = 0; s < next_call.sequences; ++s) {
      plait::cache<Model>& cache = caches_[static_cast<std::size_t>(s)];
      for (std::int64_t at = context_, n = 0; at < next_call.context; at += n) {
        n = std::min(chunk, next_call.context - at);
        cache.reserve(n);
        batch_.clear();
        // A variable: forward reads its embeddings.
        new_tokens const chunk_tokens = tokens_of(s, at, n, at);
        chunk_tokens.add(batch_, cache);
        forward(exec, unused.view());
      }
      starts_.push_back(cache.snapshot());
    }
    context_ = next_call.context;
    call_ = next_call;
    next_.clear();
    for (std::int64_t s = 0; s < next_call.sequences; ++s)
      next_.push_back(tokens_of(s, next_call.context, next_call.tokens, s * next_call.tokens));
    output_ = std::make_unique<placed<output_type, memory>>(next_call.sequences, columns);
  }
  /// Returns the sequences to the start of the call, and makes its batch.
  void rewind() {
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s) {
      caches_[s].restore(starts_[s]);
      caches_[s].reserve(call_.tokens);
      next_[s].add(batch_, caches_[s]);
    }
  }
  void run(exec_type& exec) { forward(exec, output_->view()); }
  template <class Observer>
  void run(exec_type& exec, Observer const& observer) {
    if constexpr (Model::has_vocabulary)
      model_.forward(exec, batch_, output_->view(), observer);
    else
      model_.forward_hidden(exec, batch_, output_->view(), observer);
  }
  /// The same tokens in two calls, the last token alone in the second.
  void run_split(exec_type& exec) {
    rewind();
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s)
      next_[s].add(batch_, caches_[s], 0, call_.tokens - 1);
    forward(exec, output_->view());
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s)
      next_[s].add(batch_, caches_[s], call_.tokens - 1, 1);
    forward(exec, output_->view());
  }
  /// The output of the last call, on the host.
  decltype(auto) output() const { return output_->fetch(); }

  /// The number of the call's tokens assigned to each expert of feed-forward policy i.
  std::vector<std::int64_t> assigned_tokens(std::size_t i) const {
    std::vector<std::int64_t> count;
    detail::for_each_ffn(config, [&]<class Policy>(std::size_t at, Policy const& p) {
      if constexpr (detail::routes_tokens<Policy>)
        if (at == i) {
          count.assign(static_cast<std::size_t>(p.num_experts), 0);
          std::int64_t const tokens = call_.tokens * call_.sequences;
          std::int64_t const period = Model::has_vocabulary ? Model::vocab_size : tokens;
          auto const list = assigned_experts(routing_, p.num_experts, p.top_k, period);
          for (std::int64_t g = 0; g < tokens; ++g)
            for (std::int64_t j = 0; j < p.top_k; ++j)
              ++count[static_cast<std::size_t>(list[std::size_t(g % period * p.top_k + j)])];
        }
    });
    return count;
  }

 private:
  /// New tokens of a sequence: ids, or embeddings of a model without a vocabulary.
  struct new_tokens {
    std::vector<std::int32_t> ids;
    std::unique_ptr<placed<T, memory>> embeddings;
    void add(plait::batch<Model>& b, plait::cache<Model>& cache) const {
      add(b, cache, 0, embeddings ? embeddings->read().rows() : std::int64_t(ids.size()));
    }
    void add(plait::batch<Model>& b, plait::cache<Model>& cache, std::int64_t from,
             std::int64_t count) const {
      if (embeddings)
        b.add(cache, embeddings->read().middle_rows(from, count));
      else
        b.add(cache, std::span<std::int32_t const>(ids).subspan(static_cast<std::size_t>(from),
                                                                static_cast<std::size_t>(count)));
    }
  };
  /// Tokens at positions [position, position + count) of a sequence: tokens g, g + 1, ... of the
  /// assignment to experts.
  new_tokens tokens_of(std::int64_t sequence, std::int64_t position, std::int64_t count,
                       std::int64_t g) const {
    new_tokens made;
    if constexpr (Model::has_vocabulary) {
      for (std::int64_t i = 0; i < count; ++i) {
        auto const drawn = plait::detail::mix(static_cast<std::uint64_t>(sequence),
                                              static_cast<std::uint64_t>(position + i));
        std::int64_t const id = routing_ == routing::random
                                    ? std::int64_t(drawn % std::uint64_t(Model::vocab_size))
                                    : (g + i) % Model::vocab_size;
        made.ids.push_back(static_cast<std::int32_t>(id));
      }
    } else {
      bench::matrix<T> drawn(count, Model::d_model, std::uint64_t(sequence) + 3, position);
      if (routing_ != routing::random && channels_.back() > 0) {
        auto const list = detail::assigned_by_policy(config, routing_, g + count);
        std::vector<float> row(static_cast<std::size_t>(Model::d_model));
        for (std::int64_t i = 0; i < count; ++i) {
          detail::write_all_logits(config, channels_, list, g + i, 4.0f, row.data());
          std::transform(row.begin(), row.begin() + channels_.back(), drawn.view().row(i),
                         [](float v) { return static_cast<T>(v); });
        }
      }
      made.embeddings = std::make_unique<placed<T, memory>>(std::move(drawn));
    }
    return made;
  }
  void forward(exec_type& exec, matrix_view<output_type> out) {
    if constexpr (Model::has_vocabulary)
      model_.forward(exec, batch_, out);
    else
      model_.forward_hidden(exec, batch_, out);
  }

  Model const& model_;
  routing routing_;
  std::vector<std::int64_t> channels_;
  cache_pool<Model> pool_;
  std::vector<plait::cache<Model>> caches_;
  std::vector<plait::snapshot<Model>> starts_;
  std::vector<new_tokens> next_;
  plait::batch<Model> batch_;
  std::unique_ptr<placed<output_type, memory>> output_;
  std::int64_t context_ = 0;
  call call_;
};

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
