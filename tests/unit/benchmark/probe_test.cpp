#include <plait/benchmark/probe.hpp>

#include <plait/benchmark/check.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/plait.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

namespace {
using namespace plait;
}

TEST_CASE("both rates are measured, and are those of a machine") {
  exec::cpu<> cpu(1);
  for (dtype compute : {dtype::f32, dtype::bf16, dtype::int8}) {
    bench::roofline const r = bench::probe_roofline(cpu, compute);
    MESSAGE(std::string(bench::peak_instruction(compute)), ": ", r.flops / 1e9, " GFLOP/s, ",
            r.bytes / 1e9, " GB/s");
    CHECK(r.known());
    CHECK(r.flops > 1e8);
    CHECK(r.flops < 1e14);
    CHECK(r.bytes > 1e8);
    CHECK(r.bytes < 1e13);
  }
  CHECK(bench::last_level_cache() >= 1 << 18);
  CHECK(bench::cold_bytes(1) > 0);
  CHECK(bench::cold_bytes(64) >= bench::cold_bytes(1));
}

TEST_CASE("the chains compute what they say") {
  // sum <- 0.999 sum + 0.001 goes to 1, whatever it began with
  float const after = bench::detail::f32_chains::run(20000);
  CHECK(after == doctest::Approx(bench::detail::f32_chains::chains).epsilon(1e-3));
#if PLAIT_BF16_DOT
  CHECK(bench::detail::bf16_chains::run(1000) == 0.5f * 1000 * bench::detail::bf16_chains::chains);
#endif
#if PLAIT_INT8_DOT
  using int8_chains = bench::detail::int8_chains;
  CHECK(int8_chains::run(1000) == 1000.0f * int8_chains::step * int8_chains::chains);
#endif
  // 1 + 2 + ... in lanes: of 1024 ones that is 1024 / width in each
  buffer<float> ones(1024);
  for (int i = 0; i < 1024; ++i) ones[i] = 1;
  CHECK(bench::detail::read_all<0>(ones.data(), 1024) == 1024.0f / simd::width);
  CHECK(bench::detail::read_all<768>(ones.data(), 1024) == 1024.0f / simd::width);
}

TEST_CASE("a roofline is bound by the slower of the two") {
  bench::roofline const r{.flops = 100, .bytes = 10};
  CHECK(r.seconds(1000, 10) == 10);
  CHECK(r.seconds(1000, 200) == 20);
  CHECK_FALSE(bench::roofline{}.known());
}

TEST_CASE("a difference is a sentence when it is beyond its bound") {
  float result[2] = {1.0f, -2.0f};
  double expected[2] = {1.0, -2.0};
  auto const between = [&] {
    return bench::compare(matrix_view<float const>(result, 1, 2),
                          matrix_view<double const>(expected, 1, 2));
  };
  CHECK(between().complaint(0).empty());
  CHECK(between().relative() == 0);
  result[0] = 1.002f;
  CHECK(between().relative() == doctest::Approx(0.001).epsilon(1e-3));
  CHECK(between().complaint(1.1e-3).empty());
  CHECK(between().complaint(0.9e-3).find("the result is off by 0.002") == 0);
  result[0] = std::numeric_limits<float>::quiet_NaN();
  CHECK_FALSE(between().complaint(1e9).empty());
  result[0] = 0;
  result[1] = 0;
  expected[0] = 0;
  expected[1] = 0;
  CHECK_FALSE(between().complaint(1).empty());  // nothing but zeros shows nothing
  CHECK(bench::tolerance(f32, true) == 1e-4);
  CHECK(bench::tolerance(bf16, false) == 1e-4);
  CHECK(bench::tolerance(bf16, true) == 1e-2);
  CHECK(bench::tolerance(with_compute(bf16, dtype::bf16), true) == 5e-2);
  CHECK(bench::tolerance(with_compute(int8, dtype::int8), false) == 2e-1);
}

TEST_CASE("weights are copied as they are kept, and only into the same") {
  constexpr moe p{.d_ff = 20, .num_experts = 3, .top_k = 2};
  single_layer<24, p> from;
  bench::fill(from);
  single_layer<24, p, exec::reference> to;
  bench::copy_weights(from, to);
  int rows = 0;
  from.for_each_tensor([&](int, char const*, tensor const& t, auto& data) {
    to.for_each_tensor([&](int, char const*, tensor const& other, auto& copied) {
      if (std::string(t.name) != other.name) return;
      std::vector<float> a(static_cast<std::size_t>(t.cols)), b(a.size());
      for (std::int64_t i = 0; i < t.copies * t.rows; ++i, ++rows) {
        data.get_row(i / t.rows, i % t.rows, a.data());
        copied.get_row(i / t.rows, i % t.rows, b.data());
        CHECK(a == b);
        CHECK(std::any_of(a.begin(), a.end(), [](float v) { return v != 0; }));
      }
    });
  });
  CHECK(rows == 3 + 3 * (20 + 20 + 24));
  single_layer<24, mlp{.d_ff = 20}, exec::reference> other;
  CHECK(test::message_of([&] { bench::copy_weights(from, other); }) ==
        "copy_weights: 0 ffn gate_proj is not in both");
}

TEST_CASE("rows are the same values whichever are there, in any type") {
  bench::matrix<float> const few(2, 5, 3, 4);
  bench::matrix<double> const many(9, 5, 3);
  for (int r = 0; r < 2; ++r)
    for (int c = 0; c < 5; ++c) {
      CHECK(double(few.read()(r, c)) == many.read()(4 + r, c));
      CHECK(std::abs(few.read()(r, c)) <= 1);
    }
  CHECK(many.read()(0, 0) != many.read()(1, 0));
  CHECK(bench::matrix<float>(1, 1).read()(0, 0) == 0);
}
