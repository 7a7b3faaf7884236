// Each layer alone, on both execution policies: a policy, a width, weights and views are all it
// takes.
#include <plait/plait.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>
#include <Eigen/Core>

namespace {

using plait::attention;
using plait::mamba;
using plait::mlp;
using plait::moe;
using plait::rms_norm;

/// The same random weights in any storage: of order 1 / sqrt(columns), norms and D near 1.
template <auto Policy, int D, class Exec>
auto weights_of(std::uint64_t seed) {
  plait::weights<Policy, D, typename Exec::storage_type> w;
  w.allocate();
  test::random random(seed);
  w.for_each([&](plait::tensor const& t, auto& data) {
    bool const ones = t.start == plait::initial::one;
    float const scale =
        t.start == plait::initial::normal ? 1.7f / std::sqrt(static_cast<float>(t.cols)) : 0.5f;
    for (std::int64_t i = 0; i < t.copies * t.rows; ++i)
      data.set_row(i / t.rows, i % t.rows,
                   random.values(t.cols, ones ? 0.5f : -scale, ones ? 1.5f : scale).data());
  });
  return w;
}

template <class Exec>
Exec executor() {
  if constexpr (std::is_same_v<Exec, test::cpu>)
    return test::cpu_with(2);
  else
    return test::oracle();
}

/// Successive calls on one batch.
template <int D, auto Policy, class Exec>
std::vector<test::matrix<double>> run_mixer(std::vector<std::vector<std::int64_t>> const& calls) {
  using T = typename Exec::value_type;
  Exec exec = executor<Exec>();
  auto const w = weights_of<Policy, D, Exec>(80);
  test::ragged<T> batch(std::vector<std::int64_t>(calls[0].size(), 0),
                        plait::policies::state(Policy, D),
                        plait::policies::kv(Policy, D) * plait::page_tokens);
  test::random random(81);
  std::vector<test::matrix<double>> all;
  for (auto const& call : calls) {
    plait::sequences<T> const seqs = batch.with(call);
    test::matrix<T> const x(test::random_matrix(random, batch.total(), D));
    test::matrix<T> y(batch.total(), D);
    plait::layer<D, Policy>::forward(exec, w, {.norm_eps = 1e-6f, .rope_theta = 500.0f}, seqs,
                                     x.view(), y.view(), plait::no_observer{});
    CHECK(y.intact());
    CHECK(batch.intact());
    all.emplace_back(y);
    batch.advance();
  }
  return all;
}
template <int D, auto Policy, class Exec>
test::matrix<double> run_ffn(std::int64_t tokens) {
  using T = typename Exec::value_type;
  Exec exec = executor<Exec>();
  test::random random(82);
  test::matrix<T> const x(test::random_matrix(random, tokens, D));
  test::matrix<T> y(tokens, D);
  plait::layer<D, Policy>::forward(exec, weights_of<Policy, D, Exec>(83), {}, x.view(), y.view(),
                                   plait::no_observer{});
  CHECK(y.intact());
  return test::matrix<double>(y);
}

// Products of some tens to a hundred terms with scores and states between them: 1e-5 of the largest
// output. tests/unit/ops has the bounds of the ops.
constexpr double tolerance = 1e-5;

template <int D, auto Policy>
void check_mixer() {
  std::vector<std::vector<std::int64_t>> const calls = {{3, 65, 0}, {1, 1, 20}, {70, 0, 2}};
  auto const got = run_mixer<D, Policy, test::cpu>(calls),
             expected = run_mixer<D, Policy, test::reference>(calls);
  for (std::size_t i = 0; i < calls.size(); ++i)
    CHECK(test::difference(got[i], expected[i]) < tolerance);
}
template <int D, auto Policy>
void check_ffn() {
  for (std::int64_t tokens : {1, 3, 40})
    CHECK(test::difference(run_ffn<D, Policy, test::cpu>(tokens),
                           run_ffn<D, Policy, test::reference>(tokens)) < tolerance);
}

}  // namespace

TEST_CASE("layer: attention") {
  check_mixer<40, attention{.num_heads = 20, .num_kv_heads = 1}>();
  check_mixer<35, attention{.num_heads = 4, .num_kv_heads = 2, .head_dim = 9}>();
  check_mixer<35, attention{.num_heads = 3,
                            .num_kv_heads = 3,
                            .head_dim = 2,
                            .positions = plait::positions::rotary}>();
  check_mixer<40, attention{.num_heads = 4,
                            .num_kv_heads = 2,
                            .head_dim = 34,
                            .positions = plait::positions::rotary}>();
}
TEST_CASE("layer: mamba") {
  check_mixer<35, mamba{.d_state = 5, .expand = 1}>();
  check_mixer<16, mamba{.d_state = 17,
                        .d_conv = 1,
                        .expand = 3,
                        .dt_rank = 7,
                        .conv_bias = false,
                        .proj_bias = true}>();
}
TEST_CASE("layer: mlp") {
  check_ffn<35, mlp{.d_ff = 19}>();
  check_ffn<16, mlp{.d_ff = 70}>();
}
TEST_CASE("layer: moe") {
  check_ffn<35, moe{.d_ff = 19, .num_experts = 5, .top_k = 3}>();
  check_ffn<16, moe{.d_ff = 33, .num_experts = 2, .top_k = 1}>();
  check_ffn<16, moe{.d_ff = 33,
                    .num_experts = 4,
                    .top_k = 2,
                    .weights = plait::router_weights::renormalised}>();
}
TEST_CASE("layer: norm") {
  auto const run = []<class Exec>(Exec exec) {
    using T = typename Exec::value_type;
    test::random random(84);
    test::matrix<T> x(test::random_matrix(random, 5, 35)), out(5, 35);
    test::matrix<T> const y(test::random_matrix(random, 5, 35));
    plait::layer<35, rms_norm{}>::forward(exec, weights_of<rms_norm{}, 35, Exec>(85),
                                          {.norm_eps = 1e-5f}, x.view(), y.view(), out.view());
    return std::pair{test::matrix<double>(x), test::matrix<double>(out)};
  };
  auto const got = run(test::cpu_with(1)), expected = run(test::oracle());
  CHECK(test::difference(got.first, expected.first) < 1e-6);
  CHECK(test::difference(got.second, expected.second) < 1e-6);
}

