// selective_scan's forms on a device, against the double reference and one another.
#include <plait/ops/selective_scan/selective_scan_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <optional>

using plait::role;
using plait::ops::scan_form;
using lengths = std::vector<std::vector<std::int64_t>>;  // [call][sequence]

namespace {

/// Inputs of every call as a layer has them: u, [?, z] side by side, dt, [?, B, C] side by side.
/// Values are those of T.
struct scan_case {
  std::int64_t d, n;
  lengths calls;
  std::vector<float> a_log, skip;
  std::vector<test::matrix<float>> u, uz, dt, parts;
  std::int64_t before = 3;  ///< columns of parts before B

  template <class T>
  static scan_case make(test::random& random, lengths const& calls, std::int64_t d,
                        std::int64_t n) {
    scan_case c{d, n, calls, random.values(d * n, -3, 3), random.values(d), {}, {}, {}, {}};
    for (auto const& call : calls) {
      std::int64_t total = 0;
      for (std::int64_t tokens : call) total += tokens;
      c.u.push_back(test::rounded<T>(test::random_matrix(random, total, d)));
      c.uz.push_back(test::rounded<T>(test::random_matrix(random, total, 2 * d, -2, 2)));
      c.dt.push_back(test::rounded<T>(test::random_matrix(random, total, d, -5, 2)));
      c.parts.push_back(test::rounded<T>(test::random_matrix(random, total, c.before + 2 * n)));
    }
    return c;
  }
};

/// Outputs, and the states of all sequences, after every call.
template <class T>
struct results {
  std::vector<test::matrix<T>> y;
  std::vector<std::vector<std::vector<T>>> states;
};

results<double> expected_of(scan_case const& c) {
  auto exec = test::oracle();
  using S = test::reference::storage_type;
  auto const A = test::make_tensor<S, role::state>(c.a_log, c.d, c.n);
  auto const D = test::make_tensor<S, role::vector>(c.skip, c.d);
  test::ragged<double> batch(std::vector<std::int64_t>(c.calls[0].size(), 0), c.d * c.n, 0);
  results<double> r;
  for (std::size_t call = 0; call < c.calls.size(); ++call) {
    auto const seqs = batch.with(c.calls[call]);
    test::matrix<double> const u(c.u[call]), uz(c.uz[call]), dt(c.dt[call]), parts(c.parts[call]);
    r.y.emplace_back(batch.total(), c.d);
    plait::ops::selective_scan(
        exec, seqs,
        {u.view(), uz.view().middle_cols(c.d, c.d), dt.view(),
         parts.view().middle_cols(c.before, c.n), parts.view().middle_cols(c.before + c.n, c.n)},
        A, D, r.y.back().view());
    auto& states = r.states.emplace_back();
    for (std::size_t s = 0; s < c.calls[0].size(); ++s)
      states.emplace_back(batch.state(s), batch.state(s) + c.d * c.n);
    batch.advance();
  }
  return r;
}

struct how {
  std::optional<scan_form> form = {};  ///< none: as the op decides
  bool in_place = false;
  std::int64_t gap = 8;  ///< between rows; 5 leaves them unaligned
  std::uint64_t seed = 1;
  int multiprocessor_count = 3;
};

template <plait::precision P>
results<float> device_results(scan_case const& c, how const& w) {
  using device = test::device<P>;
  using T = typename device::value_type;
  auto exec = test::device_with<P>(w.seed);
  exec.runtime.multiprocessors = w.multiprocessor_count;
  auto const A = test::make_device_tensor<device, role::state>(c.a_log, c.d, c.n);
  auto const D = test::make_device_tensor<device, role::vector>(c.skip, c.d);
  test::ragged<float> batch(std::vector<std::int64_t>(c.calls[0].size(), 0), c.d * c.n, 0);
  results<float> r;
  for (std::size_t call = 0; call < c.calls.size(); ++call) {
    plait::sequences<float> const here = batch.with(c.calls[call]);
    plait::call_inputs<T> inputs;
    inputs.seqs = {.count = here.count,
                   .first_row = here.first_row,
                   .length = here.length,
                   .state = here.state,
                   .state_offset = here.state_offset};
    plait::sequences<T> const seqs = exec.stage(inputs).seqs;
    test::device_matrix_of<T> u(c.u[call], w.gap), uz(c.uz[call], w.gap), dt(c.dt[call], w.gap),
        parts(c.parts[call], w.gap), out(batch.total(), c.d, w.gap);
    auto& to = w.in_place ? u : out;
    plait::ops::scan_input<T> const in{u.const_view(), uz.const_view().middle_cols(c.d, c.d),
                                       dt.const_view(),
                                       parts.const_view().middle_cols(c.before, c.n),
                                       parts.const_view().middle_cols(c.before + c.n, c.n)};
    if (w.form)
      plait::ops::selective_scan_op<device>::run_as(*w.form, exec, seqs, in, A, D, to.view());
    else
      plait::ops::selective_scan(exec, seqs, in, A, D, to.view());
    CHECK(exec.runtime.copies_to_host == 0);
    CHECK(to.intact());
    CHECK(batch.intact());
    r.y.push_back(to.values());
    auto& states = r.states.emplace_back();
    for (std::size_t s = 0; s < c.calls[0].size(); ++s)
      states.emplace_back(batch.state(s), batch.state(s) + c.d * c.n);
    batch.advance();
  }
  return r;
}

/// Of a call, relative to its largest value or `at_least`; with bf16, beyond half of the last of
/// each value's 8 bits, which rounding it once costs.
template <class B>
double worst_y(results<float> const& got, results<B> const& expected, double at_least = 1,
               bool bf16 = false) {
  double worst = 0;
  for (std::size_t call = 0; call < got.y.size(); ++call) {
    double most = 0, largest = at_least;
    for (std::int64_t t = 0; t < got.y[call].rows(); ++t)
      for (std::int64_t i = 0; i < got.y[call].cols(); ++i) {
        double const a = double(got.y[call](t, i)), e = double(expected.y[call](t, i));
        double const d =
            std::fabs(a - e) - (bf16 ? std::ldexp(0x1p-8, std::ilogb(a == 0 ? 1e-30 : a)) : 0);
        most = std::isnan(d) ? double(test::infinity) : std::max(most, d);
        largest = std::max(largest, std::fabs(e));
      }
    worst = std::max(worst, most == 0 ? 0 : most / largest);
  }
  return worst;
}
template <class A, class B>
double worst_state(results<A> const& got, results<B> const& expected, double at_least = 0.1) {
  double most = 0;
  for (std::size_t call = 0; call < got.states.size(); ++call)
    for (std::size_t s = 0; s < got.states[call].size(); ++s)
      most = std::max(most,
                      test::difference(got.states[call][s].data(), expected.states[call][s].data(),
                                       std::int64_t(got.states[call][s].size()), at_least));
  return most;
}
bool same(results<float> const& a, results<float> const& b) {
  for (std::size_t call = 0; call < a.y.size(); ++call) {
    if (!test::same_bits(a.y[call], b.y[call])) return false;
    for (std::size_t s = 0; s < a.states[call].size(); ++s)
      if (!test::same_bits(a.states[call][s], b.states[call][s])) return false;
  }
  return true;
}

// Registers are given out for as many blocks as a kernel asks for, if it asks.
static_assert(plait::kernels::blocks_of<plait::kernels::selective_scan_tiles<plait::bf16_t, 4>>() ==
              4);
static_assert(plait::kernels::blocks_of<plait::kernels::no_shared>() == 0);

// As on the CPU (tests/unit/ops/selective_scan/selective_scan_test.cpp): an exp2 of 2e-7, a
// softplus of 3e-7, a few roundings and their sum over tokens. With bf16, y is rounded once, to 8
// bits; the state is not.
constexpr double f32_error = 5e-6;

}  // namespace

