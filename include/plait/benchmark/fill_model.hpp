// A model's weights, such that every layer's experts are reached as wanted.
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

/// Where the routers of a model read their logits when routing is made: feed-forward policy i of
/// the architecture has the channels from first[i] on, first.back() channels in all.
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

/// Writes into the row of a token, id or position g, the logits that bring it to its experts in
/// every layer. `wanted` holds a list a policy.
template <class Architecture>
void write_all_logits(Architecture const& c, std::vector<std::int64_t> const& first,
                      std::vector<std::vector<std::int32_t>> const& wanted, std::int64_t g,
                      float amplitude, float* row) {
  for_each_ffn(c, [&]<class Policy>(std::size_t i, Policy const& p) {
    if constexpr (routes_tokens<Policy>)
      if (first[i + 1] > first[i])
        write_logits(wanted[i].data() + g * p.top_k, p.top_k, p.num_experts, amplitude,
                     row + first[i]);
  });
}
template <class Architecture>
std::vector<std::vector<std::int32_t>> wanted_by_policy(Architecture const& c, routing r,
                                                        std::int64_t tokens) {
  std::vector<std::vector<std::int32_t>> wanted;
  for_each_ffn(c, [&]<class Policy>(std::size_t, Policy const& p) {
    if constexpr (routes_tokens<Policy>)
      wanted.push_back(wanted_experts(r, p.num_experts, p.top_k, tokens));
    else
      wanted.emplace_back();
  });
  return wanted;
}

}  // namespace detail

/// Fills a model; unless routing is random, so that it is as wanted: the first channels of the
/// residual stream hold the routers' logits, put there by the embedding and left alone by every
/// linear map that ends in the stream. Norms scale all channels alike and keep their order.
/// Equation: where routing is made, the first channels of the residual stream hold the routers'
///   logits: the embedding puts them there, the routers read them, no other linear map writes them,
///   and norms keep their order
/// Shapes: a channel for each expert of each feed-forward policy
/// Errors: none here; `register_model` refuses a width with fewer channels
/// Test: tests/unit/benchmark/register_test.cpp, tests/unit/benchmark/device_register_test.cpp
template <class Model>
void fill_routed(Model& m, routing r) {
  static constexpr auto c = Model::config;
  fill(m);
  auto const first = detail::router_channels(c);
  std::int64_t const held = first.back();
  if (r == routing::random || held == 0) return;
  auto const wanted = detail::wanted_by_policy(c, r, std::max<std::int64_t>(0, Model::vocab_size));
  std::vector<float> row;
  m.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    row.resize(static_cast<std::size_t>(t.cols));
    bool const embeds = part == "embedding" || (part == "head" && Model::tied);
    if (embeds) {
      for (std::int64_t v = 0; v < t.rows; ++v) {
        data.get_row(0, v, row.data());
        detail::write_all_logits(c, first, wanted, v, 0.08f, row.data());
        data.set_row(0, v, row.data());
      }
    } else if (t.role == role::router) {
      fill_router(t, data, first[static_cast<std::size_t>(c.ffn_at(layer))]);
    } else if ((part == "mixer" || part == "ffn") &&
               (t.role == role::matrix || t.role == role::expert) && t.rows == c.d_model) {
      std::fill(row.begin(), row.end(), 0.0f);
      for (std::int64_t copy = 0; copy < t.copies; ++copy)
        for (std::int64_t i = 0; i < held; ++i) data.set_row(copy, i, row.data());
    }
  });
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
