// Models without a vocabulary, and mixers that depend on later tokens.
#include <support/models.hpp>

#include <doctest/doctest.h>

#include <map>

namespace stack_test {

using test::message_of;

inline constexpr auto stack = [] {
  auto c = test::everything;
  c.vocab_size = plait::no_vocabulary;
  return c;
}();
using with_head = plait::model<test::everything>;

/// Each token plus the mean of its sequence's tokens: results depend on later tokens.
struct mean {
  friend constexpr bool operator==(mean const&, mean const&) = default;
};
template <class Visit>
constexpr void describe(mean const&, int d_model, Visit&& visit) {
  visit(plait::tensor{
      .name = "scale", .role = plait::role::vector, .rows = d_model, .start = plait::initial::one});
}
template <int D, mean P>
struct mean_layer {
  static constexpr plait::continuation continues = plait::continuation::none;
  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::sequences<T> const& seqs,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&&) {
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      for (std::int64_t c = 0; c < D; ++c) {
        T sum = 0;
        for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t) sum += x(t, c);
        for (std::int64_t t = seqs.first_row[s]; t < seqs.first_row[s + 1]; ++t)
          y(t, c) = w.template get<"scale">()(c) * (x(t, c) + sum / static_cast<T>(seqs.tokens(s)));
      }
    });
  }
};

inline constexpr plait::hybrid<mean, plait::mamba, plait::mlp, plait::none> encoder{
    .d_model = 12,
    .vocab_size = plait::no_vocabulary,
    .layers = {.layers_per_block = 3, .attend = 1, .recur = 1, .attend_offset = 0},
    .recurrent = {.d_state = 4},
    .dense = {.d_ff = 9}};

}  // namespace stack_test
template <>
struct plait::layer_of<stack_test::mean> {
  template <int D, stack_test::mean P>
  using bind = stack_test::mean_layer<D, P>;
};
namespace stack_test {

TEST_CASE(
    "stack: from embeddings to the residual stream, equal to the inside of a model with a head") {
  static_assert(!plait::model<stack>::has_vocabulary && plait::model<stack>::vocab_size == 0);
  static_assert(plait::count(stack).total_parameters ==
                plait::count(test::everything).total_parameters - 2 * 53 * 35 - 35);
  static_assert(plait::weight_bytes(stack, plait::f32) == 4 * plait::count(stack).total_parameters);

  plait::model<stack> layers;
  plait::initialize(layers, 7, 0.25);
  std::map<std::string, int> parts;
  layers.for_each_tensor(
      [&](int, char const* part, plait::tensor const&, auto&) { ++parts[part]; });
  CHECK(parts.size() == 4);
  CHECK(parts.count("embedding") + parts.count("head") + parts.count("final_norm") == 0);

  test::random random(90);
  auto const ids = test::random_ids(random, 70, 53);
  test::matrix<float> embedded(70, 35), expected(70, 35), got(70, 35), logits(70, 53);
  plait::exec::cpu<> exec;
  test::executor<with_head>(exec);
  plait::cache_pool<with_head> pool;
  auto whole = pool.make();
  whole.reserve(70);
  plait::batch<with_head> batch;
  batch.add(whole, ids, plait::rows::all);
  test::model_with_weights<with_head>().forward(
      exec, batch, logits.view(), [&](plait::probe at, auto const& m) {
        test::matrix<float>* const to = std::string_view(at.name) == "embed" ? &embedded
                                        : std::string_view(at.name) == "out" && at.layer == 5
                                            ? &expected
                                            : nullptr;
        if constexpr (std::is_same_v<
                          std::remove_const_t<std::remove_reference_t<decltype(m(0, 0))>>, float>)
          for (std::int64_t t = 0; to != nullptr && t < 70; ++t)
            std::copy_n(m.row(t), 35, to->view().row(t));
      });

  layers.reserve(exec, 70);
  plait::cache_pool<plait::model<stack>> stack_pool;
  auto sequence = stack_pool.make();
  sequence.reserve(70);
  plait::batch<plait::model<stack>> part;
  for (auto const& [first, n] : {std::pair{0, 33}, std::pair{33, 37}}) {
    part.add(sequence, embedded.view().middle_rows(first, n), plait::rows::all);
    layers.forward_hidden(exec, part, got.view().middle_rows(first, n));
    part.clear();
  }
  CHECK(got.intact());
  for (std::int64_t t = 0; t < 70; ++t)
    CHECK(test::same_bits(got.view().row(t), expected.view().row(t), 35));

  sequence.reserve(1);
  part.add(sequence, std::vector<std::int32_t>{3}, plait::rows::all);
  CHECK(message_of([&] { layers.forward_hidden(exec, part, got.view().middle_rows(0, 1)); }) ==
        "forward: sequence 0 of the batch has token ids, but this architecture has no vocabulary: "
        "add embeddings");
  CHECK(sequence.length() == 70);
}

TEST_CASE("stack: with a mixer that depends on later tokens a sequence is one call") {
  static_assert(plait::model<stack>::continues() == plait::continuation::bitwise);
  static_assert(plait::model<encoder>::continues() == plait::continuation::none);
  plait::model<encoder> model;
  plait::initialize(model, 3, 0.2);
  plait::model<encoder, plait::exec::reference> oracle;
  plait::initialize(oracle, 3, 0.2);
  plait::exec::cpu<> exec;
  plait::exec::reference reference;
  model.reserve(exec, 40, 2);
  oracle.reserve(reference, 40, 2);

  test::random random(91);
  auto const x = test::random_matrix(random, 22, 12);
  auto const run = [&](auto const& m, auto& e, auto zero) {
    using T = decltype(zero);
    using M = std::remove_cvref_t<decltype(m)>;
    test::matrix<T> const in(x);
    test::matrix<T> out(22, 12);
    plait::cache_pool<M> pool;
    auto a = pool.make(), b = pool.make();
    plait::batch<M> batch;
    batch.add(a, in.view().middle_rows(0, 17), plait::rows::all);
    batch.add(b, in.view().middle_rows(17, 5), plait::rows::all);
    m.forward_hidden(e, batch, out.view());
    batch.clear();
    batch.add(b, in.view().middle_rows(17, 1), plait::rows::all);
    CHECK(message_of([&] { m.forward_hidden(e, batch, out.view().middle_rows(0, 1)); }) ==
          "forward: sequence 0 of the batch has 5 tokens already, but a mixer here sees later "
          "tokens, so that a sequence is one call: "
          "start a new one");
    CHECK(b.length() == 5);
    return test::matrix<double>(out);
  };
  // Three layers of few products of values around 1.
  CHECK(test::difference(run(model, exec, 0.0f), run(oracle, reference, 0.0)) < 5e-6);

  plait::single_layer<12, mean{}> layer(1);
  layer.reserve(exec, 4);
  auto sequence = layer.make();
  test::matrix<float> y(4, 12);
  layer.forward(exec, sequence, x.view().middle_rows(0, 4), y.view());
  CHECK(message_of([&] { layer.forward(exec, sequence, x.view().middle_rows(0, 4), y.view()); }) ==
        "forward: the sequence has 4 tokens already, but this mixer sees later tokens, so that a "
        "sequence is one call: start a new one");
}

}  // namespace stack_test
