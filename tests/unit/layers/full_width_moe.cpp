// The mixture of experts of Jamba v0.1 at its full width. 16 experts of 3 x 4096 x 14336 weights
// are 11.3 GB in f32: a target of its own, which needs 12 GB of free memory and a minute or two:
//   cmake --build build --target full_width_moe
// As in full_width_test.cpp, 64 channels of the output are compared with plain loops in double, and
// one call with two.
#include <plait/plait.hpp>

#include <support/full_width.hpp>

#include <doctest/doctest.h>

#include <algorithm>

namespace {

using namespace test::full_width;

constexpr auto jamba = plait::configs::jamba_v0_1;
constexpr auto moe = jamba.sparse;
constexpr std::int64_t width = jamba.d_model, tokens = 5;
static_assert(width == 4096 && moe.d_ff == 14336 && moe.num_experts == 16 && moe.top_k == 2);

TEST_CASE("full width: moe") {
  plait::single_layer<width, moe> layer;
  auto const& w = layer.weights();
  fill(layer.weights(), 7);
  test::random random(8);
  auto const x = test::random_matrix(random, tokens, width, -1.7f, 1.7f);
  auto const outputs = spread(width, 64);

  doubles const in(x), logits = product(in, w.get<"router">(), all(moe.num_experts));
  doubles expected(tokens, static_cast<std::int64_t>(outputs.size())), one(1, width);
  std::vector<std::int64_t> used;
  for (std::int64_t t = 0; t < tokens; ++t) {
    auto order = all(moe.num_experts);
    std::sort(order.begin(), order.end(),
              [&](std::int64_t a, std::int64_t b) { return logits(t, a) > logits(t, b); });
    // Clear enough for f32 to choose the same experts.
    REQUIRE(logits(t, order[1]) - logits(t, order[2]) > 1e-3);
    double total = 0;
    for (std::int64_t e = 0; e < moe.num_experts; ++e) total += std::exp(logits(t, e));
    std::copy_n(in.view().row(t), width, one.view().row(0));
    for (std::int64_t const e : {order[0], order[1]}) {
      doubles const y = swiglu(one, w, outputs, e);
      for (std::int64_t i = 0; i < expected.cols(); ++i)
        expected(t, i) += std::exp(logits(t, e)) / total * y(0, i);
      used.push_back(e);
    }
  }
  std::sort(used.begin(), used.end());
  auto const experts = std::unique(used.begin(), used.end()) - used.begin();
  CHECK(experts > 4);

  auto const y = forward_split(layer, x);
  REQUIRE(y.rows() == tokens);  // one call and two give the same bits
  double const error = test::difference(chosen(y, outputs), expected);
  MESSAGE("difference ", error, ", ", experts, " experts");
  CHECK(error < 1e-5);  // the tolerance of full_width_test.cpp
}

}  // namespace
