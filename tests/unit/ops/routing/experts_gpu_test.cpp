// experts on a device against the double reference with the stored weights and the same choices.
#include <plait/ops/routing/experts_gpu.hpp>
#include <plait/ops/routing/route_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>
#include <support/expert_values.hpp>

#include <doctest/doctest.h>

using plait::dtype;
using plait::precision;
using plait::role;

namespace {

/// Weights on a device, and the values they are made of.
template <precision P>
struct bank {
  using device = test::device<P>;
  using tensor = decltype(test::make_device_tensor<device, role::expert>({}, 0, 0, 0));
  test::expert_values values;
  tensor gate, up, down;

  bank(test::random& random, std::int64_t d, std::int64_t f, std::int64_t n)
      : values(random, d, f, n) {
    upload();
  }
  void spoil(std::int64_t expert) {
    values.spoil(expert);
    upload();
  }

 private:
  void upload() {
    auto const& [d, f, n, gate_values, up_values, down_values] = values;
    gate = test::make_device_tensor<device, role::expert>(gate_values, f, d, n);
    up = test::make_device_tensor<device, role::expert>(up_values, f, d, n);
    down = test::make_device_tensor<device, role::expert>(down_values, d, f, n);
  }
};

enum class mode { separate_output, in_place, step, captured_step };

template <precision P>
test::matrix<float> run(test::device<P>& exec, bank<P> const& b, test::matrix<float> const& x,
                        test::matrix<float> const& logits, std::int64_t k,
                        mode how = mode::separate_output, std::int64_t gap = 8) {
  using T = typename test::device<P>::value_type;
  plait::arena::frame const scratch(exec.workspace);
  test::device_matrix_of<T> in(x, gap), out(x.rows(), x.cols(), gap);
  test::device_matrix_of<float> const scores(logits);
  auto& to = how == mode::in_place ? in : out;
  auto const call = [&](plait::matrix_view<T const> from, plait::matrix_view<T> y) {
    auto const plan = plait::ops::make_routing(exec, x.rows(), b.values.n, k);
    plait::ops::route(exec, scores.const_view(), plan, plait::router_weights::as_they_are);
    plait::ops::experts(exec, from, plan, b.gate, b.up, b.down, y);
  };
  // A workspace of exactly the measured size.
  test::device<P> measured;
  measured.workspace.reserve(exec.workspace.measure([&] {
    call({nullptr, x.rows(), x.cols(), x.cols()}, {nullptr, x.rows(), x.cols(), x.cols()});
  }));
  test::poison(measured);
  std::swap(exec.workspace, measured.workspace);
  if (how == mode::step || how == mode::captured_step) {
    plait::call_shape const shape{
        .sequences = x.rows(), .rows = x.rows(), .repeatable = how == mode::captured_step};
    for (int i = 0; i < (how == mode::step ? 1 : 2); ++i)
      exec.execute(shape, [&] {
        plait::arena::frame const inner(exec.workspace);
        call(in.const_view(), to.view());
      });
  } else {
    call(in.const_view(), to.view());
  }
  std::swap(exec.workspace, measured.workspace);
  CHECK(to.intact());
  return to.values();
}

template <precision P>
test::matrix<double> reference(bank<P> const& b, test::matrix<float> const& x,
                               test::matrix<float> const& logits, std::int64_t k) {
  auto oracle = test::oracle();
  test::matrix<double> const in(x), scores(logits);
  test::matrix<double> out(x.rows(), x.cols());
  auto const plan = plait::ops::make_routing(oracle, x.rows(), b.values.n, k);
  plait::ops::route(oracle, scores.view(), plan, plait::router_weights::as_they_are);
  plait::ops::experts(oracle, in.view(), plan, test::stored<role::expert>(b.gate),
                      test::stored<role::expert>(b.up), test::stored<role::expert>(b.down),
                      out.view());
  return out;
}

/// f32: three sums of at most 129 terms. bf16: hidden values and the result are rounded, each by up
/// to 2^-8 of itself; the library's gemm also rounds gate, up, every expert's output, and int8
/// weights.
template <precision P>
double tolerance(bool library) {
  return P.experts == dtype::f32 ? 5e-6 : library ? 2e-2 : 8e-3;
}

template <precision P>
void check(std::int64_t tokens, std::int64_t d, std::int64_t f, std::int64_t n, std::int64_t k,
           std::uint64_t seed, bool all_to_one = false) {
  CAPTURE(tokens);
  CAPTURE(d);
  CAPTURE(f);
  CAPTURE(n);
  CAPTURE(k);
  test::random random(seed);
  using T = typename test::device<P>::value_type;
  bank<P> const b(random, d, f, n);
  auto const x = test::rounded<T>(test::random_matrix(random, tokens, d, -2, 2));
  auto logits = test::random_matrix(random, tokens, n, -2, 2);
  for (std::int64_t i = 0; all_to_one && i < tokens; ++i) logits(i, 0) = 9;
  auto exec = test::device_with<P>(seed, test::small_workspace);
  exec.runtime.multiprocessors = seed % 2 == 0 ? 1 : 132;
  bool const library =
      P.experts != dtype::f32 &&
      tokens * k > n * (P.experts == dtype::int8 ? plait::ops::max_skinny_choices<dtype::int8>
                                                 : plait::ops::max_skinny_choices<dtype::bf16>);
  auto const expected = reference(b, x, logits, k);
  CHECK(test::difference(
            run(exec, b, x, logits, k, seed % 2 == 0 ? mode::separate_output : mode::in_place,
                seed % 3 == 0 ? 5 : 8),
            expected, 1) < tolerance<P>(library));
  CHECK(exec.runtime.copies_to_host == (library ? 1 : 0));
}

template <precision P>
void check_shapes() {
  std::uint64_t seed = 1;
  for (std::int64_t tokens : {1, 2, 5, 17, 40})
    for (auto const& [d, f] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 1}, {3, 17}, {32, 48}, {35, 129}, {72, 33}})
      if (tokens * d * f < 30000)
        check<P>(tokens, d, f, tokens == 5 ? 40 : 3 + 2 * (tokens % 3), 1 + tokens % 3, ++seed);
}

}  // namespace

