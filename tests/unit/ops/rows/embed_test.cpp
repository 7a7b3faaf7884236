#include <plait/ops/rows/embed_cpu.hpp>

#include <support/data.hpp>
#include <support/executors.hpp>

#include <doctest/doctest.h>

using plait::role;

// A lookup copies: results are equal to the last bit, from a plain table and from a packed one (a
// tied head).
TEST_CASE("embed: a row of the table per id") {
  test::random random(1);
  for (std::int64_t d : {1, 3, 16, 17, 32, 129})
    for (std::int64_t tokens : {0, 1, 3, 40}) {
      std::int64_t const vocabulary = 35;  // two panels and a tail
      std::vector<float> const values = random.values(vocabulary * d);
      auto const plain =
          test::make_tensor<plait::storage::plain<float>, role::matrix>(values, vocabulary, d);
      auto const packed =
          test::make_tensor<plait::storage::packed<>, role::matrix>(values, vocabulary, d);
      auto const exact =
          test::make_tensor<plait::storage::plain<double>, role::matrix>(values, vocabulary, d);
      std::vector<std::int32_t> ids{};
      for (std::int64_t t = 0; t < tokens; ++t)
        ids.push_back(t == 0   ? 34
                      : t == 1 ? 0
                               : static_cast<std::int32_t>(random.below(vocabulary)));

      test::matrix<float> from_plain(tokens, d), from_packed(tokens, d);
      test::matrix<double> expected(tokens, d);
      auto cpu = test::cpu_with(2);
      auto oracle = test::oracle();
      plait::ops::embed(cpu, ids, plain, from_plain.view());
      plait::ops::embed(cpu, ids, packed, from_packed.view());
      plait::ops::embed(oracle, ids, exact, expected.view());

      for (std::int64_t t = 0; t < tokens; ++t)
        for (std::int64_t c = 0; c < d; ++c)
          REQUIRE(
              expected(t, c) ==
              double{values[static_cast<std::size_t>(ids[static_cast<std::size_t>(t)] * d + c)]});
      CHECK(test::same_bits(from_plain, test::matrix<float>(expected)));
      CHECK(test::same_bits(from_packed, test::matrix<float>(expected)));
      CHECK(from_plain.intact());
      CHECK(from_packed.intact());
      CHECK(expected.intact());
    }
}
