// Kernels at Jamba v0.1's widths, activations in bf16, timed beside a copy in the device's memory.
//   gpu_ops PART
#include "measure.hpp"

namespace {

using device = plait::exec::cuda<plait::experts_int8>;
using plait::role;
using T = plait::bf16_t;

constexpr std::int64_t d_model = 4096, d_inner = 8192, states = 16, taps = 4, rank = 256,
                       d_ff = 14336;

plait::matrix_view<T> view(bench::on_device<T>& values, std::int64_t cols) {
  return {values.data(), values.size() / cols, cols};
}

/// The inputs of a scan: u and z side by side, dt, and B and C side by side.
plait::ops::scan_input<T> scan_inputs(bench::on_device<T>& uz, bench::on_device<T>& dt,
                                      plait::matrix_view<T> bc) {
  auto const both = view(uz, 2 * d_inner);
  return {both.middle_cols(0, d_inner), both.middle_cols(d_inner, d_inner), view(dt, d_inner),
          bc.middle_cols(0, states), bc.middle_cols(states, states)};
}

void copy() {
  device exec;
  double const rate = bench::copy_rate(exec);
  std::printf("copy: %.0f GB/s, read and written; %d multiprocessors\n", rate,
              exec.runtime.multiprocessor_count());
}

/// u, z and dt are read, y is written, with 8 N operations per element. The goal: 60 ns per token.
void scan() {
  bench::table<device> rows;
  device& exec = rows.exec;
  auto const a =
      bench::tensor_of<device, role::state>(exec, d_inner, states, 1, 1, plait::initial::log_index);
  auto const d =
      bench::tensor_of<device, role::vector>(exec, d_inner, 1, 1, 2, plait::initial::one);
  for (std::int64_t tokens : {8192, 32768, 131072}) {
    auto uz = bench::filled<device, T>(exec, tokens * 2 * d_inner, 3);
    auto dt = bench::filled<device, T>(exec, tokens * d_inner, 4);
    auto bc = bench::filled<device, T>(exec, tokens * 2 * states, 5);
    bench::on_device<T> y(tokens * d_inner);
    bench::call<device> const call(exec, 1, tokens, 0, d_inner * states, 0);
    auto const run = [&] {
      plait::ops::selective_scan(exec, call.seqs, scan_inputs(uz, dt, view(bc, 2 * states)), a, d,
                                 view(y, d_inner));
    };
    rows.time("selective scan, 1 sequence of " + std::to_string(tokens) + " tokens",
              double(tokens) * (4 * d_inner + 2 * states) * 2, run, [&](double ns) {
                return bench::number("%.1f ns per token and layer", ns / double(tokens));
              });
  }
}

/// The bytes are the weights of the experts reached, read once.
void experts() {
  bench::table<device> rows;
  device& exec = rows.exec;
  auto const gate = bench::tensor_of<device, role::expert>(exec, d_ff, d_model, 16, 1);
  auto const up = bench::tensor_of<device, role::expert>(exec, d_ff, d_model, 16, 2);
  auto const down = bench::tensor_of<device, role::expert>(exec, d_model, d_ff, 16, 3);
  for (std::int64_t tokens : {1, 2, 4, 8, 16, 64, 8192}) {
    auto x = bench::filled<device, T>(exec, tokens * d_model, 4);
    auto logits = bench::filled<device, float>(exec, tokens * 16, 5);
    bench::on_device<T> y(tokens * d_model);
    auto const routed = [&] {
      auto const plan = plait::ops::make_routing(exec, tokens, 16, 2);
      plait::ops::route(exec, {logits.data(), tokens, 16}, plan,
                        plait::router_weights::as_they_are);
      return plan;
    };
    auto const run = [&](auto const& plan) {
      plait::ops::experts(exec, view(x, d_model), plan, gate, up, down, view(y, d_model));
    };
    bench::make_room(exec, [&] {
      plait::arena::frame const scratch(exec.workspace);
      run(routed());
    });
    plait::arena::frame const scratch(exec.workspace);
    auto const plan = routed();
    std::vector<std::int32_t> first(17);
    exec.runtime.copy_to_host(first.data(), plan.first, 17 * 4);
    int reached = 0;
    for (std::size_t e = 0; e < 16; ++e) reached += first[e + 1] > first[e];
    double const bytes = double(reached) * 3 * d_model * d_ff * (1 + 2.0 / 32);
    rows.time_in_place(
        "int8 experts, " + std::to_string(tokens) + " tokens, " + std::to_string(reached) +
            " of 16 reached",
        bytes, [&] { run(plan); },
        [&](double ns) {
          return bench::number("%.0f TFLOP/s", 12.0 * double(tokens) * d_model * d_ff / ns * 1e-3);
        });
  }
}

/// One token per sequence: the state is read and written.
void state() {
  bench::table<device> rows;
  device& exec = rows.exec;
  auto const vector = [&](std::int64_t n) {
    return bench::tensor_of<device, role::vector>(exec, n, 1, 1, 2, plait::initial::one);
  };
  auto const dt_norm = vector(rank), b_norm = vector(states), c_norm = vector(states),
             bias = vector(d_inner), d = vector(d_inner);
  auto const step = bench::tensor_of<device, role::matrix>(exec, d_inner, rank, 1, 3);
  auto const a =
      bench::tensor_of<device, role::state>(exec, d_inner, states, 1, 1, plait::initial::log_index);
  plait::ops::ssm_weights const weights(dt_norm, b_norm, c_norm, step, bias, a, d);
  for (std::int64_t count : {1, 16, 64, 256}) {
    auto uz = bench::filled<device, T>(exec, count * 2 * d_inner, 4);
    auto selected = bench::filled<device, T>(exec, count * (rank + 2 * states), 5);
    auto dt = bench::filled<device, T>(exec, count * d_inner, 6);
    bench::on_device<T> y(count * d_inner);
    bench::call<device> const call(exec, count, 1, 100, d_inner * states, 0);
    auto const both = view(uz, 2 * d_inner), parts = view(selected, rank + 2 * states);
    std::string const sequences = std::to_string(count) + " sequences";
    double const bytes = double(count) * (2.0 * 4 * states + 4 * 2) * d_inner;
    auto const scan = [&] {
      plait::ops::selective_scan(exec, call.seqs,
                                 scan_inputs(uz, dt, parts.middle_cols(rank, 2 * states)), a, d,
                                 view(y, d_inner));
    };
    rows.time("state update, " + sequences, bytes, scan, "the scan alone");
    auto const whole = [&] {
      plait::ops::selective_ssm(
          exec, call.seqs,
          {both.middle_cols(0, d_inner), both.middle_cols(d_inner, d_inner), parts}, weights, 1e-6f,
          view(y, d_inner));
    };
    rows.time("norms, dt_proj and state update, " + sequences, bytes + 2.0 * d_inner * rank, whole,
              "");
  }
}

/// 32 query heads, 8 of keys and values, 128 wide: those are read once.
struct attention_case {
  bench::on_device<T> qkv, y;
  bench::call<device> call;
  attention_case(device& exec, std::int64_t count, std::int64_t tokens, std::int64_t context)
      : qkv(bench::filled<device, T>(exec, count * tokens * 6144, 1)),
        y(count * tokens * d_model),
        call(exec, count, tokens, context, 0, 2 * 8 * 128 * plait::page_tokens) {}
  void run(device& exec) {
    auto const all = view(qkv, 6144);
    plait::ops::paged_attention(exec, call.seqs, {.heads = 32, .kv_heads = 8, .dim = 128},
                                all.middle_cols(0, 4096), all.middle_cols(4096, 1024),
                                all.middle_cols(5120, 1024), view(y, d_model));
  }
};
void decode_attention() {
  bench::table<device> rows;
  for (auto const& [count, context] :
       {std::pair<std::int64_t, std::int64_t>{1, 8192}, {1, 131072}, {8, 131072}, {64, 4096}}) {
    attention_case one(rows.exec, count, 1, context);
    rows.time(
        "attention, a token on top of " + std::to_string(context) + ", " + std::to_string(count) +
            " sequences",
        double(count * context) * 2 * 1024 * 2, [&] { one.run(rows.exec); }, "");
  }
}
void prefill_attention() {
  bench::table<device> rows;
  for (std::int64_t tokens : {4096, 16384, 32768}) {
    attention_case one(rows.exec, 1, tokens, 0);
    auto const time = [&](std::string const& by) {
      rows.time(
          "attention, a prompt of " + std::to_string(tokens) + " tokens" + by,
          double(tokens) * (6144 + 4096) * 2, [&] { one.run(rows.exec); },
          [&](double ns) {
            return bench::number("%.0f TFLOP/s",
                                 2.0 * double(tokens) * double(tokens) * d_model / ns * 1e-3);
          });
    };
#if defined(PLAIT_CUDNN)
    auto& runtime = rows.exec.runtime;
    runtime.cudnn(false);
    time(", own kernel");
    runtime.cudnn(true);
    time(", cuDNN");
    if (!runtime.cudnn_refusal().empty())
      std::printf("that was not cuDNN: %s\n", runtime.cudnn_refusal().c_str());
#else
    time("");
#endif
  }
}

void convolution() {
  bench::table<device> rows;
  device& exec = rows.exec;
  auto const w = bench::tensor_of<device, role::vector>(exec, d_inner, taps, 1, 1);
  auto const bias = bench::tensor_of<device, role::vector>(exec, d_inner, 1, 1, 2);
  for (auto const& [count, tokens] :
       {std::pair<std::int64_t, std::int64_t>{1, 8192}, {1, 65536}, {64, 1}}) {
    auto uz = bench::filled<device, T>(exec, count * tokens * 2 * d_inner, 3);
    bench::on_device<T> y(count * tokens * d_inner);
    bench::call<device> const call(exec, count, tokens, 0, d_inner * (taps - 1), 0);
    auto const run = [&] {
      plait::ops::conv_silu(exec, call.seqs, view(uz, 2 * d_inner).middle_cols(0, d_inner), w,
                            &bias, view(y, d_inner));
    };
    rows.time("convolution and silu, " + std::to_string(count) + " sequences of " +
                  std::to_string(tokens) + " tokens",
              double(count) * (double(tokens) * 4 + 24) * d_inner, run, "");
  }
}

void norms() {
  bench::table<device> rows;
  device& exec = rows.exec;
  auto const w =
      bench::tensor_of<device, role::vector>(exec, d_model, 1, 1, 1, plait::initial::one);
  for (std::int64_t tokens : {1, 64, 8192, 65536}) {
    auto x = bench::filled<device, T>(exec, tokens * d_model, 1, 1e-3f);
    auto y = bench::filled<device, T>(exec, tokens * d_model, 2, 1e-3f);
    bench::on_device<T> out(tokens * d_model);
    auto const run = [&] {
      plait::ops::add_norm(exec, view(x, d_model), plait::matrix_view<T const>(view(y, d_model)), w,
                           1e-6f, view(out, d_model));
    };
    rows.time("residual and norm, " + std::to_string(tokens) + " tokens",
              double(tokens) * d_model * 8, run, "");
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_part(argc, argv, [](std::string const& part) {
    struct entry {
      char const* name;
      void (*run)();
    };
    for (entry const& e : {entry{"copy", copy},
                           {"scan", scan},
                           {"experts", experts},
                           {"state", state},
                           {"decode_attention", decode_attention},
                           {"convolution", convolution},
                           {"norms", norms},
                           {"prefill_attention", prefill_attention}})
      if (part == e.name) {
        e.run();
        return true;
      }
    return false;
  });
}
