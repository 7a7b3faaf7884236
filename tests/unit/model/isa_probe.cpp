// Prints the logits of random models as bits, the same for every instruction set that it is
// compiled for. Exit status 77: this machine lacks the instruction set.
#include <plait/plait.hpp>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cstdio>
#include <cstring>
#include <vector>

namespace {

inline constexpr auto odd = [] {
  auto c = plait::configs::jamba_v0_1;
  c.d_model = 75;
  c.vocab_size = 101;
  c.layers = {.blocks = 1, .layers_per_block = 5, .attend = 1, .recur = 2, .moe_every = 2};
  c.attention = {.num_heads = 6, .num_kv_heads = 2, .head_dim = 21};
  c.recurrent = {.d_state = 13, .d_conv = 3, .expand = 1, .dt_rank = 7};
  c.dense.d_ff = 57;
  c.sparse = {.d_ff = 33, .num_experts = 5, .top_k = 2};
  return c;
}();

/// The first extension that this file is compiled for and this machine lacks; null where it has
/// all.
char const* lacking() {
#if defined(__x86_64__)
#if PLAIT_PACKET == 16
  if (!__builtin_cpu_supports("avx512f")) return "AVX512F";
  if (!__builtin_cpu_supports("avx512dq")) return "AVX512DQ";
  if (!__builtin_cpu_supports("avx512bw")) return "AVX512BW";
  if (!__builtin_cpu_supports("avx512vl")) return "AVX512VL";
#elif PLAIT_PACKET == 8
  if (!__builtin_cpu_supports("avx2")) return "AVX2";
  if (!__builtin_cpu_supports("fma")) return "FMA";
#endif
#if PLAIT_AVX512_BF16
  if (!__builtin_cpu_supports("avx512bf16")) return "AVX512_BF16";
#endif
#if PLAIT_AVX512_VNNI
  if (!__builtin_cpu_supports("avx512vnni")) return "AVX512_VNNI";
#endif
#if PLAIT_AVX_VNNI
  unsigned a = 0, b = 0, c = 0, d = 0;  // clang 14 and g++ 12 have no name for it
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d) == 0 || (a & 1u << 4) == 0) return "AVX_VNNI";
#endif
#endif
  return nullptr;
}

template <plait::precision P>
void print_logits() {
  using model = plait::model<odd, plait::exec::cpu<P>>;
  model net;
  plait::initialize(net, 5, 0.1);
  typename model::exec_type exec(2);
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 150; ++i) ids.push_back((i * i * 7 + 3) % 101);
  sequence.reserve(150);
  net.reserve(exec, 150);
  std::vector<float> logits(150 * 101);
  plait::batch<model> batch;
  batch.add(sequence, ids, plait::rows::all);
  net.forward(exec, batch, {logits.data(), 150, 101});
  for (float x : logits) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, 4);
    std::printf("%08x\n", bits);
  }
}

}  // namespace

int main() {
  if (char const* const extension = lacking()) {
    std::printf("this machine lacks %s\n", extension);
    return 77;
  }
  print_logits<plait::f32>();
  print_logits<plait::experts_int8>();
  print_logits<plait::with_compute(plait::bf16, plait::dtype::bf16)>();
  print_logits<plait::with_compute(plait::int8, plait::dtype::int8)>();
}