TEST_CASE_TEMPLATE(
    "selective_scan on a device: widths, states, ragged calls on top of one another, in every form",
    T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(16);
  lengths const calls = {{1, 33, 0}, {17, 1, 3}, {0, 65, 32}, {1, 1, 1}, {1, 0, 1}};
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
      CHECK(worst_y(tiles, expected, 1, bf16) < f32_error);
      CHECK(worst_state(tiles, expected) < f32_error);
      if (d * n > 50) continue;
      auto const blocks = device_results<P>(
          c, {scan_form::blocks, i % 2 != 0, i % 3 == 0 ? 8 : 5, std::uint64_t(i + 1)});
      CHECK(worst_y(blocks, expected, 1, bf16) < f32_error);
      CHECK(worst_state(blocks, expected) < f32_error);
    }
}

TEST_CASE(
    "selective_scan on a device: tiles and steps are the same bits, however tokens are split into "
    "calls, at any number of states") {
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
      auto const cut = [&](test::matrix<float> const& from, std::int64_t tokens) {
        test::matrix<float> part(tokens, from.cols());
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t i = 0; i < from.cols(); ++i) part(t, i) = from(first + t, i);
        return part;
      };
      for (std::int64_t tokens : split) {
        c.calls.push_back({tokens});
        c.u.push_back(cut(whole.u[0], tokens));
        c.uz.push_back(cut(whole.uz[0], tokens));
        c.dt.push_back(cut(whole.dt[0], tokens));
        c.parts.push_back(cut(whole.parts[0], tokens));
        first += tokens;
      }
      auto const parts = device_results<plait::f32>(c, {.in_place = true, .gap = 5, .seed = 6});
      first = 0;
      for (std::size_t call = 0; call < split.size(); first += split[call], ++call)
        for (std::int64_t t = 0; t < split[call]; ++t)
          for (std::int64_t i = 0; i < d; ++i)
            REQUIRE(parts.y[call](t, i) == expected.y[0](first + t, i));
      REQUIRE(test::same_bits(parts.states.back()[0], expected.states[0][0]));
    }
  }
}

