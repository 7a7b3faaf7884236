#include <plait/benchmark/explain.hpp>

#include <plait/policy.hpp>

#include <support/data.hpp>

#include <doctest/doctest.h>

#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace plait;
using bench::explain;
using bench::routing;

// Layer 0: mamba, mlp. Layer 1: attention, moe.
constexpr hybrid<attention, mamba, mlp, moe> small{
    .d_model = 8,
    .vocab_size = 10,
    .layers = {.blocks = 1, .layers_per_block = 2, .attend = 1, .recur = 1, .moe_every = 2},
    .attention = {.num_heads = 2, .num_kv_heads = 1},
    .recurrent = {.d_state = 2, .d_conv = 3, .expand = 2, .dt_rank = 1},
    .dense = {.d_ff = 12},
    .sparse = {.d_ff = 4, .num_experts = 4, .top_k = 2}};
constexpr bench::roofline machine{.flops = 1000, .bytes = 2000};

void check_row(bench::explained_row const& row, int layer, std::string const& part, double flops,
               double bytes) {
  CAPTURE(part);
  CHECK(row.layer == layer);
  CHECK(row.part == part);
  CHECK(row.cost.flops == doctest::Approx(flops));
  CHECK(row.cost.bytes == doctest::Approx(bytes));
  CHECK(row.seconds == doctest::Approx(std::max(flops / machine.flops, bytes / machine.bytes)));
}

}  // namespace

TEST_CASE("one token on five, counted by hand") {
  auto const e = explain<small>(f32, 1, 5, machine);
  REQUIRE(e.rows.size() == 6);
  check_row(e.rows[0], -1, "embedding", 0, 8 * 4);
  // in 32x8, x 5x16, dt 16x1, out 8x16: 480 weights; 16 channels of 3 taps, 2 states; 133 further
  // values; state of 16 (2 + 2) in and out
  check_row(e.rows[1], 0, "mamba", 2 * 480 + 16 * (2 * 3 + 7 * 2 + 16),
            (480 + 133 + 8) * 4 + 2 * 16 * 4 * 4);
  check_row(e.rows[2], 0, "mlp", 2 * 288 + 5 * 12, (288 + 8) * 4);
  // q and o 8x8, k and v 4x8: 192 weights; 2 heads see 6 keys of 4; 6 tokens keep 8 values each
  check_row(e.rows[3], 1, "attention", 2 * 192 + 2 * 6 * (4 * 4 + 4), (192 + 8) * 4 + 6 * 8 * 4);
  // router 4x8, an expert 96: two of four are reached
  check_row(e.rows[4], 1, "moe", 2 * (32 + 2 * 96) + 5 * 4 + 2 * (5 * 4 + 2 * 8),
            (32 + 2 * 96 + 8) * 4);
  check_row(e.rows[5], -1, "head", 2 * 10 * 8, (10 * 8 + 8) * 4);
  CHECK(e.cost().flops == 1536 + 636 + 624 + 540 + 160);
  CHECK(e.cost().bytes == 32 + 2996 + 1184 + 992 + 928 + 352);
  CHECK(e.seconds() == doctest::Approx(0.016 + 1.536 + 0.636 + 0.624 + 0.54 + 0.176));
  CHECK(e.tokens_per_second() == doctest::Approx(1 / e.seconds()));
  CHECK(e.rows[3].intensity() == doctest::Approx(624.0 / 992));
}

TEST_CASE("precisions count as they are stored") {
  CHECK(explain<small>(bf16, 1, 5, machine).rows[3].cost.bytes == 192 * 2 + 8 * 4 + 6 * 8 * 2);
  CHECK(explain<small>(int8, 1, 5, machine).rows[3].cost.bytes ==
        24 * (8 + 2) + 8 * 4 + 6 * 8 * 2);  // 24 rows of 8 with a scale each
  CHECK(explain<small>(experts_int8, 1, 5, machine).rows[4].cost.bytes ==
        (32 + 8) * 4 + 2 * (8 * (8 + 2) + 8 * (4 + 2)));
  CHECK(explain<small>(experts_int8, 1, 5, machine).rows[0].cost.bytes == 8 * 2);
}