TEST_CASE("layer: the observer of moe gets router logits, experts and weights") {
  static constexpr moe policy{.d_ff = 19, .num_experts = 5, .top_k = 3};
  auto exec = test::cpu_with(1);
  test::random random(86);
  auto const x = test::random_matrix(random, 7, 16);
  test::matrix<float> y(7, 16);
  std::vector<std::string> seen;
  plait::layer<16, policy>::forward(exec, weights_of<policy, 16, test::cpu>(87), {}, x.view(),
                                    y.view(), [&](char const* name, auto const& m) {
                                      seen.push_back(name);
                                      CHECK(m.rows() == 7);
                                      CHECK(m.cols() == (seen.size() == 1 ? 5 : 3));
                                    });
  CHECK(seen == std::vector<std::string>{"router_logits", "experts", "expert_weights"});
}

TEST_CASE("layer: arguments are views of Eigen's matrices, spans and pointers, without a copy") {
  using row_major = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  row_major x = row_major::Random(6, 16), y(6, 16);
  std::vector<float> from(x.data(), x.data() + x.size()), to(from.size());
  std::vector<float> apart(6 * 20);
  for (std::int64_t t = 0; t < 6; ++t) std::copy_n(from.data() + t * 16, 16, apart.data() + t * 20);
  Eigen::Map<row_major const, 0, Eigen::OuterStride<>> const map(apart.data(), 6, 16,
                                                                 Eigen::OuterStride<>(20));

  CHECK(plait::matrix_view<float const>(x).data() == x.data());
  CHECK(plait::matrix_view<float>(x).data() == x.data());
  CHECK(plait::matrix_view<float const>(map).data() == apart.data());
  CHECK(plait::matrix_view<float const>(map).stride() == 20);
  CHECK(plait::matrix_view<float const>(std::span<float const>(from), 6, 16).data() == from.data());
  CHECK(plait::matrix_view<float const>(from.data(), 6, 16).data() == from.data());
  auto const block = x.block(1, 3, 4, 5);
  plait::matrix_view<float const> const part(block);
  CHECK(part.data() == &x(1, 3));
  CHECK(part.stride() == 16);
  CHECK(part.rows() == 4);
  CHECK(part(2, 1) == x(3, 4));
  Eigen::VectorXf const column = Eigen::VectorXf::Random(4);
  CHECK(plait::matrix_view<float const>(column).rows() == 4);
  CHECK(plait::matrix_view<float const>(column)(2, 0) == column(2));
  CHECK_THROWS_WITH_AS(plait::matrix_view<float const>(std::span<float const>(from), 6, 15),
                       "a view of 6 x 15 on a span of 96 values", plait::error);

  // Every layer takes each of them and writes to the caller's memory.
  auto exec = test::cpu_with(1);
  auto const check = [&](auto const& forward) {
    y.setZero();
    forward(x, y);
    row_major const expected = y;
    CHECK(expected.norm() > 0);
    y.setZero();
    forward(map, y);
    CHECK(y == expected);
    forward(plait::matrix_view<float const>(std::span<float const>(from), 6, 16),
            plait::matrix_view<float>(to.data(), 6, 16));
    CHECK(std::equal(to.begin(), to.end(), expected.data()));
  };
  constexpr mlp dense{.d_ff = 9};
  constexpr moe sparse{.d_ff = 9, .num_experts = 3, .top_k = 2};
  constexpr mamba recurrent{.d_state = 4};
  auto const d = weights_of<dense, 16, test::cpu>(88);
  check([&](auto const& in, auto&& out) {
    plait::layer<16, dense>::forward(exec, d, {}, in, out, plait::no_observer{});
  });
  auto const s = weights_of<sparse, 16, test::cpu>(89);
  check([&](auto const& in, auto&& out) {
    plait::layer<16, sparse>::forward(exec, s, {}, in, out, plait::no_observer{});
  });
  auto const r = weights_of<recurrent, 16, test::cpu>(90);
  check([&](auto const& in, auto&& out) {
    test::ragged<float> batch({0}, plait::policies::state(recurrent, 16), 0);
    plait::layer<16, recurrent>::forward(exec, r, {}, batch.with({6}), in, out,
                                         plait::no_observer{});
  });
  auto const n = weights_of<rms_norm{}, 16, test::cpu>(91);
  check([&](auto const& in, auto&& out) {
    row_major residual = row_major::Ones(6, 16);
    plait::layer<16, rms_norm{}>::forward(exec, n, {}, residual, in, out);
  });
}
