// Attention, Mamba and the dense feed-forward of Jamba v0.1 at their full width, 4096, on a few
// tokens, against plain loops in double that share no code with the ops: 64 channels of the output,
// and all intermediate values that these depend on. (The mixture of experts is 11.3 GB in f32:
// full_width_moe.cpp.)
#include <plait/plait.hpp>

#include <support/full_width.hpp>

#include <doctest/doctest.h>

namespace {

using namespace test::full_width;

constexpr auto jamba = plait::configs::jamba_v0_1;
constexpr std::int64_t width = jamba.d_model, tokens = 5;
static_assert(width == 4096);

// A chain of n rounded additions of terms of random sign has an error of about 2^-24 sqrt(n / 2) of
// its result: 3e-6 for 4096 to 14336 terms; a layer has two to four such products in a row. The
// tolerance is three times that; a wrong head, tap or weight is an error of 1e-2 and more.
constexpr double tolerance = 1e-5;

test::matrix<float> input(std::uint64_t seed) {
  test::random random(seed);
  return test::random_matrix(random, tokens, width, -1.7f, 1.7f);
}

template <class Layer>
void compare(Layer& layer, test::matrix<float> const& x, doubles const& expected,
             std::vector<std::int64_t> const& outputs) {
  auto const y = forward_split(layer, x);
  REQUIRE(y.rows() == tokens);  // one call and two give the same bits
  double const error = test::difference(chosen(y, outputs), expected);
  MESSAGE("difference ", error);
  CHECK(error < tolerance);
  double sum = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t i = 0; i < expected.cols(); ++i) sum += expected(t, i) * expected(t, i);
  CHECK(sum / double(tokens * expected.cols()) > 1e-3);  // values are of order 1
}

TEST_CASE("full width: attention") {
  plait::single_layer<width, jamba.attention> layer;
  auto const& w = layer.weights();
  fill(layer.weights(), 1);
  auto const x = input(2);
  auto const outputs = spread(width, 64);

  constexpr auto p = jamba.attention;
  constexpr std::int64_t dim = p.dim(width);
  doubles const in(x);
  doubles const q = product(in, w.get<"q_proj">(), all(p.num_heads * dim));
  doubles const k = product(in, w.get<"k_proj">(), all(p.num_kv_heads * dim)),
                v = product(in, w.get<"v_proj">(), all(p.num_kv_heads * dim));
  doubles mixed(tokens, p.num_heads * dim);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t head = 0; head < p.num_heads; ++head) {
      std::int64_t const from = head * dim, shared = head / (p.num_heads / p.num_kv_heads) * dim;
      double weight[tokens], total = 0;
      for (std::int64_t j = 0; j <= t; ++j) {
        double score = 0;
        for (std::int64_t d = 0; d < dim; ++d) score += q(t, from + d) * k(j, shared + d);
        total += weight[j] = std::exp(score / std::sqrt(double(dim)));
      }
      for (std::int64_t j = 0; j <= t; ++j)
        for (std::int64_t d = 0; d < dim; ++d)
          mixed(t, from + d) += weight[j] / total * v(j, shared + d);
    }
  compare(layer, x, product(mixed, w.get<"o_proj">(), outputs), outputs);
}

TEST_CASE("full width: mamba") {
  plait::single_layer<width, jamba.recurrent> layer({.norm_eps = jamba.norm_eps});
  auto const& w = layer.weights();
  fill(layer.weights(), 3);
  auto const x = input(4);
  auto const outputs = spread(width, 64);

  constexpr auto p = jamba.recurrent;
  constexpr std::int64_t inner = p.inner(width), rank = p.rank(width), states = p.d_state,
                         taps = p.d_conv;
  static_assert(inner == 8192 && rank == 256 && states == 16 && taps == 4 && p.conv_bias &&
                !p.proj_bias);
  doubles const uz = product(doubles(x), w.get<"in_proj">(), all(2 * inner));
  doubles u(tokens, inner);
  for (std::int64_t c = 0; c < inner; ++c) {
    float tap[taps], bias;
    w.get<"conv1d">().get_row(0, c, tap);
    w.get<"conv1d.bias">().get_row(0, c, &bias);
    for (std::int64_t t = 0; t < tokens; ++t) {
      double sum = bias;
      for (std::int64_t j = 0; j < taps; ++j)
        if (t - (taps - 1) + j >= 0) sum += double(tap[j]) * uz(t - (taps - 1) + j, c);
      u(t, c) = silu(sum);
    }
  }
  doubles parts = product(u, w.get<"x_proj">(), all(rank + 2 * states));
  auto const norm = [&](std::int64_t first, std::int64_t n, auto const& weights) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      double square = 0;
      for (std::int64_t c = 0; c < n; ++c) square += parts(t, first + c) * parts(t, first + c);
      for (std::int64_t c = 0; c < n; ++c) {
        float weight;
        weights.get_row(0, c, &weight);
        parts(t, first + c) *=
            double(weight) / std::sqrt(square / double(n) + double(jamba.norm_eps));
      }
    }
  };
  norm(0, rank, w.get<"dt_layernorm">());
  norm(rank, states, w.get<"b_layernorm">());
  norm(rank + states, states, w.get<"c_layernorm">());
  doubles low_rank(tokens, rank), gated(tokens, inner);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t c = 0; c < rank; ++c) low_rank(t, c) = parts(t, c);
  doubles const dt = product(low_rank, w.get<"dt_proj">(), all(inner));
  for (std::int64_t c = 0; c < inner; ++c) {
    float a_log[states], bias, skip;
    w.get<"A_log">().get_row(0, c, a_log);
    w.get<"dt_proj.bias">().get_row(0, c, &bias);
    w.get<"D">().get_row(0, c, &skip);
    double state[states] = {};
    for (std::int64_t t = 0; t < tokens; ++t) {
      double const delta = std::log1p(std::exp(dt(t, c) + double(bias)));
      double y = double(skip) * u(t, c);
      for (std::int64_t n = 0; n < states; ++n) {
        state[n] = std::exp(-delta * std::exp(double(a_log[n]))) * state[n] +
                   delta * u(t, c) * parts(t, rank + n);
        y += state[n] * parts(t, rank + states + n);
      }
      gated(t, c) = y * silu(uz(t, inner + c));
    }
  }
  compare(layer, x, product(gated, w.get<"out_proj">(), outputs), outputs);
}

TEST_CASE("full width: mlp") {
  plait::single_layer<width, jamba.dense> layer;
  fill(layer.weights(), 5);
  auto const x = input(6);
  auto const outputs = spread(width, 64);
  compare(layer, x, swiglu(doubles(x), layer.weights(), outputs), outputs);
}

}  // namespace
