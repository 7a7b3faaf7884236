// Custom parts, on the installed headers alone and without a change of plait: a mixer with a state,
// a router, a feed-forward, a norm, a schedule, and an architecture with three mixers.
#pragma once

#include <plait/plait.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <tuple>

namespace zoo {

template <class T>
T sigmoid(T x) {
  return 1 / (1 + std::exp(-x));
}

// ---- a mixer: exponential moving averages
/// Per channel h_t = h_(t-1) + a (u_t - h_(t-1)), u = in_proj x, a = sigmoid(decay); y = out_proj
/// h.
struct ema {
  int width = 0;
  friend constexpr bool operator==(ema const&, ema const&) = default;
};
template <class Visit>
constexpr void describe(ema const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "in_proj", .rows = p.width, .cols = d_model});
  visit(plait::tensor{
      .name = "decay", .role = plait::role::vector, .rows = p.width, .start = plait::initial::one});
  visit(plait::tensor{.name = "out_proj", .rows = d_model, .cols = p.width});
}
constexpr std::int64_t state_values(ema const& p, int) { return p.width; }
constexpr std::int64_t extra_flops(ema const& p, int, std::int64_t) {
  return 3 * std::int64_t{p.width};
}
constexpr char const* checkpoint_name(ema const&) { return "ema"; }
template <class Visit>
constexpr void hyperparameters(ema const& p, int, Visit&& visit) {
  visit("width", p.width);
}

template <int D, ema P>
struct ema_layer {
  PLAIT_RULE(width, P.width > 0, "zoo: ema needs width");
  static constexpr plait::continuation continues = plait::continuation::bitwise;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::sequences<T> const& seqs,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&&) {
    plait::arena::frame const scratch(exec.workspace);
    auto const u = exec.template matrix<T>(x.rows(), P.width);
    plait::ops::linear(exec, x, plait::ops::into(u, w.template get<"in_proj">()));
    exec.parallel(seqs.count * P.width, exec.grain(seqs.count * P.width),
                  [&](std::int64_t item, int) {
                    std::int64_t const s = item / P.width, c = item % P.width;
                    T& h = seqs.state_of(s)[c];
                    T const a = sigmoid(T(w.template get<"decay">()(c)));
                    for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t) {
                      h += a * (u(t, c) - h);
                      u(t, c) = h;
                    }
                  });
    plait::ops::linear(exec, u, plait::ops::into(y, w.template get<"out_proj">()));
  }
};

// ---- a router: sigmoid scores, a bias for the choice alone, weights with a sum of 1
/// s = sigmoid(router x); the top_k largest s + bias are chosen; y = sum s_e / sum(s) mlp_e(x) (as
/// in DeepSeek-V3, arXiv:2412.19437).
struct balanced_moe {
  int d_ff = 0, num_experts = 0, top_k = 0;
  friend constexpr bool operator==(balanced_moe const&, balanced_moe const&) = default;
};
template <class Visit>
constexpr void describe(balanced_moe const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{
      .name = "router", .role = plait::role::router, .rows = p.num_experts, .cols = d_model});
  visit(plait::tensor{.name = "router.bias",
                      .role = plait::role::vector,
                      .rows = p.num_experts,
                      .start = plait::initial::zero});
  visit(plait::tensor{.name = "gate_proj",
                      .role = plait::role::expert,
                      .rows = p.d_ff,
                      .cols = d_model,
                      .copies = p.num_experts});
  visit(plait::tensor{.name = "up_proj",
                      .role = plait::role::expert,
                      .rows = p.d_ff,
                      .cols = d_model,
                      .copies = p.num_experts});
  visit(plait::tensor{.name = "down_proj",
                      .role = plait::role::expert,
                      .rows = d_model,
                      .cols = p.d_ff,
                      .copies = p.num_experts});
}
constexpr std::int64_t active_parameters(balanced_moe const& p, int d_model) {
  return std::int64_t{p.num_experts} * (d_model + 1) + std::int64_t{3} * d_model * p.d_ff * p.top_k;
}
template <class Visit>
constexpr void hyperparameters(balanced_moe const& p, int, Visit&& visit) {
  visit("d_ff", p.d_ff);
  visit("num_experts", p.num_experts);
  visit("top_k", p.top_k);
}

