// conv_silu on a device, against the double reference.
#include <plait/ops/short_conv/conv_silu_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>
#include <support/recurrent_calls.hpp>

#include <doctest/doctest.h>

using plait::role;

namespace {

struct conv_case {
  std::int64_t channels, width;
  bool bias;
  test::lengths_of_calls calls;
  std::vector<float> taps, bias_values;
  std::vector<test::matrix<float>> u;  ///< values of T

  template <class T>
  static conv_case make(test::random& random, test::lengths_of_calls const& calls,
                        std::int64_t channels, std::int64_t width, bool bias) {
    conv_case c{
        channels, width, bias, calls, random.values(channels * width), random.values(channels), {}};
    for (auto const& call : calls)
      c.u.push_back(
          test::rounded<T>(test::random_matrix(random, test::total_of(call), channels, -2, 2)));
    return c;
  }
  std::int64_t state_values() const { return channels * (width - 1); }
};

test::recurrent_results<double> expected_of(conv_case const& c) {
  auto exec = test::oracle();
  using S = test::reference::storage_type;
  auto const taps = test::make_tensor<S, role::vector>(c.taps, c.channels, c.width);
  auto const bias = test::make_tensor<S, role::vector>(c.bias_values, c.channels);
  auto const forward = [&](std::size_t call, plait::sequences<double> const& seqs) {
    test::matrix<double> const u(c.u[call]);
    test::matrix<double> y(u.rows(), c.channels);
    plait::ops::conv_silu(exec, seqs, u.view(), taps, c.bias ? &bias : nullptr, y.view());
    return y;
  };
  return test::run_calls<double>(c.calls, c.state_values(), forward);
}

struct run_options {
  std::uint64_t seed = 1;
  /// With more, tiles are shorter and threads take fewer channels.
  int multiprocessor_count = 3;
  std::int64_t gap = 8;  ///< between rows; 5 leaves them unaligned
};

template <plait::precision P>
test::recurrent_results<float> device_results(conv_case const& c, run_options const& options) {
  using device = test::device<P>;
  using T = typename device::value_type;
  auto exec = test::device_with<P>(options.seed);
  exec.runtime.multiprocessors = options.multiprocessor_count;
  auto const taps = test::make_device_tensor<device, role::vector>(c.taps, c.channels, c.width);
  auto const bias = test::make_device_tensor<device, role::vector>(c.bias_values, c.channels);
  auto const forward = [&](std::size_t call, plait::sequences<float> const& seqs) {
    auto const batch = test::staged(exec, seqs);
    test::device_matrix_of<T> u(c.u[call], options.gap);
    test::device_matrix_of<T> y(c.u[call].rows(), c.channels, options.gap);
    plait::ops::conv_silu(exec, batch, u.const_view(), taps, c.bias ? &bias : nullptr, y.view());
    CHECK(exec.runtime.copies_to_host == 0);
    CHECK(y.intact());
    return y.values();
  };
  return test::run_calls<float>(c.calls, c.state_values(), forward);
}

}  // namespace

// At most 17 multiply-adds and a SiLU of 3e-7 on values of order 1: below 1e-6. Windows are copies:
// exact.
TEST_CASE_TEMPLATE(
    "conv_silu on a device: widths, channels and biases in successive ragged calls, some shorter "
    "than the window",
    T, float, plait::bf16_t) {
  constexpr plait::precision P = sizeof(T) == 4 ? plait::f32 : plait::bf16;
  test::random random(12);
  test::lengths_of_calls const calls = {{1, 17, 0}, {2, 1, 3},  {0, 5, 1},
                                        {1, 1, 1},  {1, 1, 90}, {1, 0, 1}};
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
        CHECK(test::output_error(got, expected, 1, sizeof(T) == 2) < 1e-6);
        CHECK(test::state_error(got, expected) == 0);
      }
    }
}

TEST_CASE("conv_silu on a device: any split into tiles or calls gives the same bits") {
  test::random random(13);
  std::int64_t const total = 200, channels = 21;
  for (std::int64_t width : {1, 4, 7, 16, 17, 70}) {
    CAPTURE(width);
    auto const whole = conv_case::make<float>(random, {{total}}, channels, width, true);
    auto const expected = expected_of(whole);
    auto const once = device_results<plait::f32>(whole, {});
    // 70 multiply-adds at most
    CHECK(test::output_error(once, expected) < (width > 17 ? 3e-6 : 1e-6));
    for (std::vector<std::int64_t> const& split :
         {std::vector<std::int64_t>{1, 199}, {64, 136}, {1, 1, 2, 3, 1, 192}, {65, 66, 69}}) {
      auto c = whole;
      c.calls.clear();
      c.u.clear();
      std::int64_t first = 0;
      for (std::int64_t tokens : split) {
        c.calls.push_back({tokens});
        c.u.push_back(test::rows_of(whole.u[0], first, tokens));
        first += tokens;
      }
      auto const parts =
          device_results<plait::f32>(c, {.seed = 4, .multiprocessor_count = 50, .gap = 5});
      test::require_same_as_whole(parts, split, once);
    }
  }
}

TEST_CASE(
    "conv_silu on a device: the window holds the last inputs, oldest first; the last tap "
    "multiplies "
    "the current token") {
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

// Also where fewer taps are used than are unrolled, and in the window of a later call.
TEST_CASE(
    "conv_silu on a device: a NaN reaches its channel of its sequence alone, for as many tokens as "
    "there are taps") {
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

TEST_CASE("conv_silu on a device: SiLU of large sums is the sum, or zero where it is negative") {
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
