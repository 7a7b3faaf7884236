#include <support/models.hpp>

#include <doctest/doctest.h>

#include <map>
#include <string>

namespace {

using test::message_of;

using plait::exec::reference;
template <auto C>
using on_cpu = plait::model<C, plait::exec::cpu<>>;
template <auto C>
using on_reference = plait::model<C, reference>;
using full = on_cpu<test::everything>;

template <class Model>
typename Model::exec_type& executor() {
  static typename Model::exec_type exec;
  return test::executor<Model>(exec);
}

}  // namespace

// f32 against f64. The error of a sublayer is about 1e-6 of its output, and residuals carry it on:
// for a few layers below 2e-5 of the largest logit, the limit for f32 implementations of the
// published checkpoints. Expert choices agree where no two router logits are closer: so with this
// seed.
TEST_CASE("model: exec::cpu against exec::reference") {
  auto const check = []<class Cpu, class Reference>(Cpu const*, Reference const*) {
    test::random random(60);
    auto const ids = test::random_ids(random, 100, Cpu::vocab_size);
    auto const got = test::forward_alone<Cpu>(executor<Cpu>(), ids);
    auto const expected = test::forward_alone<Reference>(executor<Reference>(), ids);
    REQUIRE(got.size() == expected.size());
    CHECK(test::difference(got.data(), expected.data(), static_cast<std::int64_t>(got.size())) <
          2e-5);
  };
  check(static_cast<on_cpu<test::everything> const*>(nullptr),
        static_cast<on_reference<test::everything> const*>(nullptr));
  check(static_cast<on_cpu<test::mamba_only> const*>(nullptr),
        static_cast<on_reference<test::mamba_only> const*>(nullptr));
  check(static_cast<on_cpu<test::sparse_mixers> const*>(nullptr),
        static_cast<on_reference<test::sparse_mixers> const*>(nullptr));
  check(static_cast<on_cpu<test::rotary> const*>(nullptr),
        static_cast<on_reference<test::rotary> const*>(nullptr));
}

TEST_CASE("model: the reference gives the same in one call and in two, to rounding") {
  test::random random(61);
  auto const ids = test::random_ids(random, 80, test::everything.vocab_size);
  using model = on_reference<test::everything>;
  auto const whole = test::forward_alone<model>(executor<model>(), ids);
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  auto parts = test::forward<model>(executor<model>(), sequence, std::span(ids).first(33));
  auto const rest = test::forward<model>(executor<model>(), sequence, std::span(ids).subspan(33));
  parts.insert(parts.end(), rest.begin(), rest.end());
  CHECK(test::difference(parts.data(), whole.data(), static_cast<std::int64_t>(whole.size())) <
        1e-12);
}

TEST_CASE("model: an observer sees every point once, in order, with its shape") {
  struct sighting {
    int layer;
    std::string name;
    std::int64_t rows, cols;
    bool operator==(sighting const&) const = default;
  };
  auto const observe = []<class Model>(Model const*) {
    std::vector<sighting> seen;
    plait::cache_pool<Model> pool;
    auto a = pool.make(), b = pool.make();
    a.reserve(5);
    b.reserve(2);
    plait::batch<Model> batch;
    batch.add(a, std::vector<std::int32_t>{1, 2, 3, 4, 5}, plait::rows::last);
    batch.add(b, std::vector<std::int32_t>{6, 7}, plait::rows::all);
    std::vector<float> logits(static_cast<std::size_t>(3 * Model::vocab_size));
    test::model_with_weights<Model>().forward(
        executor<Model>(), batch, {logits.data(), 3, Model::vocab_size},
        [&](plait::probe at, auto const& m) {
          seen.push_back({at.layer, at.name, m.rows(), m.cols()});
        });
    return seen;
  };
  std::vector<sighting> expected = {{-1, "embed", 7, 35}};
  for (int i = 0; i < 6; ++i) {
    expected.push_back({i, "mixer", 7, 35});
    if (i > 0) expected.insert(expected.end() - 1, {i - 1, "out", 7, 35});
    if (i % 2 == 1) {
      expected.push_back({i, "router_logits", 7, 5});
      expected.push_back({i, "experts", 7, 3});
      expected.push_back({i, "expert_weights", 7, 3});
    }
    expected.push_back({i, "ffn", 7, 35});
  }
  expected.insert(expected.end(),
                  {{5, "out", 7, 35}, {-1, "final_norm", 3, 35}, {-1, "logits", 3, 53}});
  CHECK(observe(static_cast<full const*>(nullptr)) == expected);

  std::vector<sighting> const feed_forward_between = {
      {-1, "embed", 7, 17}, {0, "ffn", 7, 17}, {0, "out", 7, 17}, {1, "mixer", 7, 17},
      {1, "ffn", 7, 17},    {1, "out", 7, 17}, {2, "ffn", 7, 17}, {2, "out", 7, 17},
      {3, "mixer", 7, 17},  {3, "ffn", 7, 17}, {3, "out", 7, 17}, {-1, "final_norm", 3, 17},
      {-1, "logits", 3, 19}};
  CHECK(observe(static_cast<on_cpu<test::sparse_mixers> const*>(nullptr)) == feed_forward_between);
}

