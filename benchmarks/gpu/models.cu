// Jamba v0.1 whole, in int8, weights drawn at random on the device: decode steps and prompts beside what their bytes take at the rate of a
// copy.
//   gpu_models PART
#include "measure.hpp"

#include <chrono>
#include <cmath>
#include <memory>

namespace {

constexpr auto config = plait::configs::jamba_v0_1;
constexpr auto precision = plait::int8;
using model = plait::model<plait::configs::jamba_v0_1, plait::exec::cuda<plait::int8>>;

struct session {
  model::exec_type exec;
  model net;
  plait::cache_pool<model> pool;
  std::vector<plait::cache<model>> sequences;
  plait::batch<model> batch;
  bench::on_device<float> logits;
  double copy;

  session(std::int64_t count, std::int64_t chunk, std::int64_t context) : logits(count * model::vocab_size), copy(bench::copy_rate(exec)) {
    bench::fill_weights(exec, net);
    net.reserve(exec, std::max(count, chunk), count);
    for (std::int64_t s = 0; s < count; ++s) sequences.push_back(pool.make()), sequences.back().reserve(context);
  }
  /// `tokens` more of each sequence that is wanted.
  void forward(std::int64_t tokens, std::size_t first, std::size_t end) {
    batch.clear();
    for (std::size_t s = first; s < end; ++s) {
      ids_.resize(std::size_t(tokens));
      for (std::size_t i = 0; i < ids_.size(); ++i)
        ids_[i] = static_cast<std::int32_t>(bench::scrambled((s + 1) * 0x9e3779b97f4a7c15u + std::uint64_t(sequences[s].length()) + i) % model::vocab_size);
      batch.add(sequences[s], ids_);
    }
    net.forward(exec, batch, {logits.data(), batch.rows_wanted(), model::vocab_size});
  }

 private:
  std::vector<std::int32_t> ids_;
};

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// Steps on top of 1000 tokens: weights as far as random routing reaches them, keys and values, and the state, read and written.
void decode(std::int64_t count, bool overlap) {
  std::int64_t const context = 1000, steps = 200;
  session s(count, 1024, context + 2 * steps + 100);
  s.exec.runtime.overlap(overlap);
  for (std::size_t i = 0; i < s.sequences.size(); ++i) s.forward(context, i, i + 1);
  for (int i = 0; i < 30; ++i) s.forward(1, 0, s.sequences.size());
  double least = 1e9;
  for (int round = 0; round < 4; ++round) {
    s.exec.runtime.synchronize();
    double const start = seconds();
    for (std::int64_t i = 0; i < steps / 4; ++i) s.forward(1, 0, s.sequences.size());
    s.exec.runtime.synchronize();
    least = std::min(least, (seconds() - start) / double(steps / 4));
  }
  double const bytes = double(plait::policies::weight_traffic(config, precision, count)) + 2.0 * double(plait::recurrent_state_bytes(config, count)) +
                       double(plait::kv_cache_bytes(config, context, 2, count));
  std::vector<float> here(model::vocab_size);
  model::memory::copy_out(s.logits.data(), s.logits.size() / count, here.data());
  bool finite = true;
  for (float x : here) finite &= std::isfinite(x);
  bench::head();
  bench::row("decode step, v0.1 in int8, " + std::to_string(count) + " sequences at 1000 tokens" + (overlap ? ", overlapped" : ""), least * 1e9, bytes, s.copy,
             bench::number("%.2f x the floor, ", least * 1e9 * s.copy / bytes) + bench::number("%.0f tokens/s", double(count) / least) + (finite ? "" : ", NOT FINITE"));
}

void prefill(std::int64_t tokens) {
  std::int64_t const chunk = std::min<std::int64_t>(tokens, 8192);
  session s(1, chunk, 2 * tokens + 64);
  s.forward(64, 0, 1);
  double least = 1e9;
  for (int round = 0; round < 3; ++round) {
    s.sequences[0].truncate(0);
    s.sequences[0].reserve(tokens);
    s.exec.runtime.synchronize();
    double const start = seconds();
    for (std::int64_t t = 0; t < tokens; t += chunk) s.forward(std::min(chunk, tokens - t), 0, 1);
    s.exec.runtime.synchronize();
    least = std::min(least, seconds() - start);
  }
  bench::head();
  bench::row("prompt of " + std::to_string(tokens) + " tokens, v0.1 in int8, " + std::to_string(chunk) + " a call", least * 1e9,
             double(plait::policies::weight_traffic(config, precision, 0)), s.copy, bench::number("%.0f tokens/s", double(tokens) / least));
}

/// 1024 tokens in, 128 out, one sequence.
void request() {
  session s(1, 1024, 4096);
  double least = 1e9;
  for (int round = 0; round < 3; ++round) {
    s.sequences[0].truncate(0);
    s.sequences[0].reserve(1024 + 128);
    s.exec.runtime.synchronize();
    double const start = seconds();
    s.forward(1024, 0, 1);
    for (int i = 0; i < 127; ++i) s.forward(1, 0, 1);
    s.exec.runtime.synchronize();
    least = std::min(least, seconds() - start);
  }
  std::printf("1024 + 128 tokens, v0.1 in int8, one sequence: %.3f s (asked for: 0.78)\n", least);
}

/// Pages that are allocated for keys and values.
void kv() {
  model::exec_type const exec;
  for (auto const& [name, layout] : {std::pair{"Jamba v0.1", model::layout}, {"Mixtral", plait::model<plait::configs::mixtral_8x7b, plait::exec::cuda<plait::int8>>::layout}}) {
    std::size_t before = 0, after = 0, total = 0;
    bench::cuda_check::that(cudaMemGetInfo(&before, &total), "cudaMemGetInfo");
    plait::basic_cache_pool<float, plait::exec::cuda_memory> pool(layout);
    auto sequence = pool.make();
    sequence.reserve(262144);
    bench::cuda_check::that(cudaMemGetInfo(&after, &total), "cudaMemGetInfo");
    std::printf("%s: %.2f GiB allocated for 262144 tokens\n", name, double(before - after) / (1 << 30));
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_part(argc, argv, [](std::string const& part) {
    if (part == "decode_1") decode(1, false), decode(1, true);
    else if (part == "decode_64") decode(64, false), decode(64, true);
    else if (part == "request") request();
    else if (part == "prefill_8k") prefill(8192);
    else if (part == "prefill_128k") prefill(131072);
    else if (part == "kv") kv();
    else return false;
    return true;
  });
}
