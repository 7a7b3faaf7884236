// Logits of token sequences by models of small architectures.
#pragma once

#if defined(__CUDACC__)
#include <plait/cuda.cuh>
#else
#include <plait/plait.hpp>
#endif

#include <support/architectures.hpp>
#include <support/data.hpp>

#include <numeric>
#include <optional>

namespace test {

/// Random weights, large enough for every path to matter (the published 0.02 is for large widths).
template <class Model>
Model const& model_with_weights() {
  static Model const m = [] {
    Model fresh;
    plait::initialize(fresh, 7, 0.25);
    return fresh;
  }();
  return m;
}

template <class Model, class Exec>
Exec& executor(Exec& exec, std::int64_t tokens = 512, std::int64_t sequences = 8) {
  model_with_weights<Model>().reserve(exec, tokens, sequences);
  return exec;
}

inline std::vector<std::int32_t> random_ids(random& r, std::int64_t n, std::int64_t vocabulary) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(n));
  for (auto& id : ids) id = static_cast<std::int32_t>(r.below(vocabulary));
  return ids;
}

/// Forwards ids after those of a sequence; their logits, one row each.
template <class Model>
std::vector<typename Model::value_type> forward(typename Model::exec_type& exec,
                                                plait::cache<Model>& sequence,
                                                std::span<std::int32_t const> ids) {
  if (ids.empty()) return {};
  sequence.reserve(static_cast<std::int64_t>(ids.size()));
  plait::batch<Model> batch;
  batch.add(sequence, ids, plait::rows::all);
  std::vector<typename Model::value_type> logits(ids.size() *
                                                 static_cast<std::size_t>(Model::vocab_size));
  model_with_weights<Model>().forward(
      exec, batch, {logits.data(), static_cast<std::int64_t>(ids.size()), Model::vocab_size});
  return logits;
}

/// The same from an empty cache, in one call.
template <class Model>
std::vector<typename Model::value_type> forward_alone(typename Model::exec_type& exec,
                                                      std::span<std::int32_t const> ids) {
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  return forward<Model>(exec, sequence, ids);
}

}  // namespace test
