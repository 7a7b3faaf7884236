#include <plait/ops/attention/paged_attention_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

namespace {

using plait::ops::attention_shape;

struct attend_data {
  std::vector<test::matrix<float>> q, k, v;  // one per call
};

attend_data inputs(test::random& random, test::lengths_of_calls const& lengths,
                   attention_shape shape) {
  attend_data data;
  for (auto const& call : lengths) {
    std::int64_t const total = test::total_of(call);
    data.q.push_back(test::random_matrix(random, total, shape.heads * shape.dim, -3, 3));
    data.k.push_back(test::random_matrix(random, total, shape.kv_heads * shape.dim, -3, 3));
    data.v.push_back(test::random_matrix(random, total, shape.kv_heads * shape.dim));
  }
  return data;
}

/// Successive calls on one batch.
template <class Exec>
struct attend_run {
  using T = typename Exec::value_type;
  std::vector<test::matrix<T>> y;
  test::ragged<T, typename Exec::kv_type> batch;

  attend_run(Exec& exec, attention_shape shape, test::lengths_of_calls const& lengths,
             attend_data const& in, bool in_place)
      : batch(std::vector<std::int64_t>(lengths[0].size(), 0), 0,
              2 * shape.kv_heads * shape.dim * plait::page_tokens) {
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      plait::sequences<T> const seqs = batch.with(lengths[call]);
      test::matrix<T> q(in.q[call]), out(q.rows(), q.cols());
      test::matrix<T> const k(in.k[call]), v(in.v[call]);
      test::matrix<T>& to = in_place ? q : out;
      plait::ops::paged_attention(exec, seqs, shape, q.view(), k.view(), v.view(), to.view());
      CHECK(to.intact());
      CHECK(batch.intact());
      y.push_back(to);
      batch.advance();
    }
  }
};

void check(test::random& random, attention_shape shape, test::lengths_of_calls const& lengths,
           double tolerance) {
  CAPTURE(shape.heads);
  CAPTURE(shape.kv_heads);
  CAPTURE(shape.dim);
  auto const data = inputs(random, lengths, shape);
  auto oracle = test::oracle();
  attend_run<test::reference> const expected(oracle, shape, lengths, data, false);
  for (bool in_place : {false, true}) {
    auto cpu = test::cpu_with(in_place ? 3 : 1);
    attend_run<test::cpu> const got(cpu, shape, lengths, data, in_place);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::difference(got.y[call], expected.y[call], 0.1) < tolerance);
  }
}

}  // namespace

// A score is a chain of dim roundings, of terms up to 9 / sqrt(dim): its error, up to about 100 *
// 6e-8, is the relative error of a probability, which weights values of at most 1.
constexpr double tolerance = 1e-5;

TEST_CASE("paged_attention: heads and widths in successive ragged calls") {
  test::random random(19);
  test::lengths_of_calls const lengths = {
      {3, 1, 0, 17}, {1, 60, 5, 0}, {2, 4, 1, 1}, {0, 70, 1, 129}};
  for (attention_shape shape : {attention_shape{1, 1, 1},
                                {4, 2, 3},
                                {20, 1, 3},
                                {3, 3, 24},
                                {20, 1, 24},
                                {8, 2, 16},
                                {2, 1, 128},
                                {4, 4, 33},
                                {6, 3, 32}})
    check(random, shape, lengths, tolerance);
}

TEST_CASE(
    "paged_attention: lengths around a page's end, in one call, in chunks, in prefill and decode") {
  test::random random(20);
  attention_shape const shape{5, 1, 24};
  for (std::int64_t n : {63, 64, 65, 127, 128, 129, 192})
    for (std::int64_t m : {1, 2, 63, 64, 65}) check(random, shape, {{n}, {m}, {1}}, tolerance);
}

// A split has 1,024 keys: where tiles are fewer than threads, threads share the splits of each
// tile, in more than one round.
TEST_CASE("paged_attention: long contexts give the same bits for any number of threads") {
  test::random random(24);
  attention_shape const shape{3, 1, 5};
  test::lengths_of_calls const lengths = {{1000, 0}, {40, 3}, {5000, 1100}, {1, 1}, {3, 1}};
  auto const data = inputs(random, lengths, shape);
  auto oracle = test::oracle();
  attend_run<test::reference> const expected(oracle, shape, lengths, data, false);
  auto one = test::cpu_with(1);
  attend_run<test::cpu> const alone(one, shape, lengths, data, false);
  for (std::size_t call = 0; call < lengths.size(); ++call)
    CHECK(test::difference(alone.y[call], expected.y[call], 0.1) < tolerance);
  for (int threads : {2, 3, 5, 40}) {
    auto cpu = test::cpu_with(threads);
    attend_run<test::cpu> const got(cpu, shape, lengths, data, false);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::same_bits(got.y[call], alone.y[call]));
  }
}

TEST_CASE("paged_attention: bf16 keys and values are rounded f32 keys and values") {
  test::random random(25);
  for (attention_shape shape :
       {attention_shape{1, 1, 1}, {4, 2, 3}, {20, 1, 24}, {4, 4, 33}, {2, 1, 128}}) {
    test::lengths_of_calls const lengths = {{3, 1, 17}, {60, 5, 0}, {1, 1, 129}};
    auto const data = inputs(random, lengths, shape);
    auto rounded = data;
    for (auto* calls : {&rounded.k, &rounded.v})
      for (auto& m : *calls)
        for (std::int64_t r = 0; r < m.rows(); ++r)
          for (std::int64_t c = 0; c < m.cols(); ++c)
            m(r, c) = plait::from_bf16(plait::to_bf16(m(r, c)));
    auto narrow = test::cpu_in<plait::bf16>(2);
    auto wide = test::cpu_with(1);
    attend_run<plait::exec::cpu<plait::bf16>> const got(narrow, shape, lengths, data, false);
    attend_run<test::cpu> const expected(wide, shape, lengths, rounded, false);
    for (std::size_t call = 0; call < lengths.size(); ++call)
      CHECK(test::same_bits(got.y[call], expected.y[call]));
  }
}