template <int D, balanced_moe P>
struct balanced_moe_layer {
  PLAIT_RULE(top_k, P.top_k > 0 && P.top_k <= P.num_experts,
             "zoo: balanced_moe needs top_k from 1 to num_experts");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&& see) {
    plait::arena::frame const scratch(exec.workspace);
    auto const scores = exec.template matrix<T>(x.rows(), P.num_experts);
    auto const plan = plait::ops::make_routing(exec, x.rows(), P.num_experts, P.top_k);
    plait::ops::linear(exec, x, plait::ops::into(scores, w.template get<"router">()));
    see("router_logits", plait::matrix_view<T const>(scores));
    plait::ops::route_with(
        exec, scores, plan,
        [&](T const* row, std::int64_t n, std::int64_t k, std::int32_t* expert, T* weight) {
          std::array<T, P.num_experts> biased{};
          for (std::int64_t e = 0; e < n; ++e)
            biased[std::size_t(e)] = sigmoid(row[e]) + T(w.template get<"router.bias">()(e));
          plait::ops::choose_top_k(biased.data(), n, k, expert);
          T total = 0;
          for (std::int64_t j = 0; j < k; ++j) {
            weight[j] = sigmoid(row[expert[j]]);
            total += weight[j];
          }
          for (std::int64_t j = 0; j < k; ++j) weight[j] /= total;
        });
    see("experts", plait::matrix_view<std::int32_t const>(plan.expert));
    see("expert_weights", plait::matrix_view<T const>(plan.weight));
    plait::ops::experts(exec, x, plan, w.template get<"gate_proj">(), w.template get<"up_proj">(),
                        w.template get<"down_proj">(), y);
  }
};

// ---- a feed-forward: two matrices, squared ReLU
/// y = down max(up x + bias, 0)^2 (So et al., arXiv:2109.08668).
struct squared_relu {
  int d_ff = 0;
  friend constexpr bool operator==(squared_relu const&, squared_relu const&) = default;
};
template <class Visit>
constexpr void describe(squared_relu const& p, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "up_proj", .rows = p.d_ff, .cols = d_model});
  visit(plait::tensor{.name = "up_proj.bias",
                      .role = plait::role::vector,
                      .rows = p.d_ff,
                      .start = plait::initial::zero});
  visit(plait::tensor{.name = "down_proj", .rows = d_model, .cols = p.d_ff});
}
constexpr char const* checkpoint_name(squared_relu const&) { return "relu2"; }

template <int D, squared_relu P>
struct squared_relu_layer {
  PLAIT_RULE(d_ff, P.d_ff > 0, "zoo: squared_relu needs d_ff");

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&&) {
    plait::arena::frame const scratch(exec.workspace);
    auto const hidden = exec.template matrix<T>(x.rows(), P.d_ff);
    plait::ops::linear(
        exec, x,
        plait::ops::into(hidden, w.template get<"up_proj">(), &w.template get<"up_proj.bias">()));
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      for (std::int64_t f = 0; f < P.d_ff; ++f) {
        T const positive = std::max(hidden(t, f), T(0));
        hidden(t, f) = positive * positive;
      }
    });
    plait::ops::linear(exec, hidden, plait::ops::into(y, w.template get<"down_proj">()));
  }
};

// ---- a norm: LayerNorm
/// out = weight (x - mean(x)) / sqrt(variance(x) + eps) + bias (Ba et al., arXiv:1607.06450).
struct layer_norm {
  friend constexpr bool operator==(layer_norm const&, layer_norm const&) = default;
};
template <class Visit>
constexpr void describe(layer_norm const&, int d_model, Visit&& visit) {
  visit(plait::tensor{.name = "weight",
                      .role = plait::role::vector,
                      .rows = d_model,
                      .start = plait::initial::one});
  visit(plait::tensor{
      .name = "bias", .role = plait::role::vector, .rows = d_model, .start = plait::initial::zero});
}

