// Counts of architectures, from the header that includes the standard library alone.
#include <plait/policy.hpp>

#include <doctest/doctest.h>

namespace {

using namespace plait;
using configs::jamba;
using configs::jamba_1_5_large;
using configs::jamba_reasoning_3b;
using configs::jamba_v0_1;
using configs::mixtral_8x7b;

constexpr std::int64_t KiB = 1024, GiB = std::int64_t{1} << 30;

// ---- Jamba v0.1 as published (arXiv:2403.19887)
static_assert(count(jamba_v0_1).layers == 32);
static_assert(count(jamba_v0_1).attention_layers == 4);
static_assert(count(jamba_v0_1).recurrent_layers == 28);
static_assert(count(jamba_v0_1).moe_layers == 16);
static_assert(count(jamba_v0_1).expert_evaluations == 32);
static_assert(count(jamba_v0_1).total_parameters == 51'570'323'328);
static_assert(count(jamba_v0_1).active_parameters == 12'110'311'296);
static_assert(jamba<8, 1, 7, 2, 16, 2> == jamba_v0_1);
static_assert(configs::jamba_1_5_mini == jamba_v0_1);

// ---- its relatives
static_assert(count(jamba_1_5_large).layers == 72 && count(jamba_1_5_large).attention_layers == 9 &&
              count(jamba_1_5_large).moe_layers == 36);
static_assert(count(jamba_1_5_large).total_parameters / 1'000'000'000 == 398);
static_assert(count(jamba_1_5_large).active_parameters / 1'000'000'000 == 94);
static_assert(count(jamba_reasoning_3b).layers == 28 &&
              count(jamba_reasoning_3b).attention_layers == 2 &&
              count(jamba_reasoning_3b).recurrent_layers == 26);
static_assert(count(jamba_reasoning_3b).total_parameters / 10'000'000 == 302);
static_assert(count(jamba_reasoning_3b).total_parameters ==
              count(jamba_reasoning_3b).active_parameters);
static_assert(count(jamba_reasoning_3b).moe_layers == 0 &&
              count(jamba_reasoning_3b).expert_evaluations == 0);
static_assert(count(mixtral_8x7b).layers == 32 && count(mixtral_8x7b).attention_layers == 32 &&
              count(mixtral_8x7b).recurrent_layers == 0);
static_assert(count(mixtral_8x7b).expert_evaluations == 64);
static_assert(count(mixtral_8x7b).total_parameters == 46'702'792'704);

// ---- keys and values
constexpr auto all_attention = [] {
  auto c = jamba_v0_1;
  c.layers.attend = 8;
  c.layers.recur = 0;
  return c;
}();
static_assert(count(all_attention).attention_layers == 32 &&
              count(all_attention).recurrent_layers == 0);
static_assert(kv_cache_bytes(jamba_v0_1, 256 * KiB, 2) == 4 * GiB);
static_assert(kv_cache_bytes(jamba_1_5_large, 256 * KiB, 2) == 9 * GiB);
static_assert(kv_cache_bytes(mixtral_8x7b, 256 * KiB, 2) == 32 * GiB);
static_assert(kv_cache_bytes(all_attention, 256 * KiB, 2) ==
              8 * kv_cache_bytes(jamba_v0_1, 256 * KiB, 2));
static_assert(kv_cache_bytes(jamba_v0_1, 1, 2) == 16384 &&
              kv_cache_bytes(jamba_1_5_large, 1, 2) == 36864 &&
              kv_cache_bytes(jamba_reasoning_3b, 1, 2) == 1024);
static_assert(kv_cache_bytes(jamba_v0_1, 1000, 4, 3) == 3 * 1000 * 32768);

// ---- recurrent state: 28 layers of 8192 channels with 3 columns of window and 16 of state
static_assert(recurrent_state_bytes(jamba_v0_1) == 17'432'576);
static_assert(recurrent_state_bytes(jamba_v0_1) == std::int64_t{28} * 8192 * (3 + 16) * 4);
static_assert(recurrent_state_bytes(jamba_v0_1, 5) == 5 * recurrent_state_bytes(jamba_v0_1));
static_assert(recurrent_state_bytes(all_attention) == 0 &&
              recurrent_state_bytes(mixtral_8x7b) == 0);

// ---- weights and contexts
static_assert(weight_bytes(jamba_v0_1, f32) == 4 * count(jamba_v0_1).total_parameters);
// Vectors, the router and A stay in f32.
static_assert(weight_bytes(jamba_v0_1, bf16) > 2 * count(jamba_v0_1).total_parameters);
static_assert(weight_bytes(jamba_v0_1, bf16) < 2.01 * double(count(jamba_v0_1).total_parameters));
// 34 bytes for 32 weights.
static_assert(weight_bytes(jamba_v0_1, int8) > 1.06 * double(count(jamba_v0_1).total_parameters));
static_assert(weight_bytes(jamba_v0_1, int8) < 1.08 * double(count(jamba_v0_1).total_parameters));
static_assert(weight_bytes(jamba_v0_1, experts_int8) > weight_bytes(jamba_v0_1, int8) &&
              weight_bytes(jamba_v0_1, experts_int8) < weight_bytes(jamba_v0_1, bf16));
// Tied: the table counts once.
static_assert(weight_bytes(jamba_reasoning_3b, f32) ==
              4 * count(jamba_reasoning_3b).total_parameters);
static_assert(max_context(jamba_v0_1, int8, 80'000'000'000) > 140'000);
// 8 times the keys and values, but attention's weights are smaller.
static_assert(max_context(jamba_v0_1, int8, 80'000'000'000) >
              7 * max_context(all_attention, int8, 80'000'000'000));
static_assert(max_context(jamba_v0_1, bf16, 80'000'000'000) == 0);
static_assert([] {
  std::int64_t const n = max_context(jamba_v0_1, int8, 80'000'000'000),
                     beside = weight_bytes(jamba_v0_1, int8) + recurrent_state_bytes(jamba_v0_1);
  return beside + kv_cache_bytes(jamba_v0_1, n, 2) <= 80'000'000'000 &&
         beside + kv_cache_bytes(jamba_v0_1, n + 1, 2) > 80'000'000'000;
}());

// ---- n = 1: no router, every feed-forward dense
constexpr auto dense = jamba<8, 1, 7, 2, 1, 1>;
static_assert(count(dense).moe_layers == 0 && count(dense).expert_evaluations == 0);
static_assert(count(dense).total_parameters == count(dense).active_parameters);
static_assert(count(jamba_v0_1).total_parameters - count(dense).total_parameters ==
              std::int64_t{16} * (15 * std::int64_t{3} * 4096 * 14336 + 16 * 4096));

// ---- the schedule
template <auto C>
constexpr std::uint64_t attention_at = [] {
  std::uint64_t bits = 0;
  for (int i = 0; i < C.num_layers(); ++i) bits |= std::uint64_t{C.mixer_at(i) == 0} << i;
  return bits;
}();
template <auto C>
constexpr std::uint64_t experts_at = [] {
  std::uint64_t bits = 0;
  for (int i = 0; i < C.num_layers(); ++i) bits |= std::uint64_t{C.ffn_at(i) == 1} << i;
  return bits;
}();
constexpr auto with_offsets(int attend, int experts) {
  auto c = jamba_v0_1;
  c.layers.attend_offset = attend;
  c.layers.moe_offset = experts;
  return c;
}
static_assert(attention_at<jamba_v0_1> == 0x10101010 &&
              experts_at<jamba_v0_1> == 0xaaaaaaaa);  // layer 4 of 8; every second, from 1
static_assert(attention_at<with_offsets(0, 0)> == 0x01010101 &&
              experts_at<with_offsets(0, 0)> == 0x55555555);
static_assert(attention_at<with_offsets(7, 1)> == 0x80808080 &&
              experts_at<with_offsets(7, 1)> == 0xaaaaaaaa);
static_assert(attention_at<jamba_reasoning_3b> == ((1u << 7) | (1u << 21)));
static_assert(attention_at<jamba<12, 2, 4, 3, 8, 2, 1>> == 0b001100'001100 &&
              experts_at<jamba<12, 2, 4, 3, 8, 2, 1>> == 0b100100100100);
static_assert(attention_at<jamba<4, 1, 0, 1, 4, 1, 1>> == 0b1111 &&
              experts_at<jamba<4, 1, 0, 1, 4, 1, 1>> == 0b1111);
static_assert(attention_at<jamba<4, 0, 1, 0, 4, 1, 1>> == 0 &&
              experts_at<jamba<4, 0, 1, 0, 4, 1, 1>> == 0);
static_assert(count(with_offsets(0, 0)) == count(jamba_v0_1));

// ---- values
static_assert(jamba_v0_1 == jamba_v0_1 && !(with_offsets(3, -1) == jamba_v0_1) &&
              jamba_1_5_large != jamba_v0_1);
static_assert([] {
  auto c = jamba_v0_1;
  c.recurrent.conv_bias = false;
  bool const policies = c != jamba_v0_1;
  c = jamba_v0_1;
  c.norm_eps = 1e-5f;
  return policies && c != jamba_v0_1 && plait::mamba{} == plait::mamba{} &&
         plait::moe{.d_ff = 1} != plait::moe{.d_ff = 2};
}());
static_assert(plait::mamba{}.rank(4096) == 256 && plait::mamba{}.rank(33) == 3 &&
              plait::mamba{.dt_rank = 5}.rank(33) == 5);
static_assert(plait::attention{.num_heads = 32}.dim(4096) == 128 &&
              plait::attention{.num_heads = 32, .head_dim = 7}.dim(4096) == 7);
static_assert(matrix_bytes(dtype::int8, 2, 33) == 2 * (33 + 2 * 2) &&
              matrix_bytes(dtype::bf16, 3, 5) == 30 && matrix_bytes(dtype::f32, 3, 5) == 60);

// ---- single-sublayer stacks: a slot with none has no norm and no parameters
constexpr hybrid<none, mamba, none, none> mamba_only{.d_model = 64,
                                                     .vocab_size = 100,
                                                     .layers = {.layers_per_block = 3, .recur = 1},
                                                     .recurrent = {}};
constexpr std::int64_t d = 128, r = 4, n = 16;  // one Mamba layer at width 64, tensor by tensor
constexpr std::int64_t one_mamba =
    2 * d * 64 + d * 4 + d + (r + 2 * n) * d + d * r + d + d * n + d + r + n + n + 64 * d;
static_assert(count(mamba_only).total_parameters == 2 * 100 * 64 + 64 + 3 * (64 + one_mamba));
static_assert(count(mamba_only).attention_layers == 0 && count(mamba_only).recurrent_layers == 3);
static_assert(kv_cache_bytes(mamba_only, 1000, 4) == 0 &&
              max_context(mamba_only, f32, 1'000'000'000) == INT64_MAX &&
              max_context(mamba_only, f32, 1000) == 0);

// ---- work
// Two flops per active parameter of a linear map, without the embedding table; attention adds
// 4 heads dim + 4 heads per key and layer.
constexpr std::int64_t table = std::int64_t{65536} * 4096;
static_assert(decode_cost(jamba_v0_1, bf16, 0).flops >
              2 * (count(jamba_v0_1).active_parameters - table) * 99 / 100);
static_assert(decode_cost(jamba_v0_1, bf16, 0).flops <
              2 * (count(jamba_v0_1).active_parameters - table) * 102 / 100);
static_assert(decode_cost(jamba_v0_1, bf16, 1001).flops -
                  decode_cost(jamba_v0_1, bf16, 1000).flops ==
              4 * 32 * (4 * 128 + 4));
static_assert(decode_cost(jamba_v0_1, bf16, 1001).bytes -
                  decode_cost(jamba_v0_1, bf16, 1000).bytes ==
              kv_cache_bytes(jamba_v0_1, 1, 2));
static_assert(decode_cost(jamba_v0_1, bf16, 0).bytes >
              2 * (count(jamba_v0_1).active_parameters - table));
static_assert(decode_cost(jamba_v0_1, bf16, 0).bytes <
              2.02 * double(count(jamba_v0_1).active_parameters - table));
static_assert(prefill_cost(jamba_v0_1, bf16, 1).bytes == decode_cost(jamba_v0_1, bf16, 0).bytes);
static_assert(prefill_cost(jamba_v0_1, bf16, 1024).bytes <
              decode_cost(jamba_v0_1, bf16, 0).bytes / 100);
static_assert(prefill_cost(jamba_v0_1, bf16, 1023).flops ==
              decode_cost(jamba_v0_1, bf16, 511).flops);

}  // namespace

// The counts are constant expressions, checked above; here the same functions run.
TEST_CASE("policy: counts at run time equal those at compile time") {
  auto c = configs::jamba_v0_1;
  int const blocks[] = {1, 2, 4, 9};
  for (int b : blocks) {
    c.layers.blocks = b;
    CHECK(count(c).layers == 8 * b);
    CHECK(count(c).attention_layers == b);
    CHECK(kv_cache_bytes(c, 1, 2) == 4096 * b);
  }
}