TEST_CASE("several tokens see half of each other") {
  auto const four = explain<small>(f32, 4, 0, machine);
  CHECK(four.rows[3].cost.flops == doctest::Approx(4 * (2 * 192 + 2 * 2.5 * 20)));
  CHECK(four.rows[3].cost.bytes == (192 + 8) * 4 + 4 * 8 * 4);
  CHECK(four.rows[5].cost.flops == 160);  // logits of the last alone
  // each token by itself, one after the other
  double flops = 0;
  for (std::int64_t context : {0, 1, 2, 3})
    flops += explain<small>(f32, 1, context, machine).cost().flops;
  CHECK(four.cost().flops == doctest::Approx(flops - 3 * 160));
}

TEST_CASE("what routing and the number of sequences change") {
  auto const moe_bytes = [](routing r, std::int64_t tokens) {
    return explain<small>(f32, tokens, 0, machine, r).rows[4].cost.bytes;
  };
  double const beside = (32 + 8) * 4;
  CHECK(moe_bytes(routing::one, 4) == beside + 2 * 96 * 4);
  CHECK(moe_bytes(routing::balanced, 1) == beside + 2 * 96 * 4);
  CHECK(moe_bytes(routing::balanced, 4) == beside + 4 * 96 * 4);
  CHECK(moe_bytes(routing::random, 2) == doctest::Approx(beside + 3 * 96 * 4));  // 4 (1 - 1/4)
  std::vector<double> const reached{0, 3};
  auto const seen = explain(small, f32, {.tokens = 1, .context = 5}, machine, reached);
  CHECK(seen.rows[4].cost.bytes == beside + 3 * 96 * 4);
  auto const three = explain(small, f32, {.tokens = 1, .context = 5, .sequences = 3}, machine);
  CHECK(three.rows[3].cost.flops == 3 * 624);
  CHECK(three.rows[3].cost.bytes == (192 + 8) * 4 + 3 * 6 * 8 * 4);
  CHECK(three.rows[1].cost.bytes == (480 + 133 + 8) * 4 + 3 * 2 * 16 * 4 * 4);
  CHECK(three.rows[5].cost.flops == 3 * 160);
  CHECK(three.tokens_per_second() == doctest::Approx(3 / three.seconds()));
}

TEST_CASE("the sums are those of decode_cost and prefill_cost") {
  auto const check = []<auto C>() {
    static constexpr auto config = C;
    for (precision const& as : {f32, bf16, int8, experts_int8}) {
      for (std::int64_t context : {0, 7, 4096}) {
        auto const e = explain(config, as, {.context = context}, machine);
        CHECK(e.cost().flops ==
              doctest::Approx(double(decode_cost(config, as, context).flops)).epsilon(1e-12));
        // explain writes the state back, too
        CHECK(e.cost().bytes == doctest::Approx(double(decode_cost(config, as, context).bytes +
                                                       recurrent_state_bytes(config)))
                                    .epsilon(1e-9));
      }
      for (std::int64_t tokens : {3, 511}) {  // an odd number has a whole middle
        double const head = 2.0 * config.vocab_size * config.d_model;
        auto const e = explain(config, as, {.tokens = tokens}, machine);
        CHECK(e.cost().flops ==
              doctest::Approx(
                  double(tokens) * (double(prefill_cost(config, as, tokens).flops) - head) + head)
                  .epsilon(1e-12));
      }
    }
    double weights = 0;  // all experts reached, no state, no keys: every weight once, the table a
                         // second time by its rows
    std::vector<double> const all(static_cast<std::size_t>(config.num_layers()), 16.0);
    auto const e = explain(config, f32, {}, machine, all);
    weights = e.cost().bytes - 2 * double(recurrent_state_bytes(config)) -
              double(kv_cache_bytes(config, 1, 4));
    double const table = 4.0 * config.vocab_size * config.d_model;
    CHECK(weights ==
          doctest::Approx(double(weight_bytes(config, f32)) - table + 4.0 * config.d_model));
  };
  check.operator()<configs::jamba_v0_1>();
  constexpr auto narrow = [] {
    auto c = configs::jamba_v0_1;
    c.d_model = 256;
    c.attention.head_dim = 20;
    c.layers.attend = 2;
    c.layers.recur = 6;
    return c;
  }();
  check.operator()<narrow>();
}

