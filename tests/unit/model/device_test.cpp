// Models on a device: the kernels, layers and calls of exec::cuda, against the double reference.

#include <support/device_data.hpp>
#include <support/device_ops.hpp>
#include <support/models.hpp>

#include <doctest/doctest.h>

#include <numeric>

namespace {

template <auto C, plait::precision P>
using on_device = plait::model<C, test::device<P>>;
template <auto C>
using on_reference = plait::model<C, plait::exec::reference>;

/// Calls of a model on the device; logits are copied to the host.
template <class Model>
class run {
 public:
  using T = typename Model::value_type;

  explicit run(std::uint64_t seed = 1) {
    exec.runtime.seed = seed;
    net().reserve(exec, 128, 4);
    test::poison(exec);
  }
  /// Random weights, uploaded once.
  static Model const& net() { return test::model_with_weights<Model>(); }

  plait::cache<Model> make() { return pool.make({.keep_snapshots = 2}); }

  /// The logits of all new tokens of a batch.
  std::vector<float> forward(
      std::vector<std::pair<plait::cache<Model>*, std::vector<std::int32_t>>> const& entries) {
    plait::batch<Model> batch;
    for (auto const& [cache, ids] : entries) {
      cache->reserve(std::int64_t(ids.size()));
      batch.add(*cache, ids, plait::rows::all);
    }
    std::int64_t const n = batch.rows_wanted() * Model::vocab_size;
    if (out.size() < n) out = test::device_memory::buffer<float>(n);
    net().forward(exec, batch, {out.data(), batch.rows_wanted(), Model::vocab_size});
    std::vector<float> logits(static_cast<std::size_t>(n));
    test::device_memory::copy_out(std::as_const(out).data(), n, logits.data());
    return logits;
  }
  std::vector<float> forward(plait::cache<Model>& cache, std::vector<std::int32_t> const& ids) {
    return forward({{&cache, ids}});
  }