TEST_CASE("model: the values that an observer sees add up to the residual stream") {
  test::random random(62);
  auto const ids = test::random_ids(random, 9, full::vocab_size);
  std::map<std::pair<int, std::string>, std::vector<float>> seen;
  plait::cache_pool<full> pool;
  auto sequence = pool.make();
  sequence.reserve(9);
  plait::batch<full> batch;
  batch.add(sequence, ids, plait::rows::all);
  std::vector<float> logits(9 * 53);
  test::model_with_weights<full>().forward(executor<full>(), batch, {logits.data(), 9, 53},
                                           [&](plait::probe at, auto const& m) {
                                             auto& values = seen[{at.layer, at.name}];
                                             for (std::int64_t t = 0; t < m.rows(); ++t)
                                               for (std::int64_t c = 0; c < m.cols(); ++c)
                                                 values.push_back(static_cast<float>(m(t, c)));
                                           });
  std::vector<float> x = seen[{-1, "embed"}];
  for (int i = 0; i < 6; ++i) {
    for (std::size_t j = 0; j < x.size(); ++j) {
      x[j] += seen[{i, "mixer"}][j];
      x[j] += seen[{i, "ffn"}][j];
    }
    CHECK(test::same_bits(x, seen[{i, "out"}]));
  }
  CHECK(test::same_bits(seen[{-1, "logits"}], logits));
}

TEST_CASE("model: forward_hidden gives the output of the final norm") {
  test::random random(63);
  auto const ids = test::random_ids(random, 70, full::vocab_size);
  auto const& model = test::model_with_weights<full>();
  plait::cache_pool<full> pool;
  auto a = pool.make(), b = pool.make();
  a.reserve(70);
  b.reserve(70);
  plait::batch<full> with_head, without;
  with_head.add(a, ids, plait::rows::all);
  without.add(b, ids, plait::rows::all);
  test::matrix<float> logits(70, 53), hidden(70, 35);
  std::vector<float> final_norm;
  model.forward(executor<full>(), with_head, logits.view(), [&](plait::probe at, auto const& m) {
    if (std::string_view(at.name) == "final_norm")
      for (std::int64_t t = 0; t < m.rows(); ++t)
        for (std::int64_t c = 0; c < m.cols(); ++c)
          final_norm.push_back(static_cast<float>(m(t, c)));
  });
  bool saw_logits = false;
  model.forward_hidden(executor<full>(), without, hidden.view(), [&](plait::probe at, auto const&) {
    saw_logits = saw_logits || std::string_view(at.name) == "logits";
  });
  CHECK(!saw_logits);
  CHECK(hidden.intact());
  CHECK(logits.intact());
  for (std::int64_t t = 0; t < 70; ++t)
    CHECK(test::same_bits(hidden.view().row(t), final_norm.data() + t * 35, 35));
  CHECK(b.length() == 70);
}

