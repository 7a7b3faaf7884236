// selective_scan on a device: every form against the double reference and the other forms.
#include <plait/ops/selective_scan/selective_scan_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>
#include <support/recurrent_calls.hpp>

#include <doctest/doctest.h>

#include <optional>

using plait::role;
using plait::ops::scan_form;

namespace {

/// Inputs of every call as a layer has them: u, [?, z] side by side, dt, [?, B, C] side by side.
/// Values are those of T.
struct scan_case {
  std::int64_t d, n;
  test::lengths_of_calls calls;
  std::vector<float> a_log, skip;
  std::vector<test::matrix<float>> u, uz, dt, parts;
  std::int64_t before = 3;  ///< columns of parts before B

  template <class T>
  static scan_case make(test::random& random, test::lengths_of_calls const& calls, std::int64_t d,
                        std::int64_t n) {
    scan_case c{d, n, calls, random.values(d * n, -3, 3), random.values(d), {}, {}, {}, {}};
    for (auto const& call : calls) {
      std::int64_t const total = test::total_of(call);
      c.u.push_back(test::rounded<T>(test::random_matrix(random, total, d)));
      c.uz.push_back(test::rounded<T>(test::random_matrix(random, total, 2 * d, -2, 2)));
      c.dt.push_back(test::rounded<T>(test::random_matrix(random, total, d, -5, 2)));
      c.parts.push_back(test::rounded<T>(test::random_matrix(random, total, c.before + 2 * n)));
    }
    return c;
  }
};

test::recurrent_results<double> expected_of(scan_case const& c) {
  auto exec = test::oracle();
  using S = test::reference::storage_type;
  auto const A = test::make_tensor<S, role::state>(c.a_log, c.d, c.n);
  auto const D = test::make_tensor<S, role::vector>(c.skip, c.d);
  auto const forward = [&](std::size_t call, plait::sequences<double> const& seqs) {
    test::matrix<double> const u(c.u[call]), uz(c.uz[call]), dt(c.dt[call]), parts(c.parts[call]);
    test::matrix<double> y(u.rows(), c.d);
    plait::ops::selective_scan(
        exec, seqs,
        {u.view(), uz.view().middle_cols(c.d, c.d), dt.view(),
         parts.view().middle_cols(c.before, c.n), parts.view().middle_cols(c.before + c.n, c.n)},
        A, D, y.view());
    return y;
  };
  return test::run_calls<double>(c.calls, c.d * c.n, forward);
}

struct run_options {
  std::optional<scan_form> form = {};  ///< none: the op decides
  bool in_place = false;
  std::int64_t gap = 8;  ///< between rows; 5 leaves them unaligned
  std::uint64_t seed = 1;
  int multiprocessor_count = 3;
};

template <plait::precision P>
test::recurrent_results<float> device_results(scan_case const& c, run_options const& options) {
  using device = test::device<P>;
  using T = typename device::value_type;
  auto exec = test::device_with<P>(options.seed);
  exec.runtime.multiprocessors = options.multiprocessor_count;
  auto const A = test::make_device_tensor<device, role::state>(c.a_log, c.d, c.n);
  auto const D = test::make_device_tensor<device, role::vector>(c.skip, c.d);
  auto const forward = [&](std::size_t call, plait::sequences<float> const& seqs) {
    auto const batch = test::staged(exec, seqs);
    test::device_matrix_of<T> u(c.u[call], options.gap), uz(c.uz[call], options.gap);
    test::device_matrix_of<T> dt(c.dt[call], options.gap), parts(c.parts[call], options.gap);
    test::device_matrix_of<T> out(c.u[call].rows(), c.d, options.gap);
    auto& to = options.in_place ? u : out;
    plait::ops::scan_input<T> const in{u.const_view(), uz.const_view().middle_cols(c.d, c.d),
                                       dt.const_view(),
                                       parts.const_view().middle_cols(c.before, c.n),
                                       parts.const_view().middle_cols(c.before + c.n, c.n)};
    if (options.form)
      plait::ops::selective_scan_op<device>::run_as(*options.form, exec, batch, in, A, D,
                                                    to.view());
    else
      plait::ops::selective_scan(exec, batch, in, A, D, to.view());
    CHECK(exec.runtime.copies_to_host == 0);
    CHECK(to.intact());
    return to.values();
  };
  return test::run_calls<float>(c.calls, c.d * c.n, forward);
}

// A kernel's minimum of blocks per multiprocessor bounds its registers; 0: no bound.
static_assert(
    plait::kernels::min_blocks_of<plait::kernels::selective_scan_tiles<plait::bf16_t, 4>>() == 4);
static_assert(plait::kernels::min_blocks_of<plait::kernels::no_shared>() == 0);

// As on the CPU (tests/unit/ops/selective_scan/selective_scan_test.cpp): an exp2 of 2e-7, a
// softplus of 3e-7, a few roundings, and their sum over tokens. With bf16, y is rounded once, to 8
// bits; the state stays in f32.
constexpr double f32_error = 5e-6;

}  // namespace

