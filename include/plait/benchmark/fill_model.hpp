// The weights of a model that route tokens to assigned experts in every layer.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/routing.hpp>
#include <plait/policy/hybrid.hpp>
#include <plait/policy/tensor.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

template <class Policy>
concept routes_tokens = requires(Policy const& p) {
  p.top_k;
  p.num_experts;
};

/// Calls visit(i, policy) for the feed-forward policies of an architecture.
template <class Architecture, class Visit>
void for_each_ffn(Architecture const& c, Visit&& visit) {
  std::apply([&, i = std::size_t{0}](auto const&... policy) mutable { (visit(i++, policy), ...); },
             c.ffns());
}

/// The channels that hold the routers' logits: those of feed-forward policy i of the architecture
/// begin at first[i], and there are first.back() in all.
template <class Architecture>
std::vector<std::int64_t> router_channels(Architecture const& c) {
  std::vector<std::int64_t> first{0};
  for_each_ffn(c, [&](std::size_t, auto const& p) {
    std::int64_t experts = 0;
    describe(p, c.d_model,
             [&](tensor const& t) { experts = t.role == role::router ? t.rows : experts; });
    first.push_back(first.back() + experts);
  });
  return first;
}

/// Writes into a row of the residual stream the logits that route token g to its experts in every
/// layer. `assigned` has a list per feed-forward policy.
template <class Architecture>
void write_all_logits(Architecture const& c, std::vector<std::int64_t> const& first,
                      std::vector<std::vector<std::int32_t>> const& assigned, std::int64_t g,
                      float amplitude, float* row) {
  for_each_ffn(c, [&]<class Policy>(std::size_t i, Policy const& p) {
    if constexpr (routes_tokens<Policy>)
      if (first[i + 1] > first[i])
        write_logits(assigned[i].data() + g * p.top_k, p.top_k, p.num_experts, amplitude,
                     row + first[i]);
  });
}

/// The experts assigned to each token, a list per feed-forward policy; empty for one that does not
/// route.
template <class Architecture>
std::vector<std::vector<std::int32_t>> assigned_by_policy(Architecture const& c, routing r,
                                                          std::int64_t tokens) {
  std::vector<std::vector<std::int32_t>> assigned;
  for_each_ffn(c, [&]<class Policy>(std::size_t, Policy const& p) {
    if constexpr (routes_tokens<Policy>)
      assigned.push_back(assigned_experts(r, p.num_experts, p.top_k, tokens));
    else
      assigned.emplace_back();
  });
  return assigned;
}

}  // namespace detail

/// Fills a model. Unless routing is random, the first channels of the residual stream hold the
/// routers' logits: the embedding writes them, the routers read them, every other linear map into
/// the stream leaves them alone, and norms scale all channels alike, so that their order stays.
/// Shapes: the logits take a channel per expert of each feed-forward policy
/// Errors: none; `register_model` refuses a width with fewer channels
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
template <class Model>
void fill_routed(Model& m, routing r) {
  static constexpr auto c = Model::config;
  fill(m);
  auto const first = detail::router_channels(c);
  std::int64_t const logit_channels = first.back();
  if (r == routing::random || logit_channels == 0) return;
  auto const assigned =
      detail::assigned_by_policy(c, r, std::max<std::int64_t>(0, Model::vocab_size));
  std::vector<float> row;
  m.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    row.resize(static_cast<std::size_t>(t.cols));
    bool const embeds = part == "embedding" || (part == "head" && Model::tied);
    if (embeds) {
      for (std::int64_t v = 0; v < t.rows; ++v) {
        data.get_row(0, v, row.data());
        detail::write_all_logits(c, first, assigned, v, 0.08f, row.data());
        data.set_row(0, v, row.data());
      }
    } else if (t.role == role::router) {
      fill_router(t, data, first[static_cast<std::size_t>(c.ffn_at(layer))]);
    } else if ((part == "mixer" || part == "ffn") &&
               (t.role == role::matrix || t.role == role::expert) && t.rows == c.d_model) {
      std::fill(row.begin(), row.end(), 0.0f);
      for (std::int64_t copy = 0; copy < t.copies; ++copy)
        for (std::int64_t i = 0; i < logit_channels; ++i) data.set_row(copy, i, row.data());
    }
  });
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