  typename Model::exec_type exec;
  plait::cache_pool<Model> pool;
  test::device_memory::buffer<float> out{64 * Model::vocab_size};
};

/// A model of the reference with the values of the device's weights.
template <class Model, class Reference>
Reference const& same_weights() {
  static Reference const m = [] {
    Reference fresh;
    std::vector<std::vector<float>> rows;
    test::model_with_weights<Model>().for_each_tensor(
        [&](int, auto const&, plait::tensor const& t, auto const& data) {
          for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
            rows.emplace_back(static_cast<std::size_t>(t.cols));
            data.get_row(i / t.rows, i % t.rows, rows.back().data());
          }
        });
    auto row = rows.begin();
    fresh.for_each_tensor([&](int, auto const&, plait::tensor const& t, auto& data) {
      for (std::int64_t i = 0; i < t.copies * t.rows; ++i)
        data.set_row(i / t.rows, i % t.rows, (row++)->data());
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

std::vector<std::int32_t> slice(std::vector<std::int32_t> const& ids, std::size_t first,
                                std::size_t n) {
  return {ids.begin() + std::ptrdiff_t(first), ids.begin() + std::ptrdiff_t(first + n)};
}
void append(std::vector<float>& to, std::vector<float> const& more) {
  to.insert(to.end(), more.begin(), more.end());
}

/// A prompt, a further chunk, decode steps that are captured and replayed.
template <auto C, plait::precision P>
void check(double tolerance, std::uint64_t seed) {
  using model = on_device<C, P>;
  test::random random(seed);
  auto const ids = test::random_ids(random, 86, model::vocab_size);
  auto const oracle = expected<C, P>(ids);
  run<model> r(seed);
  auto cache = r.make();
  std::vector<float> got = r.forward(cache, slice(ids, 0, 70));
  append(got, r.forward(cache, slice(ids, 70, 9)));
  for (std::size_t i = 79; i < ids.size(); ++i) append(got, r.forward(cache, slice(ids, i, 1)));
  double const d = test::norm_difference(got, oracle);
  MESSAGE("relative error " << d);
  CHECK(d < tolerance);
}

}  // namespace

// f32 sums in another order, through a few layers.
TEST_CASE("device: f32 against the double reference") {
  check<test::everything, plait::f32>(2e-5, 1);
  check<test::mamba_only, plait::f32>(2e-5, 2);
  check<test::rotary, plait::f32>(2e-5, 3);
  check<test::sparse_mixers, plait::f32>(2e-5, 4);
  check<test::one_expert, plait::f32>(2e-5, 5);
}

// Activations are rounded to bf16 (2^-9) about ten times per layer, large weights carry the errors
// on, and the choice of experts with close logits may change: some percent of the norm (0.01 to
// 0.09), where a wrong kernel is an error of 1. The tests of each kernel
// (tests/unit/ops/*/*_gpu_test.cpp) have the bounds of its own roundings.
TEST_CASE("device: bf16 and int8 against the double reference with the same weights") {
  check<test::mamba_only, plait::bf16>(0.12, 11);
  check<test::sparse_mixers, plait::bf16>(0.12, 12);
  check<test::mixers_only, plait::int8>(0.12, 13);
  check<test::attention_only, plait::int8>(0.12, 14);
  check<test::everything, plait::bf16>(0.12, 15);
  check<test::everything, plait::int8>(0.12, 16);
  check<test::one_expert, plait::experts_int8>(0.12, 17);
  check<test::rotary, plait::int8>(0.12, 18);
}

TEST_CASE("device: a captured decode step holds while caches change places in the batch") {
  using model = plait::model<test::everything, test::device<plait::f32>>;
  test::random random(21);
  auto const a = test::random_ids(random, 40, model::vocab_size),
             b = test::random_ids(random, 40, model::vocab_size);
  auto const want_a = expected<test::everything, plait::f32>(a),
             want_b = expected<test::everything, plait::f32>(b);
  run<model> r(21);
  auto first = r.make(), second = r.make();
  std::vector<float> got_a = r.forward(first, slice(a, 0, 20)),
                     got_b = r.forward(second, slice(b, 0, 33));
  std::size_t launched = 0;
  for (std::size_t i = 0; i < 7; ++i) {  // one step of two sequences, in alternating order
    bool const swapped = i % 2 == 1;
    std::size_t const before = r.exec.runtime.launches.size();
    auto const logits =
        swapped ? r.forward({{&second, slice(b, 33 + i, 1)}, {&first, slice(a, 20 + i, 1)}})
                : r.forward({{&first, slice(a, 20 + i, 1)}, {&second, slice(b, 33 + i, 1)}});
    if (i == 0)
      launched = r.exec.runtime.launches.size() - before;
    else
      CHECK(r.exec.runtime.launches.size() == before);  // a replay launches no kernel by itself
    std::ptrdiff_t const v = model::vocab_size;
    std::vector<float> const front(logits.begin(), logits.begin() + v),
        back(logits.begin() + v, logits.end());
    append(got_a, swapped ? back : front);
    append(got_b, swapped ? front : back);
  }
  CHECK(launched > 0);
  CHECK(r.exec.runtime.copies_to_host == 0);
  got_a.resize(27 * 53);
  got_b.resize(40 * 53);
  CHECK(test::norm_difference(got_a, {want_a.begin(), want_a.begin() + 27 * 53}) < 2e-5);
  CHECK(test::norm_difference(got_b, {want_b.begin(), want_b.begin() + 40 * 53}) < 2e-5);
}

TEST_CASE(
    "device: two tokens of one sequence and none of another do not replay the step of one each") {
  using model = plait::model<test::everything, test::device<plait::f32>>;
  test::random random(24);
  auto const a = test::random_ids(random, 30, model::vocab_size),
             b = test::random_ids(random, 30, model::vocab_size);
  auto const want = expected<test::everything, plait::f32>(a);
  run<model> r(24);
  auto first = r.make(), second = r.make();
  (void)r.forward(first, slice(a, 0, 20));
  (void)r.forward(second, slice(b, 0, 20));
  for (std::size_t i = 20; i < 23; ++i)
    (void)r.forward({{&first, slice(a, i, 1)}, {&second, slice(b, i, 1)}});
  auto const got = r.forward({{&first, slice(a, 23, 2)}, {&second, {}}});
  CHECK(test::norm_difference(got, {want.begin() + 23 * 53, want.begin() + 25 * 53}) < 2e-5);
}

TEST_CASE("device: snapshot, restore, fork and truncate work in the device's memory") {
  using model = plait::model<test::everything, test::device<plait::f32>>;
  test::random random(22);
  auto const ids = test::random_ids(random, 80, model::vocab_size);
  run<model> r(22);
  auto cache = r.make();
  (void)r.forward(cache, slice(ids, 0, 70));
  auto const snapshot = cache.snapshot();
  auto const next = r.forward(cache, slice(ids, 70, 5));
  auto other = cache.fork();
  auto const after = r.forward(cache, slice(ids, 75, 5));
  cache.restore(snapshot);
  CHECK(test::same_bits(r.forward(cache, slice(ids, 70, 5)), next));
  CHECK(test::same_bits(r.forward(other, slice(ids, 75, 5)), after));
  std::int64_t const replay = other.truncate(77);
  CHECK(other.length() == 77 - replay);
  (void)r.forward(other, slice(ids, std::size_t(77 - replay), std::size_t(replay)));
  auto const again = r.forward(other, slice(ids, 77, 3));
  // Replayed in other chunks.
  CHECK(test::norm_difference(again, {after.end() - 3 * 53, after.end()}) < 2e-5);
}

TEST_CASE("device: the order of threads changes no bit" *
          doctest::skip(test::finds_races)) {  // then the order of threads is not varied
  using model = plait::model<test::everything, test::device<plait::int8>>;
  test::random random(23);
  auto const ids = test::random_ids(random, 30, model::vocab_size);
  std::vector<float> first;
  for (std::uint64_t const seed : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{3}}) {
    run<model> r(seed);
    auto cache = r.make();
    auto logits = r.forward(cache, slice(ids, 0, 27));
    for (std::size_t i = 27; i < 30; ++i) append(logits, r.forward(cache, slice(ids, i, 1)));
    if (first.empty()) first = logits;
    CHECK(test::same_bits(first, logits));
  }
}

// Its steps are captured and replayed; its logits are in host memory.
TEST_CASE("device: a session gives the logits of the same calls by hand") {
  using model = plait::model<test::everything, test::device<plait::bf16>>;
  test::random random(40);
  auto const ids = test::random_ids(random, 37, model::vocab_size);
  run<model> r;
  auto cache = r.make();
  auto by_hand = r.forward(cache, slice(ids, 0, 20));
  by_hand = r.forward(cache, slice(ids, 20, 17));
  auto const last = [&] {
    return std::vector<float>(by_hand.end() - model::vocab_size, by_hand.end());
  };

  plait::session<model> chat(run<model>::net(), r.exec, {.chunk = 20});
  chat.feed(ids);
  auto const begin = chat.snapshot();
  for (int i = 0; i < 4; ++i) {
    CAPTURE(i);
    CHECK(std::vector<float>(chat.logits().begin(), chat.logits().end()) == last());
    std::int32_t const id = chat.next();
    CHECK(id == plait::sample_greedy(last()));
    by_hand = r.forward(cache, {id});
  }
  std::vector<std::int32_t> const chosen(chat.tokens().begin() + 37, chat.tokens().end());
  chat.rewind(begin);
  CHECK(chat.generate({}, {.max_tokens = 4}) == chosen);
}