TEST_CASE_TEMPLATE(
    "selective_scan on a device: widths and numbers of states in successive ragged calls, in every "
    "form",
    T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(16);
  test::lengths_of_calls const calls = {{1, 33, 0}, {17, 1, 3}, {0, 65, 32}, {1, 1, 1}, {1, 0, 1}};
  int i = 0;
  constexpr bool bf16 = sizeof(T) == 2;
  for (std::int64_t d : {1, 3, 16, 33, 100})
    for (std::int64_t n : {1, 5, 16, 17, 33, 65, 130}) {
      if (d > 33 && n > 17) continue;
      CAPTURE(d);
      CAPTURE(n);
      auto const c = scan_case::make<T>(random, calls, d, n);
      auto const expected = expected_of(c);
      ++i;
      auto const tiles = device_results<P>(
          c, {.in_place = i % 2 == 0, .gap = i % 3 == 0 ? 5 : 8, .seed = std::uint64_t(i)});
      CHECK(test::output_error(tiles, expected, 1, bf16) < f32_error);
      CHECK(test::state_error(tiles, expected) < f32_error);
      if (d * n > 50) continue;
      auto const blocks = device_results<P>(
          c, {scan_form::blocks, i % 2 != 0, i % 3 == 0 ? 8 : 5, std::uint64_t(i + 1)});
      CHECK(test::output_error(blocks, expected, 1, bf16) < f32_error);
      CHECK(test::state_error(blocks, expected) < f32_error);
    }
}

TEST_CASE(
    "selective_scan on a device: tiles and steps give the same bits for any split into calls, at "
    "any number of states") {
  test::random random(20);
  std::int64_t const total = 45;
  for (std::int64_t n : {4, 16, 21, 70}) {
    std::int64_t const d = n == 16 ? 132 : 37;
    CAPTURE(n);
    auto const whole = scan_case::make<float>(random, {{total}}, d, n);
    auto const expected = device_results<plait::f32>(whole, {.seed = 5});
    for (std::vector<std::int64_t> const& split :
         {std::vector<std::int64_t>{1, 44}, {32, 13}, {1, 1, 2, 3, 1, 37}, {33, 4, 7, 1}}) {
      scan_case c{d, n, {}, whole.a_log, whole.skip, {}, {}, {}, {}};
      std::int64_t first = 0;
      for (std::int64_t tokens : split) {
        c.calls.push_back({tokens});
        c.u.push_back(test::rows_of(whole.u[0], first, tokens));
        c.uz.push_back(test::rows_of(whole.uz[0], first, tokens));
        c.dt.push_back(test::rows_of(whole.dt[0], first, tokens));
        c.parts.push_back(test::rows_of(whole.parts[0], first, tokens));
        first += tokens;
      }
      auto const parts = device_results<plait::f32>(c, {.in_place = true, .gap = 5, .seed = 6});
      test::require_same_as_whole(parts, split, expected);
    }
  }
}

// The op uses steps for one token per sequence; the other forms give the same.
TEST_CASE("selective_scan on a device: one token per sequence, some sequences without") {
  test::random random(21);
  std::vector<std::int64_t> const ones = {1, 1, 0, 1, 1, 1, 0, 1, 1};
  for (std::int64_t d : {3, 129, 256})
    for (std::int64_t n : {3, 16, 20}) {
      if (d == 256 && n != 16) continue;
      CAPTURE(d);
      CAPTURE(n);
      auto const c = scan_case::make<plait::bf16_t>(random, {ones, ones, ones}, d, n);
      auto const expected = expected_of(c);
      for (int multiprocessor_count : {1, 100}) {
        auto const steps =
            device_results<plait::bf16>(c, {.in_place = multiprocessor_count == 1,
                                            .seed = 9,
                                            .multiprocessor_count = multiprocessor_count});
        CHECK(test::output_error(steps, expected, 1, true) < f32_error);
        CHECK(test::state_error(steps, expected) < f32_error);
        CHECK(test::same_bits(
            steps, device_results<plait::bf16>(c, {.form = scan_form::tiles, .gap = 5})));
      }
      if (d == 3)
        CHECK(test::output_error(device_results<plait::bf16>(c, {.form = scan_form::blocks}),
                                 expected, 1, true) < f32_error);
    }
}

