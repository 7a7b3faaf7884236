#include <plait/ops/selective_scan/selective_scan_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

#include <bit>

using plait::role;

namespace {

struct scan_data {
  std::vector<test::matrix<float>> u, z, dt, B, C;  // one per call
};

scan_data inputs(test::random& random, test::lengths_of_calls const& lengths, std::int64_t d,
                 std::int64_t n) {
  scan_data data;
  for (auto const& call : lengths) {
    std::int64_t const total = test::total_of(call);
    data.u.push_back(test::random_matrix(random, total, d));
    data.z.push_back(test::random_matrix(random, total, d, -2, 2));
    data.dt.push_back(test::random_matrix(random, total, d, -5, 2));
    data.B.push_back(test::random_matrix(random, total, n));
    data.C.push_back(test::random_matrix(random, total, n));
  }
  return data;
}

template <class Exec>
struct scan_run {
  using T = typename Exec::value_type;
  std::vector<test::matrix<T>> y;
  test::ragged<T> batch;

  scan_run(Exec& exec, std::vector<float> const& a_log, std::vector<float> const& skip,
           test::lengths_of_calls const& lengths, scan_data const& in, bool in_place)
      : batch(std::vector<std::int64_t>(lengths[0].size(), 0),
              static_cast<std::int64_t>(a_log.size()), 0) {
    using S = typename Exec::storage_type;
    std::int64_t const d = static_cast<std::int64_t>(skip.size()),
                       n = static_cast<std::int64_t>(a_log.size()) / d;
    auto const A = test::make_tensor<S, role::state>(a_log, d, n);
    auto const D = test::make_tensor<S, role::vector>(skip, d);
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      plait::sequences<T> const seqs = batch.with(lengths[call]);
      test::matrix<T> u(in.u[call]), out(batch.total(), d);
      test::matrix<T> const z(in.z[call]), dt(in.dt[call]), B(in.B[call]), C(in.C[call]);
      test::matrix<T>& to = in_place ? u : out;
      plait::ops::selective_scan(exec, seqs, {u.view(), z.view(), dt.view(), B.view(), C.view()}, A,
                                 D, to.view());
      CHECK(to.intact());
      CHECK(batch.intact());
      y.push_back(to);
      batch.advance();
    }
  }
};

}  // namespace

// A state is a sum of decaying terms, each with an exp2 of 1.8e-7, a softplus of 3e-7 and a few
// roundings; decay factors multiply, so that errors of slow channels add up over some tens of
// tokens, of either sign: 5e-6 of the largest.
TEST_CASE(
    "selective_scan: widths and numbers of states in successive ragged calls, in place and not") {
  test::random random(16);
  test::lengths_of_calls const lengths = {{1, 33, 0}, {17, 1, 3}, {0, 65, 32}};
  for (std::int64_t d : {1, 3, 16, 17, 32, 129})
    for (std::int64_t n : {1, 5, 8, 16, 17, 33}) {
      CAPTURE(d);
      CAPTURE(n);
      auto const data = inputs(random, lengths, d, n);
      std::vector<float> const a_log = random.values(d * n, -3, 3), skip = random.values(d);
      auto oracle = test::oracle();
      scan_run<test::reference> expected(oracle, a_log, skip, lengths, data, false);
      for (bool in_place : {false, true}) {
        auto cpu = test::cpu_with(in_place ? 3 : 1);
        scan_run<test::cpu> got(cpu, a_log, skip, lengths, data, in_place);
        for (std::size_t call = 0; call < lengths.size(); ++call)
          CHECK(test::difference(got.y[call], expected.y[call], 1) < 5e-6);
        for (std::size_t s = 0; s < 3; ++s)
          CHECK(test::difference(got.batch.state(s), expected.batch.state(s), d * n, 0.1) < 5e-6);
      }
    }
}

