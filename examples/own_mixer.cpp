// A custom mixer in four steps, without a change of plait: a policy, its tensors, its layer, and
// the specialisation that binds them. Weights, initialization, checkpoints, counts, and a state
// that is forked, restored and truncated follow, as for plait's mixers.
#include <plait/plait.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>

namespace mine {

// 1. The policy: hyperparameters and costs. plait finds these functions by argument-dependent
// lookup.
/// An exponential moving average per channel: h_t = h_(t-1) + a (u_t - h_(t-1)) with u = in_proj x
/// and a = sigmoid(decay); y = out_proj h.
struct ema {
  int expand = 1;
  friend constexpr bool operator==(ema const&, ema const&) = default;
};

/// h of one sequence.
constexpr std::int64_t state_values(ema const& p, int d_model) {
  return std::int64_t{p.expand} * d_model;
}
constexpr std::int64_t extra_flops(ema const& p, int d_model, std::int64_t) {
  return std::int64_t{3} * p.expand * d_model;
}

// 2. Its tensors, each with a role (how it is stored) and a start (how it is initialized).
template <class Visit>
constexpr void describe(ema const& p, int d_model, Visit&& visit) {
  std::int64_t const d = std::int64_t{p.expand} * d_model;
  visit(plait::tensor{.name = "in_proj", .rows = d, .cols = d_model});
  visit(plait::tensor{
      .name = "decay", .role = plait::role::vector, .rows = d, .start = plait::initial::one});
  visit(plait::tensor{.name = "out_proj", .rows = d_model, .cols = d});
}

// 3. Its layer for the host's execution policies: float on exec::cpu, double on exec::reference.
template <int D, ema P>
struct ema_layer {
  PLAIT_RULE(expand, P.expand > 0, "mine: ema needs expand, at least 1");
  // Any split into calls gives the same bits.
  static constexpr plait::continuation continues = plait::continuation::bitwise;

  template <class Exec, class Weights, class Observer, class T = typename Exec::value_type>
  static void forward(Exec& exec, Weights const& w, plait::layer_settings const&,
                      plait::sequences<T> const& sequences,
                      plait::matrix_view<std::type_identity_t<T> const> x,
                      plait::matrix_view<std::type_identity_t<T>> y, Observer&& see) {
    constexpr std::int64_t d = P.expand * D, block = 16, blocks = (d + block - 1) / block;
    plait::arena::frame const scratch(exec.workspace);
    auto const u = exec.template matrix<T>(x.rows(), d);
    plait::ops::linear(exec, x, plait::ops::into(u, w.template get<"in_proj">()));
    auto const& decay = w.template get<"decay">();
    // An item writes the channels of one block of one sequence.
    exec.parallel(sequences.count * blocks, [&](std::int64_t item, int) {
      std::int64_t const s = item / blocks, first = item % blocks * block;
      T* const h = sequences.state_of(s);
      for (std::int64_t c = first; c < std::min(d, first + block); ++c) {
        T const a = 1 / (1 + std::exp(-decay(c)));
        for (std::int64_t t = sequences.first_row[s]; t < sequences.first_row[s + 1]; ++t) {
          h[c] += a * (u(t, c) - h[c]);
          u(t, c) = h[c];
        }
      }
    });
    see("averages", plait::matrix_view<T const>(u));
    plait::ops::linear(exec, u, plait::ops::into(y, w.template get<"out_proj">()));
  }
};

}  // namespace mine

// 4. The specialisation that binds them.
template <>
struct plait::layer_of<mine::ema> {
  template <int D, mine::ema P>
  using bind = mine::ema_layer<D, P>;
};

// It is a component like plait's own: a hybrid of attention and moving averages, 1 : 3.
inline constexpr plait::hybrid<plait::attention, mine::ema, plait::mlp, plait::none> config{
    .d_model = 64,
    .vocab_size = 256,
    .layers = {.blocks = 2, .layers_per_block = 4, .attend = 1, .recur = 3},
    .attention = {.num_heads = 4, .num_kv_heads = 2},
    .recurrent = {.expand = 2},
    .dense = {.d_ff = 160}};
static_assert(plait::count(config).recurrent_layers == 6 &&
              plait::recurrent_state_bytes(config) == 6 * 2 * 64 * 4);

int main() {
  plait::model<config> model;
  plait::initialize(model, 1);
  plait::exec::cpu<> exec;
  model.reserve(exec, 16);
  plait::cache_pool<plait::model<config>> pool;
  auto sequence = pool.make({.keep_snapshots = 4, .snapshot_interval = 8});
  std::vector<std::int32_t> const ids{3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
  plait::batch<plait::model<config>> batch;
  auto const run = [&](std::size_t first, std::size_t n) {
    std::vector<float> logits(256);
    sequence.reserve(static_cast<std::int64_t>(n));
    batch.add(sequence, std::span(ids).subspan(first, n));
    model.forward(exec, batch, {logits.data(), 1, 256});
    batch.clear();
    return logits;
  };
  run(0, 8);
  auto const once = run(8, 8);
  // An average has no inverse: truncate restores the snapshot at 8, and two tokens are replayed.
  std::size_t const replay = static_cast<std::size_t>(sequence.truncate(10));
  run(10 - replay, replay);
  bool const same = run(10, 6) == once;
  std::printf("%lld parameters; truncated to 10 tokens by replaying %zu; the same logits: %s\n",
              static_cast<long long>(plait::count(config).total_parameters), replay,
              same ? "yes" : "no");
  return same ? 0 : 1;
}