// The maps of 1100 tokens in the order of a parallel scan: products of decays instead of a chain,
// in which each rounding decays with its state. 3 tiles of a block's scan; more than 256 states are
// for tiles.
TEST_CASE("selective_scan on a device: the parallel scan over tokens agrees with the loop") {
  test::random random(22);
  for (bool slow : {false, true}) {
    auto c = scan_case::make<float>(random, {{1100, 40}, {513, 0}}, 6, 5);
    if (slow) {
      for (float& a : c.a_log) a = -8;
      for (std::int64_t t = 0; t < 1140; ++t)
        for (std::int64_t i = 0; i < 6; ++i) {
          c.u[0](t, i) = 1 + 0.01f * c.u[0](t, i);
          c.dt[0](t, i) = 0.5f + 0.02f * c.dt[0](t, i);
        }
      for (std::int64_t t = 0; t < 1140; ++t)
        for (std::int64_t i = 0; i < 5; ++i) c.parts[0](t, 3 + i) = 1 + 0.1f * c.parts[0](t, 3 + i);
    }
    auto const expected = expected_of(c);
    auto const blocks = device_results<plait::f32>(c, {.form = scan_form::blocks, .seed = 3});
    auto const tiles = device_results<plait::f32>(c, {.form = scan_form::tiles, .seed = 4});
    CHECK(test::state_error(blocks, expected) < f32_error);
    CHECK(test::state_error(tiles, expected) < f32_error);
    CHECK(test::output_error(blocks, expected) < f32_error);
    CHECK(test::output_error(tiles, expected) < f32_error);
    CHECK(test::output_error(blocks, tiles) < f32_error);
    CHECK(test::same_bits(
        blocks, device_results<plait::f32>(
                    c, {.form = scan_form::blocks, .in_place = true, .gap = 5, .seed = 8})));
    CHECK(test::same_bits(
        tiles, device_results<plait::f32>(
                   c, {.form = scan_form::tiles, .in_place = true, .gap = 5, .seed = 8})));
  }
}

TEST_CASE("selective_scan on a device: the form depends on the batch and the device") {
  using plait::ops::scan_form_of;
  CHECK(scan_form_of(8192, 16, 1, 1, 132) == scan_form::step);
  CHECK(scan_form_of(8192, 16, 64, 0, 132) == scan_form::step);
  CHECK(scan_form_of(8192, 16, 1, 2, 132) == scan_form::tiles);
  CHECK(scan_form_of(8192, 16, 1, 100000, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 16, 1, 4096, 132) == scan_form::blocks);
  CHECK(scan_form_of(1536, 16, 1, 100, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 16, 4, 4096, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 257, 1, 4096, 132) == scan_form::tiles);
  // The op uses scan_form_of.
  test::random random(23);
  auto const c = scan_case::make<float>(random, {{300}}, 2, 2);
  CHECK(test::same_bits(device_results<plait::f32>(c, {.multiprocessor_count = 132}),
                        device_results<plait::f32>(c, {.form = scan_form::blocks})));
  CHECK(!test::same_bits(device_results<plait::f32>(c, {.multiprocessor_count = 132}),
                         device_results<plait::f32>(c, {.form = scan_form::tiles})));
  CHECK(test::same_bits(device_results<plait::f32>(c, {.multiprocessor_count = 1}),
                        device_results<plait::f32>(c, {.form = scan_form::tiles})));
}

