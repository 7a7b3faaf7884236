#include <support/models.hpp>

#include <doctest/doctest.h>

namespace {

template <plait::precision P>
using model = plait::model<test::everything, plait::exec::cpu<P>>;

template <class Model>
std::vector<float> logits(Model const& m, std::vector<std::int32_t> const& ids) {
  typename Model::exec_type exec(2);
  std::int64_t const n = static_cast<std::int64_t>(ids.size());
  m.reserve(exec, n);
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  sequence.reserve(n);
  plait::batch<Model> batch;
  batch.add(sequence, ids, plait::rows::all);
  std::vector<float> out(static_cast<std::size_t>(n * Model::vocab_size));
  m.forward(exec, batch, {out.data(), n, Model::vocab_size});
  return out;
}

template <class Model>
int first_twin(Model const&, int of) {
  auto const& places = plait::plan<Model::config>::places;
  for (int i = of + 1; i < plait::plan<Model::config>::layers; ++i)
    if (places[std::size_t(i)].kind == places[std::size_t(of)].kind) return i;
  return -1;
}

template <plait::precision P>
void check() {
  using Model = model<P>;
  Model shared, copied;
  plait::initialize(shared, 3, 0.25);
  plait::initialize(copied, 3, 0.25);
  int const from = 3, to = first_twin(shared, 3);  // Mamba with experts
  REQUIRE(to > from);
  auto const ids = [] {
    test::random random(80);
    return test::random_ids(random, 20, Model::vocab_size);
  }();
  auto const before = logits(shared, ids);
  plait::share_layer(shared, from, to);
  // The same by hand: every row of one layer copied to the other.
  std::vector<std::vector<float>> rows;
  copied.for_each_tensor([&](int layer, std::string_view, plait::tensor const& t, auto& data) {
    for (std::int64_t i = 0; layer == from && i < t.copies * t.rows; ++i)
      data.get_row(i / t.rows, i % t.rows,
                   rows.emplace_back(static_cast<std::size_t>(t.cols)).data());
  });
  std::size_t next = 0;
  copied.for_each_tensor([&](int layer, std::string_view, plait::tensor const& t, auto& data) {
    for (std::int64_t i = 0; layer == to && i < t.copies * t.rows; ++i)
      data.set_row(i / t.rows, i % t.rows, rows[next++].data());
  });
  REQUIRE(next == rows.size());
  auto const after = logits(shared, ids);
  CHECK(test::same_bits(after, logits(copied, ids)));
  CHECK(!test::same_bits(after, before));
  CHECK(test::message_of([&] {
          shared.for_each_tensor(
              [&](int layer, std::string_view, plait::tensor const& t, auto& data) {
                std::vector<float> const row(static_cast<std::size_t>(t.cols));
                if (layer == to && t.role == plait::role::matrix) data.set_row(0, 0, row.data());
              });
        }).find("borrowed") != std::string::npos);
}

}  // namespace

TEST_CASE("share_layer: a layer borrows the weights of another, in every storage") {
  check<plait::f32>();
  check<plait::experts_int8>();
}

TEST_CASE("share_layer: layers that do not exist or differ in kind are refused") {
  model<plait::f32> m;
  CHECK(test::message_of([&] { plait::share_layer(m, 0, 6); }) ==
        "share_layer: layers 0 and 6; expected two different ones of 6");
  CHECK(test::message_of([&] { plait::share_layer(m, 2, 2); }) ==
        "share_layer: layers 2 and 2; expected two different ones of 6");
  CHECK(test::message_of([&] { plait::share_layer(m, -1, 2); }) ==
        "share_layer: layers -1 and 2; expected two different ones of 6");
  CHECK(test::message_of([&] { plait::share_layer(m, 0, 1); }) ==
        "share_layer: layers 0 and 1 are of different kinds, so that their weights have different "
        "shapes");
}