TEST_CASE("model: errors of forward change nothing") {
  test::random random(64);
  auto const& model = test::model_with_weights<full>();
  auto& exec = executor<full>();
  plait::cache_pool<full> pool;
  auto a = pool.make(), b = pool.make();
  auto const past = test::random_ids(random, 64, full::vocab_size);
  auto const expected = [&] {
    auto history = past;
    history.push_back(5);
    auto const all = test::forward_alone<full>(exec, history);
    return std::vector<float>(all.end() - 53, all.end());
  }();
  test::forward<full>(exec, a, past);
  b.reserve(10);
  a.reserve(3);
  std::vector<float> out(53 * 8);
  plait::batch<full> batch;
  auto const forward = [&](std::int64_t rows, std::int64_t cols = 53) {
    return message_of([&] { model.forward(exec, batch, {out.data(), rows, cols}); });
  };
  using ids = std::vector<std::int32_t>;

  batch.add(b, ids{1});
  batch.add(a, ids{3, -1, 4});
  CHECK(forward(2) ==
        "forward: sequence 1 of the batch has token id -1 at position 1; the vocabulary has 53");
  batch.clear();
  batch.add(b, ids{1});
  batch.add(a, ids{3, 4, 53});
  CHECK(forward(2) ==
        "forward: sequence 1 of the batch has token id 53 at position 2; the vocabulary has 53");
  batch.clear();
  batch.add(b, ids{1});
  batch.add(a, ids{3, 4, 52}, plait::rows::all);
  CHECK(forward(2) == "forward: the output is 2 x 53, the batch needs 4 x 53");
  CHECK(forward(4, 52) == "forward: the output is 4 x 52, the batch needs 4 x 53");
  CHECK(message_of([&] {
          model.forward_hidden(exec, batch, {out.data(), 4, 53});
        }) == "forward: the output is 4 x 53, the batch needs 4 x 35");
  batch.clear();
  batch.add(a, ids{1});
  batch.add(b, ids{1});
  batch.add(a, ids{2});
  CHECK(forward(3) == "forward: sequence 2 of the batch is in the batch twice");
  {
    plait::cache_pool<on_cpu<test::attention_only>> other;
    auto foreign = other.make();
    foreign.reserve(1);
    batch.clear();
    batch.add(a, ids{1});
    batch.add(foreign, ids{1});
    CHECK(forward(2) ==
          "forward: sequence 1 of the batch belongs to a cache pool of another architecture");
  }
  batch.clear();
  batch.add(b, ids{1});
  batch.add(a, ids(65, 1));
  CHECK(forward(2) ==
        "forward: sequence 1 of the batch has 65 new tokens and room for 64: call reserve on its "
        "cache");
  {
    std::vector<float> wrong(34 * 2);
    batch.clear();
    batch.add(a, plait::matrix_view<float const>(wrong.data(), 2, 34));
    CHECK(forward(1) ==
          "forward: sequence 0 of the batch has embeddings of width 34, the model's is 35");
  }
  {
    plait::exec::cpu<> small(1);
    batch.clear();
    batch.add(a, ids{5});
    CHECK(message_of([&] {
            model.forward(small, batch, {out.data(), 1, 53});
          }).find("forward: 1 tokens need ") == 0);
    model.reserve(small, 4);
    b.reserve(70);
    batch.add(b, ids(70, 2));
    std::string const sentence = message_of([&] {
      model.forward(small, batch, {out.data(), 2, 53});
    });
    CHECK(sentence.find("forward: 71 tokens need ") == 0);
    CHECK(sentence.find(" are reserved: call the model's reserve") != std::string::npos);
    CHECK(message_of([&] { model.reserve(small, 0); }) ==
          "reserve: between 1 and 4194304 tokens and sequences per call, not 0 and 1");
    CHECK(message_of([&] { model.reserve(small, 1, 0); }) ==
          "reserve: between 1 and 4194304 tokens and sequences per call, not 1 and 0");
  }
  CHECK(a.length() == 64);
  CHECK(b.length() == 0);
  batch.clear();
  batch.add(a, ids{5});
  CHECK(forward(1) == "(no error)");
  CHECK(test::same_bits(out.data(), expected.data(), 53));
  CHECK(a.length() == 65);
}

TEST_CASE("model: a batch is refused after its sequences have changed") {
  auto const& model = test::model_with_weights<full>();
  auto& exec = executor<full>();
  test::random random(65);
  plait::cache_pool<full> pool;
  auto a = pool.make();
  test::forward<full>(exec, a, test::random_ids(random, 63, 53));
  a.reserve(100);
  std::vector<float> out(53);
  plait::batch<full> batch;
  batch.add(a, std::vector<std::int32_t>{7});
  model.forward(exec, batch, {out.data(), 1, 53});
  CHECK(a.length() == 64);
  // Its page table is of 64 tokens: a 65th would be written beyond its end.
  CHECK(message_of([&] {
          model.forward(exec, batch, {out.data(), 1, 53});
        }) ==
        "forward: sequence 0 of the batch has moved on since it was added; clear the batch and add "
        "it again");
  CHECK(a.length() == 64);
  batch.clear();
  batch.add(a, std::vector<std::int32_t>{7});
  a.truncate(0);
  CHECK(message_of([&] {
          model.forward(exec, batch, {out.data(), 1, 53});
        }).find("has moved on since it was added") != std::string::npos);
}

TEST_CASE("model: an output row beyond the tokens is refused") {
  plait::cache_pool<full> pool;
  auto a = pool.make();
  plait::batch<full> batch;
  for (std::int64_t bad : {-1, 2})
    CHECK(message_of([&] {
            batch.add(a, std::span<std::int32_t const>(std::array{1, 2}), std::array{bad});
          }) ==
          "output row " + std::to_string(bad) + " was chosen from a sequence with 2 new tokens");
}

