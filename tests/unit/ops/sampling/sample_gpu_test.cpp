// Sampling on a device against model/sample.hpp and against the distribution.
#include <plait/model/sample.hpp>
#include <plait/ops/sampling/sample_gpu.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>

#include <doctest/doctest.h>

namespace {

template <class T>
test::device_memory::buffer<T> on_device(std::vector<T> const& values) {
  test::device_memory::buffer<T> b(std::int64_t(values.size()));
  test::device_memory::copy_in(values.data(), b.size(), b.data());
  return b;
}
std::vector<std::int32_t> fetched(test::device_memory::buffer<std::int32_t> const& b) {
  std::vector<std::int32_t> v(std::size_t(b.size()));
  test::device_memory::copy_out(b.data(), b.size(), v.data());
  return v;
}

std::vector<std::int32_t> greedy(test::matrix<float> const& logits, std::uint64_t seed) {
  auto exec = test::device_with<plait::bf16>(seed);
  test::device_matrix_of<float> const on_device_logits(logits, seed % 2 == 1 ? 3 : 8);
  auto ids = on_device(std::vector<std::int32_t>(std::size_t(logits.rows()), -1));
  plait::ops::choose_greedy(exec, on_device_logits.const_view(), ids.data());
  return fetched(ids);
}
std::vector<std::int32_t> drawn(test::matrix<float> const& logits, float temperature,
                                std::vector<float> const& uniform, std::uint64_t seed) {
  auto exec = test::device_with<plait::bf16>(seed);
  test::device_matrix_of<float> const on_device_logits(logits);
  auto ids = on_device(std::vector<std::int32_t>(std::size_t(logits.rows()), -1));
  auto const u = on_device(uniform);
  plait::ops::choose_drawn(exec, on_device_logits.const_view(), temperature, u.data(), ids.data());
  return fetched(ids);
}

}  // namespace

TEST_CASE("choose_greedy: equals sample_greedy, with ties, infinities and NaN") {
  test::random random(1);
  for (std::int64_t v : {1, 2, 31, 32, 33, 511, 512, 513, 3000}) {
    CAPTURE(v);
    constexpr std::int64_t rows = 12;
    auto logits = test::random_matrix(random, rows, v, -5, 5);
    for (std::int64_t r = 1; r < rows; ++r) {
      auto const anywhere = [&] { return random.below(v); };
      if (r == 1)
        for (std::int64_t c = 0; c < v; ++c)
          logits(r, c) = static_cast<float>(random.below(3));  // many ties
      if (r == 2)
        for (std::int64_t c = 0; c < v; ++c) logits(r, c) = -test::infinity;
      if (r == 3) {
        logits(r, anywhere()) = test::infinity;
        logits(r, anywhere()) = test::infinity;
      }
      if (r == 4) logits(r, 0) = test::nan;
      if (r == 5 && v > 1) logits(r, 1 + random.below(v - 1)) = test::nan;
      if (r == 6)
        for (std::int64_t c = 0; c < v; ++c) logits(r, c) = test::nan;
      if (r == 7)
        for (std::int64_t c = 1; c < v; ++c) logits(r, c) = test::nan;
      if (r == 8)
        for (std::int64_t c = 0; c < v; ++c) logits(r, c) = c == 0 ? -test::infinity : test::nan;
      if (r == 9)
        for (std::int64_t c = 0; c < v; ++c) logits(r, c) = c == 0 ? test::nan : -test::infinity;
      if (r == 10) logits(r, v - 1) = 6;
      if (r == 11) logits(r, 0) = 6;
    }
    for (std::uint64_t seed : {1u, 2u}) {
      auto const ids = greedy(logits, seed);
      for (std::int64_t r = 0; r < rows; ++r) {
        CAPTURE(r);
        CHECK(ids[std::size_t(r)] == plait::sample_greedy({logits.view().row(r), std::size_t(v)}));
      }
    }
  }
}

TEST_CASE("choose_drawn: the first id whose cumulative weight exceeds the uniform number") {
  test::random random(2);
  for (std::int64_t v : {1, 33, 2048, 2049, 5000})
    for (float temperature : {0.3f, 2.5f}) {
      CAPTURE(v);
      CAPTURE(temperature);
      constexpr std::int64_t rows = 5;
      auto const logits = test::random_matrix(random, rows, v, -3, 3);
      auto uniform = random.values(rows, 0, 1);
      uniform[0] = 0;
      uniform[1] = std::nextafterf(1, 0);
      auto const ids = drawn(logits, temperature, uniform, static_cast<std::uint64_t>(v));
      if (v == 2049) CHECK(ids == drawn(logits, temperature, uniform, 77));
      for (std::int64_t r = 0; r < rows; ++r) {
        std::vector<double> cumulative;
        double total = 0;
        for (std::int64_t c = 0; c < v; ++c)
          cumulative.push_back(total += std::exp(double(logits(r, c)) / double(temperature)));
        auto const id = std::size_t(ids[std::size_t(r)]);
        REQUIRE(id < std::size_t(v));
        // f32 sums of up to 5000 weights: chains of about 30 roundings.
        double const limit = double(uniform[std::size_t(r)]) * total, slack = total * 4e-6;
        CHECK(cumulative[id] > limit - slack);
        CHECK((id == 0 || cumulative[id - 1] <= limit + slack));
      }
    }
}

TEST_CASE("choose_drawn: a weight of zero is never drawn; temperature 0 and NaN are greedy") {
  test::matrix<float> logits(4, 700);
  for (std::int64_t r = 0; r < 4; ++r)
    for (std::int64_t c = 0; c < 700; ++c)
      logits(r, c) = c % 7 == 3 ? static_cast<float>(c % 5) : -test::infinity;
  for (float u : {0.0f, 0.25f, 0.5f, 0.999999f}) {
    auto const ids = drawn(logits, 1, {u, u, u, u}, 3);
    for (std::int32_t id : ids) CHECK(id % 7 == 3);
  }
  CHECK(drawn(logits, 0, {0.5f, 0.5f, 0.5f, 0.5f}, 3) == greedy(logits, 1));
  for (std::int64_t r = 0; r < 4; ++r) logits(r, 650) = test::nan;
  CHECK(drawn(logits, 1, {0.5f, 0.5f, 0.5f, 0.5f}, 3) == greedy(logits, 1));
}

TEST_CASE("choose_drawn: frequencies are those of softmax") {
  constexpr std::int64_t rows = 100;
  test::matrix<float> logits(rows, 3);
  for (std::int64_t r = 0; r < rows; ++r) {
    logits(r, 0) = 0;
    logits(r, 1) = std::log(3.0f);
    logits(r, 2) = std::log(6.0f);
  }
  std::vector<float> uniform(rows);
  for (std::size_t i = 0; i < rows; ++i) uniform[i] = static_cast<float>(i) / rows;
  std::vector<int> count(3);
  for (std::int32_t id : drawn(logits, 1, uniform, 4)) ++count[std::size_t(id)];
  CHECK(count[0] == doctest::Approx(10).epsilon(0.1));
  CHECK(count[1] == doctest::Approx(30).epsilon(0.04));
  CHECK(count[2] == doctest::Approx(60).epsilon(0.02));
}
