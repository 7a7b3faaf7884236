// conv_silu on a device, against the double reference.
#include <plait/ops/short_conv/conv_silu_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;
using lengths = std::vector<std::vector<std::int64_t>>;  // [call][sequence]

namespace {

struct conv_case {
  std::int64_t channels, width;
  bool bias;
  lengths calls;
  std::vector<float> taps, bias_values;
  std::vector<test::matrix<float>> u;

  template <class T>
  static conv_case make(test::random& random, lengths const& calls, std::int64_t channels,
                        std::int64_t width, bool bias) {
    conv_case c{
        channels, width, bias, calls, random.values(channels * width), random.values(channels), {}};
    for (auto const& call : calls) {
      std::int64_t total = 0;
      for (std::int64_t n : call) total += n;
      c.u.push_back(test::rounded<T>(test::random_matrix(random, total, channels, -2, 2)));
    }
    return c;
  }
  std::int64_t state_values() const { return channels * (width - 1); }
};

/// Outputs, and the windows of all sequences, after every call.
template <class T>
struct results {
  std::vector<test::matrix<T>> y;
  std::vector<std::vector<std::vector<T>>> states;
};

results<double> expected_of(conv_case const& c) {
  auto exec = test::oracle();
  using S = test::reference::storage_type;
  auto const taps = test::make_tensor<S, role::vector>(c.taps, c.channels, c.width);
  auto const bias = test::make_tensor<S, role::vector>(c.bias_values, c.channels);
  test::ragged<double> batch(std::vector<std::int64_t>(c.calls[0].size(), 0), c.state_values(), 0);
  results<double> r;
  for (std::size_t call = 0; call < c.calls.size(); ++call) {
    auto const seqs = batch.with(c.calls[call]);
    test::matrix<double> const u(c.u[call]);
    r.y.emplace_back(batch.total(), c.channels);
    plait::ops::conv_silu(exec, seqs, u.view(), taps, c.bias ? &bias : nullptr, r.y.back().view());
    auto& states = r.states.emplace_back();
    for (std::size_t s = 0; s < c.calls[0].size(); ++s)
      states.emplace_back(batch.state(s), batch.state(s) + c.state_values());
    batch.advance();
  }
  return r;
}

struct how {
  std::uint64_t seed = 1;
  int multiprocessor_count =
      3;  ///< of which there are more, tiles are shorter, and threads take fewer channels
  std::int64_t gap = 8;  ///< between rows; 5 leaves them unaligned
};

template <plait::precision P>
results<float> device_results(conv_case const& c, how const& w) {
  using device = test::device<P>;
  using T = typename device::value_type;
  auto exec = test::device_with<P>(w.seed);
  exec.runtime.multiprocessors = w.multiprocessor_count;
  auto const taps = test::make_device_tensor<device, role::vector>(c.taps, c.channels, c.width);
  auto const bias = test::make_device_tensor<device, role::vector>(c.bias_values, c.channels);
  test::ragged<float> batch(std::vector<std::int64_t>(c.calls[0].size(), 0), c.state_values(), 0);
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
    test::device_matrix_of<T> u(c.u[call], w.gap), y(batch.total(), c.channels, w.gap);
    plait::ops::conv_silu(exec, seqs, u.const_view(), taps, c.bias ? &bias : nullptr, y.view());
    CHECK(exec.runtime.copies_to_host == 0);
    CHECK(y.intact());
    CHECK(batch.intact());
    r.y.push_back(y.values());
    auto& states = r.states.emplace_back();
    for (std::size_t s = 0; s < c.calls[0].size(); ++s)
      states.emplace_back(batch.state(s), batch.state(s) + c.state_values());
    batch.advance();
  }
  return r;
}

/// Of the largest value of a call; with bf16, beyond half of the last of each value's 8 bits, which
/// rounding it once costs.
double worst_y(results<float> const& got, results<double> const& expected, bool bf16) {
  double worst = 0;
  for (std::size_t call = 0; call < got.y.size(); ++call) {
    double most = 0, largest = 1;
    for (std::int64_t t = 0; t < got.y[call].rows(); ++t)
      for (std::int64_t i = 0; i < got.y[call].cols(); ++i) {
        double const a = double(got.y[call](t, i)), e = expected.y[call](t, i);
        double const d =
            std::fabs(a - e) - (bf16 ? std::ldexp(0x1p-8, std::ilogb(a == 0 ? 1e-30 : a)) : 0);
        most = std::isnan(d) ? double(test::infinity) : std::max(most, d);
        largest = std::max(largest, std::fabs(e));
      }
    worst = std::max(worst, most / largest);
  }
  return worst;
}
bool same_states(results<float> const& got, results<double> const& expected) {
  for (std::size_t call = 0; call < got.states.size(); ++call)
    for (std::size_t s = 0; s < got.states[call].size(); ++s)
      for (std::size_t i = 0; i < got.states[call][s].size(); ++i)
        if (double(got.states[call][s][i]) != expected.states[call][s][i]) return false;
  return true;
}

}  // namespace

