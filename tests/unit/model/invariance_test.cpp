// Invariance: a sequence's logits are the same to the last bit for any split of its tokens into
// calls, any batch around it and any number of threads.
#include <support/models.hpp>

#include <doctest/doctest.h>

namespace {

template <auto C, plait::precision P = plait::f32>
using model_of = plait::model<C, plait::exec::cpu<P>>;
using logits = std::vector<float>;

template <class Model>
logits in_chunks(typename Model::exec_type& exec, std::span<std::int32_t const> ids,
                 std::vector<std::int64_t> const& chunks) {
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  logits all;
  std::size_t at = 0;
  for (std::int64_t n : chunks) {
    logits const part =
        test::forward<Model>(exec, sequence, ids.subspan(at, static_cast<std::size_t>(n)));
    all.insert(all.end(), part.begin(), part.end());
    at += static_cast<std::size_t>(n);
  }
  REQUIRE(at == ids.size());
  return all;
}

template <class Model>
void check_chunks(test::random& random) {
  std::int64_t const n = 140;
  auto const ids = test::random_ids(random, n, Model::vocab_size);
  typename Model::exec_type exec(1);
  test::executor<Model>(exec);
  logits const whole = test::forward_alone<Model>(exec, ids);
  for (float x : whole) REQUIRE(std::isfinite(x));

  CHECK(test::same_bits(
      in_chunks<Model>(exec, ids, std::vector<std::int64_t>(static_cast<std::size_t>(n), 1)),
      whole));
  for (std::int64_t first : {63, 64, 65, 127, 128, 129})
    CHECK(test::same_bits(in_chunks<Model>(exec, ids, {first, n - first}), whole));
  for (std::int64_t middle : {1, 2, 12, 13})
    CHECK(test::same_bits(in_chunks<Model>(exec, ids, {63, middle, n - 63 - middle}), whole));
  for (int round = 0; round < 6; ++round) {
    std::vector<std::int64_t> chunks;
    for (std::int64_t left = n; left > 0; left -= chunks.back())
      chunks.push_back(1 + random.below(std::min<std::int64_t>(left, 40)));
    CHECK(test::same_bits(in_chunks<Model>(exec, ids, chunks), whole));
  }
}

template <class Model>
void check_batches(test::random& random) {
  constexpr std::size_t V = static_cast<std::size_t>(Model::vocab_size);
  std::vector<std::int64_t> const lengths = {1, 70, 13, 66, 5};
  std::vector<std::vector<std::int32_t>> ids;
  std::vector<logits> alone;
  typename Model::exec_type one(1);
  test::executor<Model>(one);
  for (std::int64_t n : lengths) {
    ids.push_back(test::random_ids(random, n, Model::vocab_size));
    alone.push_back(test::forward_alone<Model>(one, ids.back()));
  }
  for (int threads : {1, 2, 3, 5}) {
    CAPTURE(threads);
    typename Model::exec_type exec(threads);
    test::executor<Model>(exec);
    CHECK(test::same_bits(test::forward_alone<Model>(exec, ids[1]), alone[1]));
    std::vector<std::size_t> order(lengths.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    for (int round = 0; round < 4; ++round) {
      for (std::size_t i = order.size(); i > 1; --i)
        std::swap(order[i - 1],
                  order[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
      plait::cache_pool<Model> pool;
      std::vector<plait::cache<Model>> caches;
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        caches.push_back(pool.make());
        caches[s].reserve(lengths[s]);
      }
      std::vector<std::size_t> done(lengths.size(), 0);
      plait::batch<Model> batch;
      while (true) {  // every call takes a random number of tokens of each sequence, 0 too
        batch.clear();
        std::vector<std::int64_t> row(lengths.size(), 0), piece(lengths.size(), 0);
        for (std::size_t s : order) {
          std::int64_t const left = lengths[s] - static_cast<std::int64_t>(done[s]);
          piece[s] = round == 0 ? left : std::min(left, random.below(40));
          row[s] = batch.add(caches[s],
                             std::span<std::int32_t const>(ids[s]).subspan(
                                 done[s], static_cast<std::size_t>(piece[s])),
                             plait::rows::all);
        }
        logits out(static_cast<std::size_t>(batch.rows_wanted()) * V);
        test::model_with_weights<Model>().forward(
            exec, batch, {out.data(), batch.rows_wanted(), Model::vocab_size});
        bool finished = true;
        for (std::size_t s : order) {
          REQUIRE(test::same_bits(out.data() + static_cast<std::size_t>(row[s]) * V,
                                  alone[s].data() + done[s] * V, piece[s] * Model::vocab_size));
          done[s] += static_cast<std::size_t>(piece[s]);
          finished = finished && static_cast<std::int64_t>(done[s]) == lengths[s];
        }
        if (finished) break;
      }
    }
  }
}

template <class Model>
void check_rows_and_embeddings(test::random& random) {
  constexpr std::size_t V = static_cast<std::size_t>(Model::vocab_size);
  std::int64_t const n = 70, d = Model::d_model;
  auto const ids = test::random_ids(random, n, Model::vocab_size);
  auto const& model = test::model_with_weights<Model>();
  typename Model::exec_type exec(2);
  test::executor<Model>(exec);
  logits const whole = test::forward_alone<Model>(exec, ids);

  std::vector<float> rows_of_table(static_cast<std::size_t>(n * d));
  auto& changeable = const_cast<Model&>(model);  // to read: for_each_tensor visits for writing
  changeable.for_each_tensor(
      [&](int layer, std::string_view part, plait::tensor const&, auto& data) {
        if (layer == -1 && part == (Model::tied ? "head" : "embedding"))
          for (std::int64_t t = 0; t < n; ++t)
            data.get_row(0, ids[static_cast<std::size_t>(t)], rows_of_table.data() + t * d);
      });
  plait::matrix_view<float const> const embeddings(rows_of_table.data(), n, d);

  plait::cache_pool<Model> pool;
  auto const fresh = [&] {
    auto sequence = pool.make();
    sequence.reserve(n);
    return sequence;
  };
  auto const run = [&](plait::batch<Model>& batch) {
    logits out(static_cast<std::size_t>(batch.rows_wanted()) * V);
    model.forward(exec, batch, {out.data(), batch.rows_wanted(), Model::vocab_size});
    return out;
  };
  {
    plait::batch<Model> batch;
    auto sequence = fresh();
    CHECK(batch.add(sequence, embeddings, plait::rows::all) == 0);
    CHECK(test::same_bits(run(batch), whole));
  }
  {  // ids before and after embeddings in one batch
    plait::batch<Model> batch;
    auto a = fresh(), b = fresh(), c = fresh();
    batch.add(a, ids, plait::rows::last);
    batch.add(b, embeddings, plait::rows::last);
    batch.add(c, ids, plait::rows::last);
    logits const out = run(batch);
    for (std::size_t s = 0; s < 3; ++s)
      CHECK(test::same_bits(out.data() + s * V, whole.data() + static_cast<std::size_t>(n - 1) * V,
                            Model::vocab_size));
  }
  {
    plait::batch<Model> batch;
    auto a = fresh(), b = fresh(), c = fresh();
    // First in the batch, so that its rows differ from those of `a`.
    auto const other = test::random_ids(random, n, Model::vocab_size);
    std::vector<std::int64_t> const chosen = {69, 0, 64, 64};
    CHECK(batch.add(b, other, plait::rows::none) == 0);
    CHECK(batch.add(a, std::span<std::int32_t const>(ids), chosen) == 0);
    CHECK(batch.add(c, embeddings, chosen) == 4);
    CHECK(batch.rows_wanted() == 8);
    logits const out = run(batch);
    for (std::size_t i = 0; i < 8; ++i)
      CHECK(test::same_bits(out.data() + i * V,
                            whole.data() + static_cast<std::size_t>(chosen[i % 4]) * V,
                            Model::vocab_size));
    CHECK(b.length() == n);  // without output rows, too
  }
}

template <class Model>
void check_all(std::uint64_t seed) {
  test::random random(seed);
  check_chunks<Model>(random);
  check_batches<Model>(random);
  check_rows_and_embeddings<Model>(random);
}

}  // namespace

TEST_CASE("invariance: attention, Mamba, dense and three experts per token, odd widths") {
  check_all<model_of<test::everything>>(41);
}
TEST_CASE("invariance: attention only") { check_all<model_of<test::attention_only>>(42); }
TEST_CASE("invariance: Mamba only, tied, with biases, without a window") {
  check_all<model_of<test::mamba_only>>(43);
}
TEST_CASE("invariance: mixers only") { check_all<model_of<test::mixers_only>>(44); }
TEST_CASE("invariance: one expert per token, tied, a long window") {
  check_all<model_of<test::one_expert>>(45);
}
TEST_CASE("invariance: rotary positions, renormalised experts") {
  check_all<model_of<test::rotary>>(46);
}
TEST_CASE("invariance: layers without a mixer") { check_all<model_of<test::sparse_mixers>>(46); }

// Every precision, and low-precision arithmetic, which rounds activations row by row.
TEST_CASE("invariance: bf16") { check_all<model_of<test::everything, plait::bf16>>(47); }
TEST_CASE("invariance: bf16 arithmetic") {
  check_all<model_of<test::everything, plait::with_compute(plait::bf16, plait::dtype::bf16)>>(48);
}
TEST_CASE("invariance: int8, tied") { check_all<model_of<test::one_expert, plait::int8>>(49); }
TEST_CASE("invariance: int8 arithmetic") {
  check_all<model_of<test::everything, plait::with_compute(plait::int8, plait::dtype::int8)>>(50);
}
TEST_CASE("invariance: experts in int8 arithmetic, the rest in bf16 arithmetic") {
  check_all<model_of<test::rotary, plait::with_compute(plait::experts_int8, plait::dtype::int8)>>(
      51);
}
