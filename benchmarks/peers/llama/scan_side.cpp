// The selective scan and the convolution of plait and of ggml, in turns, at Jamba v0.1's width.
//
//   scan_side THREADS [TURNS]
//
// plait's scan includes softplus, D u and the gate, its convolution bias and SiLU. ggml's are the
// single ops ggml_ssm_scan (with softplus) and ggml_ssm_conv; the ops that llama.cpp adds around
// them are not timed. The results of the convolution, and of the scan with D = 0 and a gate of one,
// are compared with ggml's.
#include "../ops.hpp"

#include <ggml-cpu.h>
#include <ggml.h>

namespace {

constexpr std::int64_t channels = 8192, states = 16, taps = 4, tokens = 2048;

struct graph {
  ggml_context* context;
  ggml_cgraph* nodes = nullptr;
  ggml_cplan plan{};
  std::vector<std::uint8_t> work;
  explicit graph(std::size_t bytes) : context(ggml_init({bytes, nullptr, false})) {}
  graph(graph const&) = delete;
  ~graph() { ggml_free(context); }
  void build(ggml_tensor* result, int threads) {
    nodes = ggml_new_graph(context);
    ggml_build_forward_expand(nodes, result);
    plan = ggml_graph_plan(nodes, threads, nullptr);
    work.resize(plan.work_size + 64);
    plan.work_data = work.data();
  }
  void run() { ggml_graph_compute(nodes, &plan); }
};
float* values(ggml_tensor* t) { return static_cast<float*>(t->data); }

struct one_sequence {
  std::int64_t first_row[2] = {0, tokens}, length = 0;
  std::vector<float> state;
  float* pointer;
  explicit one_sequence(std::int64_t n)
      : state(static_cast<std::size_t>(n)), pointer(state.data()) {}
  plait::sequences<float> view() {
    return {.count = 1, .first_row = first_row, .length = &length, .state = &pointer};
  }
};

void report(char const* name, int threads, std::pair<double, double> seconds, double off) {
  if (!(off < 1e-4))
    throw std::runtime_error(std::string(name) + ": the results differ by " + std::to_string(off) +
                             " of the largest");
  double const each = 1e9 / double(channels * tokens);
  side::print({{"what", name},
               {"threads", threads},
               {"plait_ns", seconds.first * each},
               {"peer", "ggml"},
               {"peer_ns", seconds.second * each},
               {"ratio", seconds.second / seconds.first},
               {"difference", off}});
}

void scan(int threads, int turns) {
  graph g(std::size_t{1} << 30);
  ggml_tensor *s = ggml_new_tensor_4d(g.context, GGML_TYPE_F32, states, 1, channels, 1),
              *x = ggml_new_tensor_4d(g.context, GGML_TYPE_F32, 1, channels, tokens, 1),
              *dt = ggml_new_tensor_3d(g.context, GGML_TYPE_F32, channels, tokens, 1),
              *a = ggml_new_tensor_2d(g.context, GGML_TYPE_F32, states, channels),
              *b = ggml_new_tensor_4d(g.context, GGML_TYPE_F32, states, 1, tokens, 1),
              *c = ggml_new_tensor_4d(g.context, GGML_TYPE_F32, states, 1, tokens, 1),
              *id = ggml_new_tensor_1d(g.context, GGML_TYPE_I32, 1);
  side::fill(values(s), states * channels, 0, 0, 1);
  side::fill(values(x), channels * tokens, -1, 1, 2);
  side::fill(values(dt), channels * tokens, -5, -1, 3);
  side::fill(values(b), states * tokens, -1, 1, 4);
  side::fill(values(c), states * tokens, -1, 1, 5);
  static_cast<std::int32_t*>(id->data)[0] = 0;
  plait::state_tensor a_log;
  a_log.allocate({.name = "A_log", .role = plait::role::state, .rows = channels, .cols = states});
  for (std::int64_t d = 0; d < channels; ++d) {
    float row[states];
    for (std::int64_t n = 0; n < states; ++n) {
      row[n] = std::log(static_cast<float>(n + 1) + 0.01f * static_cast<float>(d % 7));
      values(a)[d * states + n] = -std::exp(row[n]);
    }
    a_log.set_row(0, d, row);
  }
  ggml_tensor* const y = ggml_ssm_scan(g.context, s, x, dt, a, b, c, id, 1);
  g.build(y, threads);

  plait::exec::cpu<> exec(threads);
  plait::channel_tensor skip;
  skip.allocate({.name = "D", .rows = channels});
  one_sequence sequence(channels * states);
  // A gate z with silu(z) = 1.
  std::vector<float> out(static_cast<std::size_t>(channels * tokens)), z(out.size(), 1.2784645f),
      u(values(x), values(x) + channels * tokens);
  auto const run = [&] {
    std::fill(sequence.state.begin(), sequence.state.end(), 0.0f);
    plait::ops::selective_scan(exec, sequence.view(),
                               {{u.data(), tokens, channels},
                                {z.data(), tokens, channels},
                                {values(dt), tokens, channels},
                                {values(b), tokens, states},
                                {values(c), tokens, states}},
                               a_log, skip, {out.data(), tokens, channels});
  };
  auto const seconds = side::in_turns(turns, run, [&] { g.run(); });
  report("selective_scan", threads, seconds,
         side::difference(out.data(), values(y), channels * tokens));
}

void conv(int threads, int turns) {
  graph g(std::size_t{1} << 29);
  ggml_tensor *x = ggml_new_tensor_3d(g.context, GGML_TYPE_F32, tokens + taps - 1, channels, 1),
              *w = ggml_new_tensor_2d(g.context, GGML_TYPE_F32, taps, channels);
  side::fill(values(x), (tokens + taps - 1) * channels, -1, 1, 6);
  side::fill(values(w), taps * channels, -1, 1, 7);
  for (std::int64_t d = 0; d < channels; ++d)
    for (std::int64_t t = 0; t < taps - 1; ++t)
      values(x)[d * (tokens + taps - 1) + t] = 0;  // an empty window
  ggml_tensor* const y = ggml_ssm_conv(g.context, x, w);
  g.build(y, threads);

  plait::exec::cpu<> exec(threads);
  plait::channel_tensor kernel, bias;
  kernel.allocate({.name = "conv1d", .rows = channels, .cols = taps});
  bias.allocate({.name = "bias", .rows = channels});
  for (std::int64_t d = 0; d < channels; ++d) kernel.set_row(0, d, values(w) + d * taps);
  one_sequence sequence(channels * (taps - 1));
  plait::buffer<float> u(channels * tokens), out(channels * tokens), expected(channels * tokens);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (std::int64_t d = 0; d < channels; ++d)
      u[t * channels + d] = values(x)[d * (tokens + taps - 1) + t + taps - 1];
  auto const run = [&] {
    std::fill(sequence.state.begin(), sequence.state.end(), 0.0f);
    plait::ops::conv_silu(exec, sequence.view(), {u.data(), tokens, channels}, kernel, &bias,
                          {out.data(), tokens, channels});
  };
  auto const seconds = side::in_turns(turns, run, [&] { g.run(); });
  for (std::int64_t i = 0; i < channels * tokens; ++i)
    expected[i] = values(y)[i] / (1 + std::exp(-values(y)[i]));
  report("conv_silu", threads, seconds,
         side::difference(out.data(), expected.data(), channels * tokens));
}

}  // namespace

int main(int argc, char** argv) {
  int const threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1,
            turns = argc > 2 ? std::max(1, std::atoi(argv[2])) : 7;
  try {
    scan(threads, turns);
    conv(threads, turns);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "scan_side: %s\n", e.what());
    return 1;
  }
}