TEST_CASE("selective_scan: one step by hand") {
  auto cpu = test::cpu_with(1);
  scan_data in;
  for (auto* m : {&in.u, &in.z, &in.dt, &in.B, &in.C}) m->emplace_back(2, 1);
  for (std::int64_t t = 0; t < 2; ++t) {
    in.u[0](t, 0) = 2;
    in.z[0](t, 0) = 30;
    in.dt[0](t, 0) = 20;
    in.B[0](t, 0) = 3;
    in.C[0](t, 0) = 0.5f;
  }
  // softplus(20) = 20, silu(30) = 30 in f32; A = -log(2) / 20 halves the state
  float const a_log = std::log(std::log(2.0f) / 20);
  scan_run<test::cpu> run(cpu, {a_log}, {10}, {{2}}, in, false);
  CHECK(run.y[0](0, 0) == doctest::Approx((120 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  CHECK(run.y[0](1, 0) == doctest::Approx((180 * 0.5 + 10 * 2) * 30).epsilon(1e-6));
  CHECK(run.batch.state(0)[0] == doctest::Approx(180).epsilon(1e-6));
}

TEST_CASE("selective_scan: a step of 0 keeps the state, a large one clears it") {
  auto cpu = test::cpu_with(1);
  auto oracle = test::oracle();
  test::random random(17);
  std::int64_t const d = 19, n = 16;
  test::lengths_of_calls const lengths = {{6}};
  auto data = inputs(random, lengths, d, n);
  float const steps[] = {1, 1, -1e4f, 1e4f, -0.0f, -90};
  for (std::int64_t t = 0; t < 6; ++t)
    for (std::int64_t c = 0; c < d; ++c) data.dt[0](t, c) = steps[t];
  for (std::int64_t c = 0; c < d; ++c) data.z[0](5, c) = c % 2 == 0 ? 1e4f : -1e4f;
  std::vector<float> const a_log = random.values(d * n, -3, 3), skip = random.values(d);
  scan_run<test::cpu> got(cpu, a_log, skip, lengths, data, false);
  scan_run<test::reference> expected(oracle, a_log, skip, lengths, data, false);
  CHECK(test::difference(got.y[0], expected.y[0]) < 5e-6);
  CHECK(test::difference(got.batch.state(0), expected.batch.state(0), d * n) < 5e-6);
}

TEST_CASE("selective_scan: a NaN reaches its channel of its sequence alone, from its token on") {
  test::random random(18);
  auto data = inputs(random, {{5, 5}}, 21, 16);
  data.u[0](2, 18) = test::nan;
  auto cpu = test::cpu_with(1);
  scan_run<test::cpu> run(cpu, random.values(21 * 16), random.values(21), {{5, 5}}, data, false);
  for (std::int64_t t = 0; t < 10; ++t)
    for (std::int64_t c = 0; c < 21; ++c)
      REQUIRE(std::isnan(run.y[0](t, c)) == (c == 18 && t >= 2 && t < 5));
}

// Blocks of channels of a few tokens share one pass, up to 1024 channels of one token; numbers of
// states above those of one pass.
TEST_CASE("selective_scan: few tokens of many channels, any number of states") {
  test::random random(19);
  for (std::int64_t tokens : {1, 2, 3, 15, 16, 17})
    for (std::int64_t n : {3, 16, 29}) {
      CAPTURE(tokens);
      CAPTURE(n);
      std::int64_t const d = 1100;
      test::lengths_of_calls const lengths = {{tokens}, {tokens}};
      auto const data = inputs(random, lengths, d, n);
      std::vector<float> const a_log = random.values(d * n, -3, 3), skip = random.values(d);
      auto oracle = test::oracle();
      scan_run<test::reference> expected(oracle, a_log, skip, lengths, data, false);
      for (int threads : {1, 2}) {
        auto cpu = test::cpu_with(threads);
        scan_run<test::cpu> got(cpu, a_log, skip, lengths, data, true);
        for (std::size_t call = 0; call < 2; ++call)
          CHECK(test::difference(got.y[call], expected.y[call], 1) < 5e-6);
        CHECK(test::difference(got.batch.state(0), expected.batch.state(0), d * n, 0.1) < 5e-6);
      }
    }
}

// The tiles of a call, and what shares a pass, depend on the split.
TEST_CASE("selective_scan: any split into calls and any number of threads give the same bits") {
  test::random random(20);
  std::int64_t const d = 300, n = 21, total = 70;
  auto const data = inputs(random, {{total}}, d, n);
  std::vector<float> const a_log = random.values(d * n, -3, 3), skip = random.values(d);
  auto one = test::cpu_with(1), three = test::cpu_with(3);
  scan_run<test::cpu> whole(one, a_log, skip, {{total}}, data, false);
  for (std::vector<std::int64_t> const& split :
       {std::vector<std::int64_t>{1, 69}, {16, 54}, {1, 1, 2, 3, 5, 17, 41}, {33, 4, 32, 1}}) {
    test::lengths_of_calls lengths;
    scan_data parts;
    std::int64_t first = 0;
    for (std::int64_t tokens : split) {
      lengths.push_back({tokens});
      for (auto const m :
           {&scan_data::u, &scan_data::z, &scan_data::dt, &scan_data::B, &scan_data::C})
        (parts.*m).push_back(test::rows_of((data.*m)[0], first, tokens));
      first += tokens;
    }
    scan_run<test::cpu> chunks(three, a_log, skip, lengths, parts, true);
    first = 0;
    for (std::size_t call = 0; call < split.size(); ++call) {
      REQUIRE(test::same_bits(chunks.y[call], test::rows_of(whole.y[0], first, split[call])));
      first += split[call];
    }
    REQUIRE(test::same_bits(chunks.batch.state(0), whole.batch.state(0), d * n));
  }
}

// Factors a little below 1, each of another step and rounded by at most 3e-8, so that roundings
// have either sign; the sum's time constant is about 3000 tokens: 3e-8 sqrt(3000) = 1.6e-6 from the
// factors, as much from the roundings of the sums, 3e-7 each from A, delta and exp2's slope.
TEST_CASE("selective_scan: a slow channel over thousands of tokens") {
  test::random random(21);
  std::int64_t const d = 16, n = 4;
  test::lengths_of_calls const lengths = {{4000}};
  auto data = inputs(random, lengths, d, n);
  for (std::int64_t t = 0; t < 4000; ++t)
    for (std::int64_t i = 0; i < n; ++i) data.B[0](t, i) = 1 + 0.1f * data.B[0](t, i);
  std::vector<float> const a_log(static_cast<std::size_t>(d * n), -8.0f), skip = random.values(d);
  for (std::int64_t t = 0; t < 4000; ++t)
    for (std::int64_t c = 0; c < d; ++c) {
      data.dt[0](t, c) = 0.1f * data.dt[0](t, c) + 0.5f;
      data.u[0](t, c) = 1 + 0.01f * data.u[0](t, c);
    }
  auto cpu = test::cpu_with(1);
  auto oracle = test::oracle();
  scan_run<test::cpu> got(cpu, a_log, skip, lengths, data, false);
  scan_run<test::reference> expected(oracle, a_log, skip, lengths, data, false);
  CHECK(test::difference(got.batch.state(0), expected.batch.state(0), d * n) < 5e-6);
}

TEST_CASE(
    "selective_scan: a NaN of any payload in any input, A_log included, reaches its channel; "
    "infinite A_log gives the limits") {
  test::random random(22);
  std::int64_t const d = 35, n = 17, bad = 18;
  for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7fc00001u, 0x7f800001u, 0xffffffffu,
                             0x7fc001ffu, 0x7f812345u}) {
    CAPTURE(bits);
    float const nan = std::bit_cast<float>(bits);
    for (int place = 0; place < 4; ++place) {
      CAPTURE(place);
      auto data = inputs(random, {{3}}, d, n);
      std::vector<float> a_log = random.values(d * n);
      if (place == 0) a_log[static_cast<std::size_t>(bad * n + 16)] = nan;
      if (place == 1) data.dt[0](0, bad) = nan;
      if (place == 2) data.u[0](0, bad) = nan;
      if (place == 3) data.z[0](0, bad) = nan;
      auto cpu = test::cpu_with(1);
      scan_run<test::cpu> run(cpu, a_log, random.values(d), {{3}}, data, false);
      for (std::int64_t t = 0; t < 3; ++t)
        for (std::int64_t c = 0; c < d; ++c)
          REQUIRE(std::isnan(run.y[0](t, c)) == (c == bad && (t == 0 || place != 3)));
    }
  }
  auto const data = inputs(random, {{9}}, d, n);
  std::vector<float> a_log = random.values(d * n), skip = random.values(d);
  float const odd[] = {test::infinity, -test::infinity, 1000, -1000, 88, -88, 40};
  for (std::size_t i = 0; i < a_log.size(); i += 3) a_log[i] = odd[i / 3 % 7];
  auto cpu = test::cpu_with(1);
  auto oracle = test::oracle();
  scan_run<test::cpu> got(cpu, a_log, skip, {{9}}, data, false);
  scan_run<test::reference> expected(oracle, a_log, skip, {{9}}, data, false);
  CHECK(test::difference(got.y[0], expected.y[0]) < 5e-6);
}
