// Whole models on a device made of fibers: the kernels, layers and calls that exec::cuda runs, against the double reference.
#include <plait/ops/cuda/add_norm.hpp>
#include <plait/ops/cuda/add_residual.hpp>
#include <plait/ops/cuda/attend.hpp>
#include <plait/ops/cuda/conv_silu.hpp>
#include <plait/ops/cuda/embed.hpp>
#include <plait/ops/cuda/experts.hpp>
#include <plait/ops/cuda/gated_linear.hpp>
#include <plait/ops/cuda/gather_rows.hpp>
#include <plait/ops/cuda/linear.hpp>
#include <plait/ops/cuda/rotate.hpp>
#include <plait/ops/cuda/route.hpp>
#include <plait/ops/cuda/selective_scan.hpp>

#include <support/device_data.hpp>
#include <support/models.hpp>

#include <doctest/doctest.h>

#include <numeric>

namespace {

template <auto C, plait::precision P>
using on_device = plait::model<C, test::fiber_device<P>>;
template <auto C>
using on_reference = plait::model<C, plait::exec::reference>;

/// One sequence of a model on the device; logits come back to this machine.
template <class Model>
class run {
 public:
  using T = typename Model::value_type;

  explicit run(std::uint64_t seed = 1) {
    exec.runtime.seed = seed;
    net().reserve(exec, 128, 4);
    test::poison(exec);
  }
  /// Random weights, moved to the device once.
  static Model const& net() { return test::model_with_weights<Model>(); }

  plait::cache<Model> make() { return pool.make({.keep_snapshots = 2}); }

  /// The logits of all new tokens of a batch.
  std::vector<float> forward(std::vector<std::pair<plait::cache<Model>*, std::vector<std::int32_t>>> const& entries) {
    plait::batch<Model> batch;
    for (auto const& [cache, ids] : entries) {
      cache->reserve(std::int64_t(ids.size()));
      batch.add(*cache, ids, plait::rows::all);
    }
    std::int64_t const n = batch.rows_wanted() * Model::vocab_size;
    if (out.size() < n) out = test::fiber_memory::buffer<float>(n);
    net().forward(exec, batch, {out.data(), batch.rows_wanted(), Model::vocab_size});
    std::vector<float> logits(static_cast<std::size_t>(n));
    test::fiber_memory::copy_out(std::as_const(out).data(), n, logits.data());
    return logits;
  }
  std::vector<float> forward(plait::cache<Model>& cache, std::vector<std::int32_t> const& ids) { return forward({{&cache, ids}}); }

  typename Model::exec_type exec;
  plait::cache_pool<Model> pool;
  test::fiber_memory::buffer<float> out{64 * Model::vocab_size};
};

/// Of the weights that the device keeps, in double.
template <class Model, class Reference>
Reference const& same_weights() {
  static Reference const m = [] {
    Reference fresh;
    std::vector<std::vector<float>> rows;
    test::model_with_weights<Model>().for_each_tensor([&](int, auto const&, plait::tensor const& t, auto const& data) {
      for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
        rows.emplace_back(static_cast<std::size_t>(t.cols));
        data.get_row(i / t.rows, i % t.rows, rows.back().data());
      }
    });
    auto row = rows.begin();
    fresh.for_each_tensor([&](int, auto const&, plait::tensor const& t, auto& data) {
      for (std::int64_t i = 0; i < t.copies * t.rows; ++i) data.set_row(i / t.rows, i % t.rows, (row++)->data());
    });
    return fresh;
  }();
  return m;
}

template <auto C, plait::precision P>
std::vector<double> expected(std::vector<std::int32_t> const& ids) {
  using reference = on_reference<C>;
  auto const& net = same_weights<on_device<C, P>, reference>();
  plait::exec::reference exec;
  net.reserve(exec, std::int64_t(ids.size()));
  plait::cache_pool<reference> pool;
  auto cache = pool.make();
  cache.reserve(std::int64_t(ids.size()));
  plait::batch<reference> batch;
  batch.add(cache, ids, plait::rows::all);
  std::vector<double> logits(ids.size() * std::size_t(reference::vocab_size));
  net.forward(exec, batch, {logits.data(), std::int64_t(ids.size()), reference::vocab_size});
  return logits;
}

/// ||a - b|| / ||b||
double norm_difference(std::vector<float> const& a, std::vector<double> const& b) {
  REQUIRE(a.size() == b.size());
  double d = 0, n = 0;
  for (std::size_t i = 0; i < a.size(); ++i) d += (a[i] - b[i]) * (a[i] - b[i]), n += b[i] * b[i];
  return d == d ? std::sqrt(d / n) : INFINITY;
}

std::vector<std::int32_t> slice(std::vector<std::int32_t> const& ids, std::size_t first, std::size_t n) {
  return {ids.begin() + std::ptrdiff_t(first), ids.begin() + std::ptrdiff_t(first + n)};
}
void append(std::vector<float>& to, std::vector<float> const& more) { to.insert(to.end(), more.begin(), more.end()); }

/// Prefill, a chunk on top, decode steps that are kept and replayed.
template <auto C, plait::precision P>
void check(double tolerance, std::uint64_t seed) {
  using model = on_device<C, P>;
  test::random random(seed);
  auto const ids = test::random_ids(random, 86, model::vocab_size);
  auto const want = expected<C, P>(ids);
  run<model> r(seed);
  auto cache = r.make();
  std::vector<float> got = r.forward(cache, slice(ids, 0, 70));
  append(got, r.forward(cache, slice(ids, 70, 9)));
  for (std::size_t i = 79; i < ids.size(); ++i) append(got, r.forward(cache, slice(ids, i, 1)));
  double const d = norm_difference(got, want);
  MESSAGE("relative error " << d);
  CHECK(d < tolerance);
}

}  // namespace

// f32 sums in other orders, through a handful of layers.
TEST_CASE("device: f32 against the double reference") {
  check<test::everything, plait::f32>(2e-5, 1);
  check<test::mamba_only, plait::f32>(2e-5, 2);
  check<test::rotary, plait::f32>(2e-5, 3);
  check<test::sparse_mixers, plait::f32>(2e-5, 4);
  check<test::one_expert, plait::f32>(2e-5, 5);
}