TEST_CASE("a stack without a vocabulary has neither embedding nor head") {
  static constexpr hybrid<none, mamba, none, none> stack{
      .d_model = 8, .vocab_size = no_vocabulary, .layers = {.layers_per_block = 3, .recur = 1}};
  auto const e = explain<stack>(f32, 2, 0, machine);
  REQUIRE(e.rows.size() == 3);
  CHECK(e.rows[2].part == "mamba");
  CHECK(e.rows[2].layer == 2);
}

TEST_CASE("the table") {
  std::ostringstream out;
  out << explain<small>(f32, 4, 2, machine, routing::zipf);
  std::string const text = out.str();
  CAPTURE(text);
  for (char const* part :
       {"prefill: 4 tokens on a context of 2, f32, routing zipf", "embedding", "0 mamba", "0 mlp",
        "1 attention", "1 moe", "head", "sum", "at most", "decode on top of it at most"})
    CHECK(text.find(part) != std::string::npos);
  CHECK(text.find("measured") == std::string::npos);
  auto e = explain<small>(f32, 1, 2, machine);
  for (auto& row : e.rows) row.measured = 2 * row.seconds;
  std::ostringstream measured;
  measured << e;
  CHECK(measured.str().find("50.0") != std::string::npos);  // twice the least: half the roofline
  CHECK(measured.str().find("measured") != std::string::npos);
  CHECK(e.measured() == doctest::Approx(2 * e.seconds()));
}

TEST_CASE("what explain refuses") {
  CHECK(test::message_of([] { explain<small>(f32, 0, 0, machine); }) ==
        "explain: a call has 1 or more tokens, a context of 0 or more and 1 or more sequences, not "
        "0, 0 and 1");
  CHECK(test::message_of([] {
          explain<small>(f32, 1, 0, {});
        }).find("explain: a roofline has operations and bytes per second above 0") == 0);
  std::vector<double> const reached{1};
  CHECK(test::message_of([&] { explain(small, f32, {}, machine, reached); }) ==
        "explain: experts reached are given for 1 layers of 2");
}

TEST_CASE("names") {
  CHECK(bench::name_of(f32) == "f32");
  CHECK(bench::name_of(experts_int8) == "experts_int8");
  CHECK(bench::name_of(precision{.weights = dtype::bf16,
                                 .experts = dtype::bf16,
                                 .compute = dtype::bf16,
                                 .kv = dtype::bf16}) == "bf16,compute:bf16");
  CHECK(bench::name_of(precision{.weights = dtype::int8, .experts = dtype::int8}) == "int8,kv:f32");
  CHECK(bench::name_of(precision{.experts = dtype::int8}) ==
        "weights:f32,experts:int8,compute:f32,kv:f32");
  CHECK(bench::arithmetic_of(bf16) == dtype::f32);
  CHECK(bench::arithmetic_of(with_compute(bf16, dtype::bf16)) == dtype::bf16);
  CHECK(bench::arithmetic_of(with_compute(int8, dtype::bf16)) ==
        dtype::f32);  // int8 weights meet f32
  CHECK(bench::arithmetic_of(with_compute(experts_int8, dtype::int8)) == dtype::int8);
  CHECK(bench::policy_name<attention>() == "attention");
  CHECK(bench::policy_name<std::vector<int>>() == "vector");
}