TEST_CASE(
    "selective_scan on a device: a step of 0 keeps the state, a large one clears it; infinite "
    "A_log gives the limits") {
  test::random random(17);
  std::int64_t const d = 19, n = 17;
  auto c = scan_case::make<float>(random, {{6}, {1}}, d, n);
  float const steps[] = {1, 1, -1e4f, 1e4f, -0.0f, -90};
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t i = 0; i < d; ++i) c.dt[0](t, i) = steps[t];
  for (std::int64_t i = 0; i < d; ++i) c.uz[0](5, d + i) = i % 2 == 0 ? 1e4f : -1e4f;
  auto const expected = expected_of(c);
  for (scan_form form : {scan_form::tiles, scan_form::blocks}) {
    auto const got = device_results<plait::f32>(c, {.form = form});
    CHECK(test::output_error(got, expected, 0) < f32_error);
    CHECK(test::state_error(got, expected, 0) < f32_error);
  }
  float const odd[] = {test::infinity, -test::infinity, 1000, -1000, 88, -88, 40};
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t i = 0; i < d; ++i) c.dt[0](t, i) = 0.1f * float(t);
  for (std::size_t i = 0; i < c.a_log.size(); i += 3) c.a_log[i] = odd[i / 3 % 7];
  auto const limits = expected_of(c);
  for (scan_form form : {scan_form::tiles, scan_form::blocks})
    CHECK(test::output_error(device_results<plait::f32>(c, {.form = form}), limits, 0) < f32_error);
  CHECK(test::output_error(device_results<plait::f32>(c, {}), limits, 0) < f32_error);
}

TEST_CASE(
    "selective_scan on a device: a NaN stays in its channel of its sequence, from its token on") {
  test::random random(18);
  std::int64_t const d = 41, n = 17, bad = 18;
  for (scan_form form : {scan_form::tiles, scan_form::blocks, scan_form::step})
    for (int place = 0; place < 4; ++place) {
      CAPTURE(int(form));
      CAPTURE(place);
      bool const step = form == scan_form::step;
      auto c = scan_case::make<float>(
          random,
          step ? test::lengths_of_calls{{1, 1}, {1, 1}, {1, 1}} : test::lengths_of_calls{{5, 5}}, d,
          n);
      std::size_t const call = step ? 1 : 0;
      std::int64_t const at = step ? 0 : 2;
      if (place == 0) c.a_log[std::size_t(bad * n + 16)] = test::nan;
      if (place == 1) c.dt[call](at, bad) = test::nan;
      if (place == 2) c.u[call](at, bad) = test::nan;
      if (place == 3) c.uz[call](at, d + bad) = test::nan;
      auto const got = device_results<plait::f32>(c, {.form = form, .seed = 7});
      for (std::size_t k = 0; k < got.y.size(); ++k)
        for (std::int64_t t = 0; t < got.y[k].rows(); ++t)
          for (std::int64_t i = 0; i < d; ++i) {
            bool const first = step ? t == 0 : t < 5;
            bool const from = step ? k >= call : t >= at, only = step ? k == call : t == at;
            bool const hit = place == 0 || (first && (place == 3 ? only : from));
            REQUIRE(std::isnan(got.y[k](t, i)) == (i == bad && hit));
          }
    }
}

TEST_CASE("selective_scan on a device: one step by hand, captured and replayed") {
  using device = test::device<plait::f32>;
  auto exec = test::device_with<plait::f32>();
  // softplus(20) = 20, silu(30) = 30 in f32; A = -log(2) / 20 halves the state
  auto const A =
      test::make_device_tensor<device, role::state>({std::log(std::log(2.0f) / 20)}, 1, 1);
  auto const D = test::make_device_tensor<device, role::vector>({10}, 1);
  auto const value = [](float x) { return test::device_matrix_of<float>(test::row_matrix({x})); };
  auto u = value(2), z = value(30), dt = value(20), B = value(3), C = value(0.5f), y = value(0);
  test::ragged<float> batch({0}, 1, 0);
  auto const seqs = test::staged(exec, batch.with({1}));
  auto const captured = exec.runtime.capture([&] {
    plait::ops::selective_scan(
        exec, seqs,
        {u.const_view(), z.const_view(), dt.const_view(), B.const_view(), C.const_view()}, A, D,
        y.view());
  });
  CHECK(batch.state(0)[0] == 0);
  exec.runtime.replay(captured);
  CHECK(y.values()(0, 0) == doctest::Approx((120 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  exec.runtime.replay(captured);
  CHECK(y.values()(0, 0) == doctest::Approx((180 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  CHECK(batch.state(0)[0] == doctest::Approx(180).epsilon(1e-6));
}