TEST_CASE("model: an empty batch") {
  plait::batch<full> batch;
  test::model_with_weights<full>().forward(executor<full>(), batch, {nullptr, 0, 53});
  CHECK(batch.rows_wanted() == 0);
}

TEST_CASE("initialize: the same values in any storage, distributed as published") {
  full packed, again, other;
  on_reference<test::everything> plain;
  plait::initialize(packed, 5);
  plait::initialize(again, 5);
  plait::initialize(other, 6);
  plait::initialize(plain, 5);
  auto const values = [](auto& model) {
    std::map<std::string, std::pair<plait::tensor, std::vector<float>>> all;
    model.for_each_tensor(
        [&](int layer, std::string_view part, plait::tensor const& t, auto& data) {
          std::vector<float> v(static_cast<std::size_t>(t.size()));
          for (std::int64_t i = 0; i < t.copies * t.rows; ++i)
            data.get_row(i / t.rows, i % t.rows, v.data() + i * t.cols);
          CHECK(all.emplace(std::to_string(layer) + "." + std::string(part) + "." + t.name,
                            std::pair{t, v})
                    .second);
        });
    return all;
  };
  auto const a = values(packed), b = values(again), c = values(other), d = values(plain);
  std::int64_t size = 0;
  double count = 0, sum = 0, squares = 0, fourth = 0;
  for (auto const& [name, entry] : a) {
    plait::tensor const& t = entry.first;
    std::vector<float> const& v = entry.second;
    std::string const& which = name;
    CAPTURE(which);
    size += t.size();
    CHECK(test::same_bits(v, b.at(name).second));
    CHECK(test::same_bits(v, d.at(name).second));
    if (t.start == plait::initial::normal) {
      CHECK(!test::same_bits(v, c.at(name).second));
      for (double x : v) {
        count += 1;
        sum += x / 0.02;
        squares += std::pow(x / 0.02, 2);
        fourth += std::pow(x / 0.02, 4);
      }
      for (auto const& [other_name, other_entry] : a)
        if (other_name != name && other_entry.second.size() == v.size())
          CHECK(!test::same_bits(v, other_entry.second));
    }
    for (std::size_t i = 0; i < v.size(); ++i) {
      if (t.start == plait::initial::zero) REQUIRE(v[i] == 0);
      if (t.start == plait::initial::one) REQUIRE(v[i] == 1);
      if (t.start == plait::initial::log_index)
        REQUIRE(v[i] == std::log(static_cast<float>(i % static_cast<std::size_t>(t.cols) + 1)));
    }
  }
  CHECK(size == plait::count(test::everything).total_parameters);
  CHECK(a.at("0.mixer.dt_proj.bias").first.start == plait::initial::zero);
  CHECK(a.at("0.mixer.conv1d.bias").first.start == plait::initial::zero);
  CHECK(a.at("0.mixer.D").first.start == plait::initial::one);
  CHECK(a.at("0.mixer_norm.weight").first.start == plait::initial::one);
  CHECK(a.at("0.mixer.A_log").first.start == plait::initial::log_index);
  // Moments of N(0, 1), within five standard errors of their estimates.
  CHECK(std::fabs(sum / count) < 5 / std::sqrt(count));
  CHECK(std::fabs(squares / count - 1) < 5 * std::sqrt(2 / count));
  CHECK(std::fabs(fourth / count - 3) < 5 * std::sqrt(96 / count));
}

// Without positions one attention layer depends on the set of earlier tokens, a Mamba layer on
// their order.
TEST_CASE(
    "model: the order of earlier tokens does not matter to one attention layer, but to a Mamba "
    "layer") {
  static constexpr auto attention_layer = [] {
    auto c = test::attention_only;
    c.layers.layers_per_block = 1;
    return c;
  }();
  static constexpr auto mamba_layer = [] {
    auto c = test::mixers_only;
    c.layers.layers_per_block = 1;
    c.layers.attend = 0;
    return c;
  }();
  auto const change = []<class Model>(Model const*) {
    test::random random(66);
    auto const ids = test::random_ids(random, 100, Model::vocab_size);
    auto permuted = ids;
    std::reverse(permuted.begin(), permuted.end() - 1);
    auto const a = test::forward_alone<Model>(executor<Model>(), ids),
               b = test::forward_alone<Model>(executor<Model>(), permuted);
    return test::difference(a.data() + a.size() - Model::vocab_size,
                            b.data() + b.size() - Model::vocab_size, Model::vocab_size);
  };
  double const of_attention = change(static_cast<on_cpu<attention_layer> const*>(nullptr));
  CHECK(of_attention < 2e-6);  // sums in another order
  CHECK(change(static_cast<on_cpu<mamba_layer> const*>(nullptr)) > 1e-2);
}