TEST_CASE(
    "experts on a device: f32, odd shapes, one to three experts per token, in place and not") {
  check_shapes<plait::f32>();
}
TEST_CASE("experts on a device: bf16, by kernels and by the library") {
  check_shapes<plait::bf16>();
  check<plait::bf16>(60, 40, 24, 2, 2, 70);
  check<plait::bf16>(200, 9, 5, 3, 1, 71);
}
TEST_CASE("experts on a device: int8, by kernels and by the library") {
  check_shapes<plait::int8>();
  check<plait::int8>(150, 40, 24, 2, 2, 72);
  check<plait::int8>(390, 9, 5, 3, 1, 73);
}
TEST_CASE("experts on a device: more rows than one pass takes") {
  check<plait::int8>(2100, 3, 5, 40, 2, 75);
  check<plait::bf16>(4100, 3, 5, 2, 1, 76, true);
}
TEST_CASE("experts on a device: int8 experts beside bf16 weights") {
  check<plait::experts_int8>(9, 40, 24, 4, 2, 74);
}

TEST_CASE("experts on a device: the weights of experts without tokens are not read") {
  test::random random(28);
  for (std::int64_t tokens : {1, 12, 150}) {
    bank<plait::int8> b(random, 24, 33, 4);
    auto const x = test::rounded<plait::bf16_t>(test::random_matrix(random, tokens, 24));
    auto logits = test::random_matrix(random, tokens, 4);
    for (std::int64_t t = 0; t < tokens; ++t) logits(t, 2) = 3;
    auto exec = test::device_with<plait::int8>(1, test::small_workspace);
    auto const before = run(exec, b, x, logits, 1);
    CHECK(test::difference(before, reference(b, x, logits, 1), 1) < tolerance<plait::int8>(false));
    for (std::int64_t e : {0, 1, 3}) b.spoil(e);
    CHECK(test::same_bits(run(exec, b, x, logits, 1), before));
  }
}

