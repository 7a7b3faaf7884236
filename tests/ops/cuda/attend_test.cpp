// attend on fibers: plain, by tiles, split over long contexts, against the double reference.
#include <plait/ops/cuda/attend.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

namespace {

using plait::ops::attend_shape;
using lengths_of_calls = std::vector<std::vector<std::int64_t>>;

struct attend_data {
  std::vector<test::matrix<float>> q, k, v;  // one a call
};

/// Values that T has.
template <class T>
attend_data inputs(test::random& random, lengths_of_calls const& lengths, attend_shape shape) {
  attend_data data;
  for (auto const& call : lengths) {
    std::int64_t total = 0;
    for (std::int64_t n : call) total += n;
    data.q.push_back(test::rounded<T>(test::random_matrix(random, total, shape.heads * shape.dim, -3, 3)));
    data.k.push_back(test::rounded<T>(test::random_matrix(random, total, shape.kv_heads * shape.dim, -3, 3)));
    data.v.push_back(test::rounded<T>(test::random_matrix(random, total, shape.kv_heads * shape.dim)));
  }
  return data;
}

std::vector<test::matrix<double>> reference(attend_shape shape, lengths_of_calls const& lengths, attend_data const& in) {
  auto oracle = test::oracle();
  test::ragged<double> batch(std::vector<std::int64_t>(lengths[0].size(), 0), 0, 2 * shape.kv_heads * shape.dim * plait::page_tokens);
  std::vector<test::matrix<double>> y;
  for (std::size_t call = 0; call < lengths.size(); ++call) {
    auto const seqs = batch.with(lengths[call]);
    test::matrix<double> const q(in.q[call]), k(in.k[call]), v(in.v[call]);
    test::matrix<double> out(q.rows(), q.cols());
    plait::ops::attend(oracle, seqs, shape, q.view(), k.view(), v.view(), out.view());
    y.push_back(out);
    batch.advance();
  }
  return y;
}

template <class Device>
struct device_run {
  using T = typename Device::value_type;
  std::vector<test::matrix<float>> y;
  test::device_ragged<Device> batch;

  /// `gap` 8: rows stand at multiples of 16 bytes; other ones do not.
  device_run(Device& exec, attend_shape shape, lengths_of_calls const& lengths, attend_data const& in, bool in_place, std::int64_t gap = 8)
      : batch(std::vector<std::int64_t>(lengths[0].size(), 0), 0, 2 * shape.kv_heads * shape.dim * plait::page_tokens) {
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      auto const seqs = batch.with(exec, lengths[call]);
      test::device_matrix_of<T> q(in.q[call], gap), k(in.k[call], gap), v(in.v[call], gap), out(in.q[call].rows(), in.q[call].cols(), gap);
      auto& to = in_place ? q : out;
      // What it takes is measured without a context and without knowing how long the sequences are.
      std::vector<std::int64_t> first{0, in.q[call].rows()}, length{0};
      plait::sequences<T> const unknown{.count = 1, .first_row = first.data(), .length = length.data()};
      exec.workspace.reserve(exec.workspace.measure(
          [&] { plait::ops::attend(exec, unknown, shape, q.const_view(), k.const_view(), v.const_view(), to.view()); }));
      test::poison(exec);
      plait::ops::attend(exec, seqs, shape, q.const_view(), k.const_view(), v.const_view(), to.view());
      CHECK((q.intact() && k.intact() && v.intact() && out.intact() && batch.intact()));
      y.push_back(to.values());
      batch.advance();
    }
  }
};

// f32: a score is a chain of dim roundings, of terms up to 9 / sqrt(dim) here: up to about 100 * 6e-8 relative of a probability, and ex2
// has 2 units. bf16: 2^-9 for the rounding of each weight and of the result, values being at most 1.
template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 1e-5 : 6e-3;

template <plait::precision P>
void check(test::random& random, attend_shape shape, lengths_of_calls const& lengths, std::uint64_t seed = 1) {
  using device = test::fiber_device<P>;
  using T = typename device::value_type;
  CAPTURE(shape.heads);
  CAPTURE(shape.kv_heads);
  CAPTURE(shape.dim);
  auto const data = inputs<T>(random, lengths, shape);
  auto const expected = reference(shape, lengths, data);
  for (bool other : {false, true}) {  // in place, rows unaligned, other threads first
    auto exec = test::device_with<P>(seed + other, 64);
    device_run<device> const got(exec, shape, lengths, data, other, other ? 9 : 8);
    for (std::size_t call = 0; call < lengths.size(); ++call) {
      CAPTURE(call);
      CHECK(test::difference(got.y[call], expected[call], 0.1) < tolerance<T>);
    }
  }
}

constexpr plait::precision bf16_kv_f32{.weights = plait::dtype::bf16, .experts = plait::dtype::bf16, .kv = plait::dtype::f32};

}  // namespace

TEST_CASE("attend on a device: head counts and widths, ragged calls on top of one another") {
  test::random random(19);
  lengths_of_calls const lengths = {{3, 1, 0, 17}, {1, 60, 5, 0}, {1, 1, 1, 1}, {2, 4, 1, 1}, {0, 1, 1, 0}, {0, 20, 1, 70}};
  for (attend_shape shape : {attend_shape{1, 1, 1}, {4, 2, 3}, {20, 1, 9}}) {
    check<plait::f32>(random, shape, lengths);
    check<plait::bf16>(random, shape, lengths);
  }
  check<plait::f32>(random, {3, 3, 24}, lengths);
  check<plait::f32>(random, {2, 1, 300}, {{3}, {1}, {70}});
  check<bf16_kv_f32>(random, {2, 1, 16}, lengths);
  check<plait::bf16>(random, {2, 1, 264}, {{3}, {1}, {70}});
}

TEST_CASE("attend on tensor cores: head counts and widths, ragged calls on top of one another") {
  test::random random(20);
  lengths_of_calls const lengths = {{3, 1, 0, 17}, {1, 60, 5, 0}, {1, 1, 1, 1}, {2, 4, 1, 1}, {0, 1, 1, 0}, {0, 20, 1, 70}};
  for (attend_shape shape : {attend_shape{1, 1, 16}, {4, 2, 40}, {20, 1, 8}, {3, 1, 64}, {4, 1, 128}, {2, 2, 72}})
    check<plait::bf16>(random, shape, lengths, 3);
  check<plait::bf16>(random, {2, 1, 256}, {{3}, {1}, {70}, {1}}, 5);
  check<plait::bf16>(random, {3, 1, 200}, {{40}, {1}, {30}, {1}}, 5);
}

TEST_CASE("attend on a device: both sides of a page's end, as prefill and decode, as chunks") {
  test::random random(21);
  for (std::int64_t n : {63, 64, 65, 127, 128, 129})
    for (std::int64_t m : {1, 2, 63, 64, 65}) {
      CAPTURE(n);
      CAPTURE(m);
      check<plait::bf16>(random, {3, 1, 16}, {{n}, {m}, {1}, {1}}, static_cast<std::uint64_t>(n));
    }
  for (std::int64_t n : {63, 64, 65}) check<plait::f32>(random, {2, 1, 8}, {{n}, {2}, {1}});
}