template <int D, layer_norm P>
struct layer_norm_layer {
  template <class Exec, class Weights, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const& s,
                      plait::matrix_view<std::type_identity_t<T>> x,
                      plait::matrix_view<std::type_identity_t<T> const> y,
                      plait::matrix_view<std::type_identity_t<T>> out) {
    if (!y.empty()) plait::ops::add_residual(exec, x, y);
    exec.parallel(x.rows(), [&](std::int64_t t, int) {
      T mean = 0, variance = 0;
      for (std::int64_t c = 0; c < D; ++c) mean += x(t, c);
      mean /= D;
      for (std::int64_t c = 0; c < D; ++c) variance += (x(t, c) - mean) * (x(t, c) - mean);
      T const scale = 1 / std::sqrt(variance / D + T(s.norm_eps));
      auto const &weight = w.template get<"weight">(), &bias = w.template get<"bias">();
      for (std::int64_t c = 0; c < D; ++c)
        out(t, c) = (x(t, c) - mean) * scale * weight(c) + bias(c);
    });
  }
};

// ---- a schedule: one letter per layer
/// A and a: attention; other letters: the recurrent mixer. Capital letters: experts.
template <std::size_t N>
struct pattern {
  char text[N] = {};
  constexpr pattern() = default;
  constexpr pattern(char const (&t)[N]) { std::copy_n(t, N, text); }
  constexpr int layers() const { return int(N) - 1; }
  constexpr int mixer_at(int i) const { return text[i] == 'A' || text[i] == 'a' ? 0 : 1; }
  constexpr int ffn_at(int i) const { return text[i] >= 'A' && text[i] <= 'Z' ? 1 : 0; }
  friend constexpr bool operator==(pattern const&, pattern const&) = default;
};

// ---- an architecture: three mixers, layers of one sublayer
struct three_mixers {
  int d_model = 33, vocab_size = 47;
  plait::attention attend{.num_heads = 3, .num_kv_heads = 1};
  plait::mamba recur{.d_state = 5};
  ema average{.width = 21};
  squared_relu dense{.d_ff = 40};
  balanced_moe sparse{.d_ff = 18, .num_experts = 6, .top_k = 2};
  layer_norm norm{};
  float norm_eps = 1e-5f;
  bool tie_embeddings = false;

  constexpr auto mixers() const { return std::tuple{attend, recur, average, plait::none{}}; }
  constexpr auto ffns() const { return std::tuple{dense, sparse, plait::none{}}; }
  constexpr int num_layers() const { return 7; }
  constexpr int mixer_at(int i) const { return std::array{2, 1, 0, 3, 2, 1, 3}[std::size_t(i)]; }
  constexpr int ffn_at(int i) const { return std::array{0, 2, 1, 1, 2, 1, 0}[std::size_t(i)]; }
  friend constexpr bool operator==(three_mixers const&, three_mixers const&) = default;
};

}  // namespace zoo

template <>
struct plait::layer_of<zoo::ema> {
  template <int D, zoo::ema P>
  using bind = zoo::ema_layer<D, P>;
};
template <>
struct plait::layer_of<zoo::balanced_moe> {
  template <int D, zoo::balanced_moe P>
  using bind = zoo::balanced_moe_layer<D, P>;
};
template <>
struct plait::layer_of<zoo::squared_relu> {
  template <int D, zoo::squared_relu P>
  using bind = zoo::squared_relu_layer<D, P>;
};
template <>
struct plait::layer_of<zoo::layer_norm> {
  template <int D, zoo::layer_norm P>
  using bind = zoo::layer_norm_layer<D, P>;
};
template <std::size_t N>
struct plait::check_schedule<zoo::pattern<N>> {
  template <zoo::pattern<N> S>
  struct rules {
    PLAIT_RULE(letters, S.layers() > 0, "zoo: a pattern needs letters");
  };
};

namespace zoo {

inline constexpr three_mixers mixed{};

/// A pattern in the schedule's place of plait's own composition.
inline constexpr plait::hybrid<ema, plait::mamba, squared_relu, balanced_moe, pattern<6>,
                               layer_norm>
    by_pattern{.d_model = 20,
               .vocab_size = 31,
               .layers = "aMmAm",
               .attention = {.width = 17},
               .recurrent = {.d_state = 3},
               .dense = {.d_ff = 24},
               .sparse = {.d_ff = 10, .num_experts = 3, .top_k = 1},
               .norm_eps = 1e-5f};

/// One sublayer per layer: averages alone, tied.
inline constexpr plait::hybrid<plait::none, ema, plait::none, plait::none> averages_only{
    .d_model = 24,
    .vocab_size = 29,
    .layers = {.layers_per_block = 3, .recur = 1},
    .recurrent = {.width = 24},
    .tie_embeddings = true};

}  // namespace zoo
