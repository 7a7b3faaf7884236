// A map of a published model: its layers and their costs. Counts need the configuration alone: no
// weight is allocated.
//
//   released_map [v0.1 | 1.5-large | reasoning-3b | mixtral-8x7b]
#include <plait/policy.hpp>

#include <cstdio>
#include <string>
#include <string_view>

namespace {

// One overload per policy; a custom component adds its own.
char const* name(plait::attention const&) { return "attn"; }
char const* name(plait::mamba const&) { return "mamba"; }
char const* name(plait::mlp const&) { return "mlp"; }
char const* name(plait::moe const&) { return "MoE"; }
char const* name(plait::none const&) { return "-"; }

template <class Architecture>
void print_map(Architecture const& c, int columns) {
  for (int i = 0; i < c.num_layers(); ++i) {
    if (i % columns == 0) std::printf("  %2d ", i);
    plait::visit_layer(c, i, [](auto const& mixer, auto const& ffn) {
      std::printf(" %9s", (std::string(name(mixer)) + "+" + name(ffn)).c_str());
    });
    if (i % columns == columns - 1 || i + 1 == c.num_layers()) std::printf("\n");
  }
}

template <class Architecture>
void print(char const* title, Architecture const& c, int columns) {
  constexpr double gib = 1024.0 * 1024 * 1024;
  auto const n = plait::count(c);
  std::printf("%s: d_model %d, vocabulary %d%s\n", title, c.d_model, c.vocab_size,
              c.tie_embeddings ? ", tied" : "");
  print_map(c, columns);
  std::printf(
      "layers       %d: %d attention, %d recurrent; %d with experts, %d experts per token\n",
      n.layers, n.attention_layers, n.recurrent_layers, n.moe_layers, n.expert_evaluations);
  std::printf("parameters   %.2f B, of which a token uses %.2f B\n",
              double(n.total_parameters) / 1e9, double(n.active_parameters) / 1e9);
  std::printf("weights      %.1f GiB bf16, %.1f GiB int8\n",
              double(plait::weight_bytes(c, plait::bf16)) / gib,
              double(plait::weight_bytes(c, plait::int8)) / gib);
  std::printf(
      "sequence     %.1f MiB of state; keys and values %.0f KiB per token in bf16, %.1f GiB at "
      "256K "
      "tokens\n",
      double(plait::recurrent_state_bytes(c)) / (1024 * 1024),
      double(plait::kv_cache_bytes(c, 1, 2)) / 1024,
      double(plait::kv_cache_bytes(c, 256 * 1024, 2)) / gib);
  if (auto const longest =
          plait::max_context(c, plait::int8, std::int64_t{80} * 1024 * 1024 * 1024);
      longest > 0)
    std::printf("in 80 GiB    int8 weights leave room for one sequence of %lld tokens\n",
                static_cast<long long>(longest));
  else
    std::printf("in 80 GiB    int8 weights do not fit\n");
  std::printf("work         per token, bf16       GFLOP     GB read\n");
  for (std::int64_t context : {std::int64_t{0}, std::int64_t{4096}, std::int64_t{262143}}) {
    auto const cost = plait::decode_cost(c, plait::bf16, context);
    std::printf("             decode after %-7lld %8.1f %11.3f\n", static_cast<long long>(context),
                double(cost.flops) / 1e9, double(cost.bytes) / 1e9);
  }
  auto const cost = plait::prefill_cost(c, plait::bf16, 2048);
  std::printf("             prefill of %-7d  %8.1f %11.3f\n", 2048, double(cost.flops) / 1e9,
              double(cost.bytes) / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  std::string_view const which = argc > 1 ? argv[1] : "v0.1";
  if (which == "v0.1")
    print("Jamba v0.1", plait::configs::jamba_v0_1, 8);
  else if (which == "1.5-large")
    print("Jamba 1.5 Large", plait::configs::jamba_1_5_large, 8);
  else if (which == "reasoning-3b")
    print("Jamba Reasoning 3B", plait::configs::jamba_reasoning_3b, 14);
  else if (which == "mixtral-8x7b")
    print("Mixtral 8x7B", plait::configs::mixtral_8x7b, 8);
  else {
    std::fprintf(stderr,
                 "released_map: '%s' is none of v0.1, 1.5-large, reasoning-3b, mixtral-8x7b\n",
                 argv[1]);
    return 1;
  }
}