TEST_CASE(
    "paged_attention: keys and values are stored where page_layout says; other layers' parts do "
    "not change") {
  test::random random(21);
  attention_shape const shape{4, 2, 5};
  auto const data = inputs(random, {{70}}, shape);
  auto cpu = test::cpu_with(2);
  attend_run<test::cpu> run(cpu, shape, {{70}}, data, false);
  plait::page_layout const at{shape.kv_heads, shape.dim};
  for (std::int64_t t = 0; t < 70; ++t)
    for (std::int64_t h = 0; h < 2; ++h)
      for (std::int64_t d = 0; d < 5; ++d) {
        float const* const page = run.batch.page(0, t / plait::page_tokens);
        REQUIRE(page[at.key(h, d, t % plait::page_tokens)] == data.k[0](t, h * 5 + d));
        REQUIRE(page[at.value(h, t % plait::page_tokens, d)] == data.v[0](t, h * 5 + d));
      }
}

TEST_CASE(
    "paged_attention: query head j reads key-value head j / (heads / kv_heads); one key alone "
    "gives "
    "its value") {
  attention_shape const shape{6, 2, 3};
  test::random random(22);
  auto const data = inputs(random, {{1}}, shape);
  auto cpu = test::cpu_with(1);
  attend_run<test::cpu> const run(cpu, shape, {{1}}, data, false);
  for (std::int64_t j = 0; j < 6; ++j)
    for (std::int64_t d = 0; d < 3; ++d)
      CHECK(run.y[0](0, j * 3 + d) == data.v[0](0, j / 3 * 3 + d));
}

TEST_CASE("paged_attention: scores of +-1e4 choose one key without overflow") {
  attention_shape const shape{2, 1, 4};
  std::int64_t const n = 150;
  attend_data data;
  data.q.emplace_back(n, 8);
  data.k.emplace_back(n, 4);
  data.v.emplace_back(n, 4);
  test::random random(23);
  for (std::int64_t t = 0; t < n; ++t) {
    data.q[0](t, 0) = 2e4f;
    data.q[0](t, 4) = -2e4f;  // heads with scores 1e4 * k and -1e4 * k
    // Keys in steps of 1 / 75: scores 133 apart.
    data.k[0](t, 0) = static_cast<float>((t * 37) % n) / static_cast<float>(n) * 2 - 1;
    for (std::int64_t d = 0; d < 4; ++d) data.v[0](t, d) = random.uniform();
  }
  auto cpu = test::cpu_with(1);
  auto oracle = test::oracle();
  attend_run<test::cpu> const run(cpu, shape, {{n}}, data, false);
  attend_run<test::reference> const reference(oracle, shape, {{n}}, data, false);
  for (std::int64_t t = 0; t < n; ++t) {
    std::int64_t max = 0, min = 0;
    for (std::int64_t i = 0; i <= t; ++i) {
      if (data.k[0](i, 0) > data.k[0](max, 0)) max = i;
      if (data.k[0](i, 0) < data.k[0](min, 0)) min = i;
    }
    for (std::int64_t d = 0; d < 4; ++d) {
      REQUIRE(run.y[0](t, d) == doctest::Approx(data.v[0](max, d)).epsilon(1e-6));
      REQUIRE(run.y[0](t, 4 + d) == doctest::Approx(data.v[0](min, d)).epsilon(1e-6));
      REQUIRE(reference.y[0](t, d) == doctest::Approx(data.v[0](max, d)).epsilon(1e-6));
      REQUIRE(reference.y[0](t, 4 + d) == doctest::Approx(data.v[0](min, d)).epsilon(1e-6));
    }
  }
}

TEST_CASE("paged_attention: a NaN reaches later queries of its sequence and heads alone") {
  attention_shape const shape{4, 2, 5};
  test::lengths_of_calls const lengths = {{90, 70}};
  for (int where : {0, 1, 2}) {
    CAPTURE(where);
    test::random random(24);
    auto data = inputs(random, lengths, shape);
    if (where == 0) data.q[0](40, 5 + 2) = test::nan;  // head 1
    if (where == 1) data.k[0](40, 5 + 2) = test::nan;  // heads 2 and 3
    if (where == 2) data.v[0](40, 5 + 2) = test::nan;  // column 2 of heads 2 and 3
    auto cpu = test::cpu_with(1);
    attend_run<test::cpu> const run(cpu, shape, lengths, data, false);
    for (std::int64_t t = 0; t < 160; ++t)
      for (std::int64_t j = 0; j < 4; ++j)
        for (std::int64_t d = 0; d < 5; ++d) {
          bool const later = t >= 40 && t < 90 && j >= 2;
          REQUIRE(std::isnan(run.y[0](t, j * 5 + d)) == (where == 0   ? t == 40 && j == 1
                                                         : where == 1 ? later
                                                                      : later && d == 2));
        }
  }
}
