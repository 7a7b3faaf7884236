// One Mamba layer without a model: its weights, a sequence, and forward.
//
// A sequence holds its state, so that any split of a prompt into chunks gives the same bits.
#include <plait/plait.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

int main() {
  constexpr int width = 256;
  constexpr std::int64_t tokens = 100, chunk = 37;
  constexpr plait::mamba policy{.d_state = 16, .d_conv = 4, .expand = 2};

  plait::exec::cpu<> exec;
  plait::single_layer<width, policy> layer(42);  // weights from a seed
  layer.reserve(exec, tokens);

  std::vector<float> x(tokens * width), at_once(x.size()), in_chunks(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(0.1f * static_cast<float>(i % 1009));
  plait::matrix_view<float const> const input(x.data(), tokens, width);
  plait::matrix_view<float> const a(at_once.data(), tokens, width),
      b(in_chunks.data(), tokens, width);

  auto whole = layer.make();
  layer.forward(exec, whole, input, a);

  auto sequence = layer.make();
  for (std::int64_t t = 0; t < tokens; t += chunk) {
    std::int64_t const n = std::min(chunk, tokens - t);
    layer.forward(exec, sequence, input.middle_rows(t, n), b.middle_rows(t, n));
  }

  std::printf(
      "mamba, d_model %d: %lld parameters, %lld bytes of state per sequence of any length\n", width,
      static_cast<long long>(plait::policies::parameters(policy, width)),
      static_cast<long long>(layer.layout.state_values * 4));
  std::printf("y[%lld] = %+.6f %+.6f %+.6f ...\n", static_cast<long long>(tokens - 1),
              a(tokens - 1, 0), a(tokens - 1, 1), a(tokens - 1, 2));
  bool const equal = at_once == in_chunks;
  std::printf("%lld tokens in one call and in chunks of %lld: %s\n", static_cast<long long>(tokens),
              static_cast<long long>(chunk), equal ? "the same bits" : "different");
  return equal ? 0 : 1;
}