// At most 17 multiply-adds and a SiLU of 3e-7 on values of order 1: below 1e-6. Windows are copies,
// so they are exact.
TEST_CASE_TEMPLATE(
    "conv_silu on a device: widths, channels, biases; ragged calls on top of one another, some "
    "shorter than the window",
    T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(12);
  lengths const calls = {{1, 17, 0}, {2, 1, 3}, {0, 5, 1}, {1, 1, 1}, {1, 1, 90}, {1, 0, 1}};
  std::uint64_t seed = 0;
  for (std::int64_t channels : {1, 3, 16, 17, 129, 1100})
    for (std::int64_t width : {1, 2, 3, 4, 5, 9, 16, 17, 40}) {
      if (channels > 17 && width != 4 && width != 9 && width != 17) continue;
      ++seed;
      CAPTURE(channels);
      CAPTURE(width);
      auto const c = conv_case::make<T>(random, calls, channels, width, seed % 3 != 0);
      auto const expected = expected_of(c);
      for (int multiprocessor_count : {1, 40}) {
        CAPTURE(multiprocessor_count);
        auto const got =
            device_results<P>(c, {seed, multiprocessor_count,
                                  (seed + std::uint64_t(multiprocessor_count)) % 2 == 0 ? 8 : 5});
        CHECK(worst_y(got, expected, sizeof(T) == 2) < 1e-6);
        CHECK(same_states(got, expected));
      }
    }
}

TEST_CASE("conv_silu on a device: many tiles, and any split into calls, give the same bits") {
  test::random random(13);
  std::int64_t const total = 200, channels = 21;
  for (std::int64_t width : {1, 4, 7, 16, 17, 70}) {
    CAPTURE(width);
    auto const whole = conv_case::make<float>(random, {{total}}, channels, width, true);
    auto const expected = expected_of(whole);
    auto const once = device_results<plait::f32>(whole, {});
    CHECK(worst_y(once, expected, false) < (width > 17 ? 3e-6 : 1e-6));  // 70 multiply-adds
    for (std::vector<std::int64_t> const& split :
         {std::vector<std::int64_t>{1, 199}, {64, 136}, {1, 1, 2, 3, 1, 192}, {65, 66, 69}}) {
      auto c = whole;
      c.calls.clear();
      c.u.clear();
      std::int64_t first = 0;
      for (std::int64_t tokens : split) {
        c.calls.push_back({tokens});
        auto& part = c.u.emplace_back(tokens, channels);
        for (std::int64_t t = 0; t < tokens; ++t)
          for (std::int64_t i = 0; i < channels; ++i) part(t, i) = whole.u[0](first + t, i);
        first += tokens;
      }
      auto const parts =
          device_results<plait::f32>(c, {.seed = 4, .multiprocessor_count = 50, .gap = 5});
      first = 0;
      for (std::size_t call = 0; call < split.size(); first += split[call], ++call)
        for (std::int64_t t = 0; t < split[call]; ++t)
          for (std::int64_t i = 0; i < channels; ++i)
            REQUIRE(parts.y[call](t, i) == once.y[0](first + t, i));
      REQUIRE(test::same_bits(parts.states.back()[0], once.states[0][0]));
    }
  }
}

TEST_CASE(
    "conv_silu on a device: the window keeps the last inputs, oldest first; the last tap meets the "
    "current token") {
  test::random random(14);
  auto c = conv_case::make<float>(random, {{5}}, 2, 4, false);
  c.taps = {1000, 100, 10, 1, 0, 0, 0, 1};
  for (std::int64_t t = 0; t < 5; ++t) {
    c.u[0](t, 0) = static_cast<float>(t + 1);
    c.u[0](t, 1) = static_cast<float>(10 * (t + 1));
  }
  auto const got = device_results<plait::f32>(c, {});
  double const sums[] = {1, 12, 123, 1234, 2345};
  for (std::int64_t t = 0; t < 5; ++t)
    CHECK(got.y[0](t, 0) == doctest::Approx(plait::ops::silu(sums[t])).epsilon(1e-6));
  CHECK(got.states[0][0] == std::vector<float>{3, 30, 4, 40, 5, 50});
}

// Also where fewer taps are used than are unrolled, and of an old window.
TEST_CASE(
    "conv_silu on a device: a NaN is seen by its channel of its sequence for as many tokens as "
    "there are taps, no further") {
  test::random random(15);
  for (std::int64_t width : {1, 2, 3, 4, 5, 16, 17})
    for (std::int64_t at : {1, 5}) {
      CAPTURE(width);
      CAPTURE(at);
      auto c = conv_case::make<float>(random, {{6, 2}, {20, 30}}, 20, width, true);
      c.u[0](at, 17) = test::nan;
      auto const got = device_results<plait::f32>(c, {.multiprocessor_count = 30});
      for (std::int64_t s = 0; s < 2; ++s)
        for (std::int64_t t = 0; t < 26; ++t)
          for (std::int64_t i = 0; i < 20; ++i) {
            std::size_t const call = t < (s == 0 ? 6 : 2) ? 0 : 1;
            std::int64_t const row =
                s == 0 ? (call == 0 ? t : t - 6) : (call == 0 ? 6 + t : 20 + t - 2);
            REQUIRE(std::isnan(got.y[call](row, i)) ==
                    (s == 0 && i == 17 && t >= at && t < at + width));
          }
    }
}

TEST_CASE("conv_silu on a device: a large sum passes, a large negative one gives nothing") {
  test::random random(16);
  auto c = conv_case::make<float>(random, {{5}}, 1, 1, false);
  c.taps = {1};
  float const values[] = {1e4f, -1e4f, 0.0f, -0.0f, test::infinity};
  for (std::int64_t t = 0; t < 5; ++t) c.u[0](t, 0) = values[t];
  auto const y = device_results<plait::f32>(c, {}).y[0];
  CHECK(y(0, 0) == 1e4f);
  CHECK(std::fabs(y(1, 0)) < 1e-30f);
  CHECK(y(2, 0) == 0);
  CHECK(y(3, 0) == 0);
  CHECK(y(4, 0) == test::infinity);
}
