// The composition of affine maps: associative where arithmetic is exact, and the same scan by a
// loop, by a block and by Thrust.
#include <plait/ops/selective_scan/gpu/affine.hpp>

#include <support/data.hpp>
#include <support/device_data.hpp>

#include <doctest/doctest.h>

#if defined(PLAIT_TEST_THRUST)
#include <thrust/scan.h>
#include <thrust/system/cpp/execution_policy.h>
#endif

using plait::kernels::affine;
using plait::kernels::affine_row;
using plait::kernels::compose;

namespace {

constexpr bool associative(affine<float> p, affine<float> q, affine<float> r) {
  return compose{}(compose{}(p, q), r) == compose{}(p, compose{}(q, r));
}
static_assert(associative({2, 3}, {5, 7}, {11, 13}) && associative({0, 1}, {-2, 4}, {0.5f, 0}) &&
              associative({1, 0}, {0, 0}, {3, 1}));
// Not commutative: first 2 S + 3, then 5 S + 7.
static_assert(compose{}(affine<float>{2, 3}, affine<float>{5, 7}) == affine<float>{10, 22});
static_assert(compose{}(affine<float>{5, 7}, affine<float>{2, 3}) == affine<float>{10, 17});
static_assert(compose{}(affine<double>::identity(), affine<double>{5, 7}) == affine<double>{5, 7});
static_assert(compose{}(affine<double>{5, 7}, affine<double>::identity()) == affine<double>{5, 7});

template <class T>
std::vector<affine<T>> steps(test::random& random, std::int64_t n, bool exact) {
  std::vector<affine<T>> v;
  for (std::int64_t i = 0; i < n; ++i)
    // -1, 0 or 1, and small whole numbers: sums stay whole numbers below 2^24
    v.push_back(exact ? affine<T>{T(random.below(3) - 1), T(random.below(9) - 4)}
                      : affine<T>{T(random.uniform(0.5f, 1)), T(random.uniform())});
  return v;
}
template <class T>
std::vector<T> states(T S, std::vector<affine<T>> const& v) {
  std::vector<T> all;
  for (affine<T> const& step : v) all.push_back(S = compose{}(affine<T>{0, S}, step).b);
  return all;
}

/// A block scans tiles of `Threads * items` maps from a state on; a second column holds {0, t}.
template <int Threads>
struct scan_kernel {
  static constexpr int threads = Threads, items = 3;
  struct args {
    affine<float>* maps;
    std::int64_t n;
    float* state;
  };
  template <class Block>
  struct shared {
    typename Block::template scan_space<affine_row<2>> space;
  };
  template <class Block>
  PLAIT_HD static void run(Block const& b, shared<Block>& s, args const& a) {
    affine_row<2> carry{{{0, *a.state}, {0, *a.state}}};
    b.sync();
    for (std::int64_t begin = 0; begin < a.n; begin += threads * items) {
      affine_row<2> maps[items];
      for (int i = 0; i < items; ++i) {
        std::int64_t const t = begin + b.thread() * items + i;
        maps[i].of[0] = t < a.n ? a.maps[t] : affine<float>::identity();
        maps[i].of[1] = {0, float(t)};
      }
      b.scan(s.space, maps, compose{}, carry);
      for (int i = 0; i < items; ++i) {
        std::int64_t const t = begin + b.thread() * items + i;
        if (t < a.n) a.maps[t] = {maps[i].of[1].b, maps[i].of[0].b};
      }
      b.sync();
    }
    if (b.thread() == 0) *a.state = carry.of[0].b;
  }
};

}  // namespace

TEST_CASE("affine: composition is associative where arithmetic is exact") {
  test::random random(1);
  for (int i = 0; i < 2000; ++i) {
    auto const v = steps<float>(random, 3, true);
    REQUIRE(associative(v[0], v[1], v[2]));
    auto const w = steps<double>(random, 3, true);
    REQUIRE(compose{}(compose{}(w[0], w[1]), w[2]) == compose{}(w[0], compose{}(w[1], w[2])));
  }
}

TEST_CASE("affine: a block's scan over partial tiles, with a carry, equals the loop") {
  test::random random(2);
  for (std::int64_t n : {1, 2, 95, 96, 97, 500})
    for (std::uint64_t seed : {1u, 7u}) {
      CAPTURE(n);
      auto const maps = steps<float>(random, n, true);
      auto const expected = states(5.0f, maps);
      auto exec = test::device_with<plait::f32>(seed);
      test::device_memory::buffer<affine<float>> device_maps(n);
      test::device_memory::buffer<float> state(1);
      float const start = 5;
      test::device_memory::copy_in(maps.data(), n, device_maps.data());
      test::device_memory::copy_in(&start, 1, state.data());
      exec.launch<scan_kernel<32>>({}, {device_maps.data(), n, state.data()});
      std::vector<affine<float>> got(std::size_t(n), affine<float>{});
      float end = 0;
      test::device_memory::copy_out(device_maps.data(), n, got.data());
      test::device_memory::copy_out(state.data(), 1, &end);
      for (std::int64_t t = 0; t < n; ++t) {
        REQUIRE(got[std::size_t(t)].b == expected[std::size_t(t)]);
        REQUIRE(got[std::size_t(t)].a == float(t));  // of the map {0, t}, beside it
      }
      CHECK(end == expected.back());
    }
}

#if defined(PLAIT_TEST_THRUST)
TEST_CASE(
    "affine: thrust::inclusive_scan with this composition equals the loop, bit for bit where "
    "arithmetic is exact") {
  test::random random(3);
  for (std::int64_t n : {1, 2, 1000, 4097}) {
    auto maps = steps<float>(random, n, true);
    auto const expected = states(-3.0f, maps);
    maps[0] = compose{}(affine<float>{0, -3}, maps[0]);
    thrust::inclusive_scan(thrust::cpp::par, maps.begin(), maps.end(), maps.begin(), compose{});
    for (std::int64_t t = 0; t < n; ++t)
      REQUIRE(maps[std::size_t(t)].b == expected[std::size_t(t)]);
  }
  // Thrust's order differs. Factors are below 1: each rounding of 6e-8 decays within some steps.
  auto maps = steps<float>(random, 3000, false);
  std::vector<affine<double>> exact;
  for (auto const& m : maps) exact.push_back({m.a, m.b});
  auto const expected = states(1.0, exact);
  maps[0] = compose{}(affine<float>{0, 1}, maps[0]);
  thrust::inclusive_scan(thrust::cpp::par, maps.begin(), maps.end(), maps.begin(), compose{});
  for (std::size_t t = 0; t < maps.size(); ++t)
    REQUIRE(std::fabs(double(maps[t].b) - expected[t]) < 2e-6);
}
#endif