TEST_CASE(
    "experts on a device: a decode step copies nothing to the host, for any number of sequences, "
    "and its replay gives the same bits") {
  test::random random(29);
  for (std::int64_t tokens : {3, 300}) {  // kernels; the library, outside of a decode step
    bank<plait::int8> const b(random, 24, 17, 2);
    auto const x = test::rounded<plait::bf16_t>(test::random_matrix(random, tokens, 24));
    auto const logits = test::random_matrix(random, tokens, 2);
    auto exec = test::device_with<plait::int8>(1, test::small_workspace);
    auto const got = run(exec, b, x, logits, 1, mode::captured_step);
    CHECK(test::same_bits(run(exec, b, x, logits, 1, mode::step), got));
    CHECK(exec.runtime.copies_to_host == 0);
    CHECK(test::difference(got, reference(b, x, logits, 1), 1) < tolerance<plait::int8>(false));
  }
}

TEST_CASE(
    "experts on a device: outputs are added in order of falling weight, by one chain of "
    "multiply-adds") {
  test::random random(32);
  std::int64_t const tokens = 6, d = 16, n = 5, k = 3;
  bank<plait::int8> const b(random, d, 24, n);
  auto const x = test::rounded<plait::bf16_t>(test::random_matrix(random, tokens, d));
  auto const logits = test::random_matrix(random, tokens, n, -2, 2);
  auto exec = test::device_with<plait::int8>(1, test::small_workspace);
  // The kernel combine alone, with known outputs, weights and places.
  test::matrix<float> const outputs = test::random_matrix(random, tokens * k, d),
                            weights = test::random_matrix(random, tokens, k, 0, 1);
  test::device_matrix_of<float> const on_device(outputs), w(weights);
  std::vector<std::int32_t> places(std::size_t(tokens * k));
  for (std::size_t i = 0; i < places.size(); ++i)
    places[i] = std::int32_t((i * 7 + 3) % places.size());
  test::device_memory::buffer<std::int32_t> place(tokens * k);
  test::device_memory::copy_in(places.data(), tokens * k, place.data());
  test::device_matrix_of<float> y(tokens, d);
  exec.launch<plait::kernels::combine_experts<float, float>>(
      {.x = tokens},
      {on_device.const_view(), w.const_view(),
       plait::matrix_view<std::int32_t const>(place.data(), tokens, k), y.view(), k, d});
  auto const got = y.values();
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t c = 0; c < d; ++c) {
      float sum = 0;
      for (std::int64_t j = 0; j < k; ++j)
        sum = std::fma(weights(t, j), outputs(places[std::size_t(t * k + j)], c), sum);
      REQUIRE(got(t, c) == sum);
    }
}

TEST_CASE(
    "experts on a device: a NaN reaches its token alone; the order of threads changes no bit; no "
    "tokens") {
  test::random random(30);
  bank<plait::int8> const b(random, 40, 17, 3);
  auto x = test::rounded<plait::bf16_t>(test::random_matrix(random, 9, 40));
  auto const logits = test::random_matrix(random, 9, 3);
  x(4, 39) = test::nan;
  std::vector<test::matrix<float>> results;
  for (std::uint64_t seed : {1u, 2u, 3u}) {
    auto exec = test::device_with<plait::int8>(seed, test::small_workspace);
    results.push_back(run(exec, b, x, logits, 2));
    for (std::int64_t t = 0; t < 9; ++t)
      for (std::int64_t c = 0; c < 40; ++c) {
        REQUIRE(std::isnan(results.back()(t, c)) == (t == 4));
        if (t != 4) REQUIRE(results.back()(t, c) == results.front()(t, c));
      }
    CHECK(run(exec, b, test::matrix<float>(0, 40), test::matrix<float>(0, 3), 2).rows() == 0);
  }
}