// Steps are what the op takes for one token a sequence; the other forms can do it too.
TEST_CASE(
    "selective_scan on a device: a token of many sequences, some without; blocks that take "
    "several") {
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
        CHECK(worst_y(steps, expected, 1, true) < f32_error);
        CHECK(worst_state(steps, expected) < f32_error);
        CHECK(same(steps, device_results<plait::bf16>(c, {.form = scan_form::tiles, .gap = 5})));
      }
      if (d == 3)
        CHECK(worst_y(device_results<plait::bf16>(c, {.form = scan_form::blocks}), expected, 1,
                      true) < f32_error);
    }
}

// The maps of 1100 tokens, composed in another order than one after the other: products of decays
// instead of a chain, of which each rounding fades as its state does. 3 tiles of a block's scan;
// more than 256 states are for tiles.
TEST_CASE("selective_scan on a device: the scan over tokens and the loop over tokens agree") {
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
    CHECK(worst_state(blocks, expected) < f32_error);
    CHECK(worst_state(tiles, expected) < f32_error);
    CHECK(worst_y(blocks, expected) < f32_error);
    CHECK(worst_y(tiles, expected) < f32_error);
    CHECK(worst_y(blocks, tiles) < f32_error);
    CHECK(same(blocks, device_results<plait::f32>(
                           c, {.form = scan_form::blocks, .in_place = true, .gap = 5, .seed = 8})));
    CHECK(same(tiles, device_results<plait::f32>(
                          c, {.form = scan_form::tiles, .in_place = true, .gap = 5, .seed = 8})));
  }
}

