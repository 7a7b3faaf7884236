#include <plait/model/sample.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

TEST_CASE("sample_greedy: the first of the largest logits") {
  CHECK(plait::sample_greedy(std::vector<float>{-3}) == 0);
  CHECK(plait::sample_greedy(std::vector<float>{1, 4, -2, 4}) == 1);
}

TEST_CASE("sampler: the same seed gives the same tokens; temperature 0 is greedy") {
  std::vector<float> const logits{0.5f, 2, -1, 1.5f};
  plait::sampler a(0.7, 5), b(0.7, 5), other(0.7, 6), greedy(0);
  int different = 0;
  for (int i = 0; i < 200; ++i) {
    auto const token = a(logits);
    CHECK(token == b(logits));
    different += token != other(logits);
    CHECK(greedy(logits) == 1);
  }
  CHECK(different > 0);
}

// 40,000 draws: a frequency has a standard deviation of at most 0.0025; four of them.
TEST_CASE(
    "sampler: frequencies are softmax(logits / temperature); an id of probability 0 is never "
    "drawn") {
  std::vector<float> const logits{-std::numeric_limits<float>::infinity(), 0, 1, 2, -1000};
  for (double temperature : {0.5, 1.0, 3.0}) {
    plait::sampler draw(temperature, 11);
    std::array<int, 5> count{};
    for (int i = 0; i < 40000; ++i) ++count[static_cast<std::size_t>(draw(logits))];
    double total = 0;
    for (int k = 0; k < 3; ++k) total += std::exp(k / temperature);
    for (int k = 0; k < 3; ++k)
      CHECK(std::fabs(count[std::size_t(k + 1)] / 40000.0 - std::exp(k / temperature) / total) <
            0.01);
    CHECK(count[0] + count[4] == 0);
  }
}

TEST_CASE("sampler: a temperature that is negative or not finite is refused") {
  for (double bad :
       {-1.0, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()})
    CHECK(test::message_of([&] { plait::sampler{bad}; }).starts_with("sampler: temperature is "));
  CHECK(test::message_of([] { plait::sampler{-1.0}; }) ==
        "sampler: temperature is -1.000000, expected 0 or more");
}