TEST_CASE("selective_scan on a device: which form") {
  using plait::ops::scan_form_of;
  CHECK(scan_form_of(8192, 16, 1, 1, 132) == scan_form::step);
  CHECK(scan_form_of(8192, 16, 64, 0, 132) == scan_form::step);
  CHECK(scan_form_of(8192, 16, 1, 2, 132) == scan_form::tiles);
  CHECK(scan_form_of(8192, 16, 1, 100000, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 16, 1, 4096, 132) == scan_form::blocks);
  CHECK(scan_form_of(1536, 16, 1, 100, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 16, 4, 4096, 132) == scan_form::tiles);
  CHECK(scan_form_of(1536, 257, 1, 4096, 132) == scan_form::tiles);
  // The op asks it.
  test::random random(23);
  auto const c = scan_case::make<float>(random, {{300}}, 2, 2);
  CHECK(same(device_results<plait::f32>(c, {.multiprocessor_count = 132}),
             device_results<plait::f32>(c, {.form = scan_form::blocks})));
  CHECK(!same(device_results<plait::f32>(c, {.multiprocessor_count = 132}),
              device_results<plait::f32>(c, {.form = scan_form::tiles})));
  CHECK(same(device_results<plait::f32>(c, {.multiprocessor_count = 1}),
             device_results<plait::f32>(c, {.form = scan_form::tiles})));
}

TEST_CASE(
    "selective_scan on a device: extreme steps: a closed one keeps the state, a wide open one "
    "forgets it; infinite logarithms are limits") {
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
    CHECK(worst_y(got, expected, 0) < f32_error);
    CHECK(worst_state(got, expected, 0) < f32_error);
  }
  float const odd[] = {test::infinity, -test::infinity, 1000, -1000, 88, -88, 40};
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t i = 0; i < d; ++i) c.dt[0](t, i) = 0.1f * float(t);
  for (std::size_t i = 0; i < c.a_log.size(); i += 3) c.a_log[i] = odd[i / 3 % 7];
  auto const limits = expected_of(c);
  for (scan_form form : {scan_form::tiles, scan_form::blocks})
    CHECK(worst_y(device_results<plait::f32>(c, {.form = form}), limits, 0) < f32_error);
  CHECK(worst_y(device_results<plait::f32>(c, {}), limits, 0) < f32_error);
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
          random, step ? lengths{{1, 1}, {1, 1}, {1, 1}} : lengths{{5, 5}}, d, n);
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

TEST_CASE("selective_scan on a device: one step by hand, kept and launched again") {
  using device = test::device<plait::f32>;
  auto exec = test::device_with<plait::f32>();
  // softplus(20) = 20, silu(30) = 30 in f32; A = -log(2) / 20 halves the state
  auto const A =
      test::make_device_tensor<device, role::state>({std::log(std::log(2.0f) / 20)}, 1, 1);
  auto const D = test::make_device_tensor<device, role::vector>({10}, 1);
  test::matrix<float> one(1, 1);
  auto const value = [&](float x) { return one(0, 0) = x, test::device_matrix_of<float>(one); };
  auto u = value(2), z = value(30), dt = value(20), B = value(3), C = value(0.5f), y = value(0);
  test::ragged<float> batch({0}, 1, 0);
  plait::call_inputs<float> inputs;
  inputs.seqs = batch.with({1});
  auto const seqs = exec.stage(inputs).seqs;
  auto const kept = exec.runtime.capture([&] {
    plait::ops::selective_scan(
        exec, seqs,
        {u.const_view(), z.const_view(), dt.const_view(), B.const_view(), C.const_view()}, A, D,
        y.view());
  });
  CHECK(batch.state(0)[0] == 0);
  exec.runtime.replay(kept);
  CHECK(y.values()(0, 0) == doctest::Approx((120 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  exec.runtime.replay(kept);
  CHECK(y.values()(0, 0) == doctest::Approx((180 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  CHECK(batch.state(0)[0] == doctest::Approx(180).epsilon(1e-6));
}
