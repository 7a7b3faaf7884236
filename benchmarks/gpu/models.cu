// The whole Jamba v0.1 in int8, with random weights: decode steps and prompts beside the time of
// their bytes at the rate of a copy, and beside Mixtral 8x7B with the same kernels.
//   gpu_models PART
#include "measure.hpp"

#include <array>
#include <chrono>
#include <cmath>
#include <memory>

namespace {

constexpr auto config = plait::configs::jamba_v0_1;
constexpr auto precision = plait::int8;
using jamba = plait::model<plait::configs::jamba_v0_1, plait::exec::cuda<plait::int8>>;
using mixtral = plait::model<plait::configs::mixtral_8x7b, plait::exec::cuda<plait::int8>>;

/// A model's sequences and their batch.
template <class Model>
struct sequences_of {
  typename Model::exec_type& exec;
  Model& net;
  plait::cache_pool<Model> pool;
  std::vector<plait::cache<Model>> sequences;
  plait::batch<Model> batch;
  bench::on_device<float> logits;

  sequences_of(typename Model::exec_type& on, Model& of, std::int64_t count, std::int64_t chunk,
               std::int64_t context)
      : exec(on), net(of), logits(count * Model::vocab_size) {
    net.reserve(exec, std::max(count, chunk), count);
    for (std::int64_t s = 0; s < count; ++s) {
      sequences.push_back(pool.make());
      sequences.back().reserve(context);
    }
  }
  /// Forwards `tokens` more tokens of sequences [first, end).
  void forward(std::int64_t tokens, std::size_t first, std::size_t end) {
    batch.clear();
    for (std::size_t s = first; s < end; ++s) {
      ids_.resize(std::size_t(tokens));
      for (std::size_t i = 0; i < ids_.size(); ++i)
        ids_[i] =
            static_cast<std::int32_t>(bench::scrambled((s + 1) * 0x9e3779b97f4a7c15u +
                                                       std::uint64_t(sequences[s].length()) + i) %
                                      Model::vocab_size);
      batch.add(sequences[s], ids_);
    }
    net.forward(exec, batch, {logits.data(), batch.rows_wanted(), Model::vocab_size});
  }
  /// A decode step: one more token of each sequence.
  void step() { forward(1, 0, sequences.size()); }

 private:
  std::vector<std::int32_t> ids_;
};

template <class Model>
struct with_weights {
  typename Model::exec_type exec;
  Model net;
  with_weights() { bench::fill_weights(exec, net); }
};
/// Jamba v0.1 with weights and sequences.
struct jamba_run : with_weights<jamba>, sequences_of<jamba> {
  using with_weights<jamba>::exec;
  double copy;
  jamba_run(std::int64_t count, std::int64_t chunk, std::int64_t context)
      : sequences_of<jamba>(with_weights<jamba>::exec, with_weights<jamba>::net, count, chunk,
                            context),
        copy(bench::copy_rate(exec)) {}
};

/// Seconds of run(), from an idle device to an idle device: the least of `rounds`, each after an
/// untimed rewind().
template <class Exec, class Rewind, class Run>
double least_seconds(int rounds, Exec& exec, Rewind const& rewind, Run const& run) {
  using clock = std::chrono::steady_clock;
  double least = 1e9;
  for (int round = 0; round < rounds; ++round) {
    rewind();
    exec.runtime.synchronize();
    auto const start = clock::now();
    run();
    exec.runtime.synchronize();
    least = std::min(least, std::chrono::duration<double>(clock::now() - start).count());
  }
  return least;
}
constexpr auto no_rewind = [] {};

/// Seconds of a prompt of the first sequence, in calls of `chunk` tokens.
template <class Model>
double prompt_seconds(int rounds, sequences_of<Model>& s, std::int64_t tokens, std::int64_t chunk) {
  auto const rewind = [&] {
    s.sequences[0].truncate(0);
    s.sequences[0].reserve(tokens);
  };
  return least_seconds(rounds, s.exec, rewind, [&] {
    for (std::int64_t t = 0; t < tokens; t += chunk) s.forward(std::min(chunk, tokens - t), 0, 1);
  });
}
/// Seconds of a decode step of all sequences; a round has `steps`.
template <class Model>
double step_seconds(int rounds, sequences_of<Model>& s, std::int64_t steps) {
  auto const run = [&] {
    for (std::int64_t i = 0; i < steps; ++i) s.step();
  };
  return least_seconds(rounds, s.exec, no_rewind, run) / double(steps);
}

/// Decode steps on top of 1000 tokens. The bytes are the weights that random routing reaches, keys
/// and values, and the state, read and written.
void decode(std::int64_t count, bool overlap) {
  std::int64_t const context = 1000, steps = 200;
  jamba_run s(count, 1024, context + 2 * steps + 100);
  s.exec.runtime.overlap(overlap);
  for (std::size_t i = 0; i < s.sequences.size(); ++i) s.forward(context, i, i + 1);
  for (int i = 0; i < 30; ++i) s.step();
  double const least = step_seconds<jamba>(4, s, steps / 4);
  double const bytes = double(plait::policies::weight_traffic(config, precision, count)) +
                       2.0 * double(plait::recurrent_state_bytes(config, count)) +
                       double(plait::kv_cache_bytes(config, context, 2, count));
  std::vector<float> logits(jamba::vocab_size);
  jamba::memory::copy_out(s.logits.data(), s.logits.size() / count, logits.data());
  bool finite = true;
  for (float x : logits) finite &= std::isfinite(x);
  bench::head();
  bench::row("decode step, v0.1 in int8, " + std::to_string(count) + " sequences at 1000 tokens" +
                 (overlap ? ", overlapped" : ""),
             least * 1e9, bytes, s.copy,
             bench::number("%.2f x the floor, ", least * 1e9 * s.copy / bytes) +
                 bench::number("%.0f tokens/s", double(count) / least) +
                 (finite ? "" : ", NOT FINITE"));
}

void prefill(std::int64_t tokens) {
  std::int64_t const chunk = std::min<std::int64_t>(tokens, 8192);
  jamba_run s(1, chunk, 2 * tokens + 64);
  s.forward(64, 0, 1);
  double const least = prompt_seconds<jamba>(3, s, tokens, chunk);
  bench::head();
  bench::row("prompt of " + std::to_string(tokens) + " tokens, v0.1 in int8, " +
                 std::to_string(chunk) + " per call",
             least * 1e9, double(plait::policies::weight_traffic(config, precision, 0)), s.copy,
             bench::number("%.0f tokens/s", double(tokens) / least));
}

/// A prompt of 1024 tokens and 128 generated ones, of one sequence.
void request() {
  jamba_run s(1, 1024, 4096);
  auto const rewind = [&] {
    s.sequences[0].truncate(0);
    s.sequences[0].reserve(1024 + 128);
  };
  double const least = least_seconds(3, s.exec, rewind, [&] {
    s.forward(1024, 0, 1);
    for (int i = 0; i < 127; ++i) s.step();
  });
  std::printf("1024 + 128 tokens, v0.1 in int8, one sequence: %.3f s (goal: 0.78)\n", least);
}

constexpr std::array<std::int64_t, 4> contexts{1024, 8192, 32768, 131072};
struct rates {
  std::int64_t sequences = 0;
  double decode = 0;   ///< generated tokens/s of decode steps
  double request = 0;  ///< generated tokens/s of prompts with 512 tokens after each
};
/// The rates with as many sequences as fit into 80 GB beside weights and workspace. One prompt is
/// timed and counts for every sequence. Steps are timed in the middle of the 512, on random keys
/// and values, in pages of each sequence's own.
template <class Model, class Config>
std::array<rates, contexts.size()> throughput_of(Config const& c) {
  constexpr std::int64_t answer = 512;
  constexpr std::int64_t chunk = 8192;
  constexpr std::int64_t other_bytes = std::int64_t{1} << 30;  // libraries, inputs of a call
  with_weights<Model> w;
  std::array<rates, contexts.size()> all;
  for (std::size_t i = 0; i < contexts.size(); ++i) {
    std::int64_t const context = contexts[i];
    double prompt = 1e9;
    {
      sequences_of<Model> one(w.exec, w.net, 1, chunk, context);
      prompt = prompt_seconds(context <= 8192 ? 3 : 1, one, context, chunk);
    }
    std::int64_t const left = 80'000'000'000 - plait::weight_bytes(c, precision) -
                              w.exec.workspace.capacity() - other_bytes;
    std::int64_t const count =
        left / (plait::kv_cache_bytes(c, context + answer, 2) + plait::recurrent_state_bytes(c));
    all[i].sequences = count;
    if (count < 1) continue;
    sequences_of<Model> many(w.exec, w.net, count, 1, context + answer);
    std::vector<std::byte*> pages(std::size_t(context + answer) / plait::page_tokens);
    for (std::size_t s = 0; s < many.sequences.size(); ++s) {
      many.sequences[s].page_table(context + answer, pages.data());
      for (std::size_t p = 0; p < pages.size(); ++p)
        bench::fill(w.exec, reinterpret_cast<bench::bf16_t*>(pages[p]),
                    Model::layout.page_bytes / 2, s * pages.size() + p);
      many.sequences[s].advance(context + answer / 2);
    }
    for (int warm = 0; warm < 5; ++warm) many.step();
    double const step = step_seconds(3, many, 10);
    all[i].decode = double(count) / step;
    all[i].request = double(count * answer) / (double(count) * prompt + double(answer) * step);
  }
  return all;
}
void throughput() {
  auto const of_jamba = throughput_of<jamba>(plait::configs::jamba_v0_1);
  auto const of_mixtral = throughput_of<mixtral>(plait::configs::mixtral_8x7b);
  std::printf(
      "| context | sequences in 80 GB, Jamba v0.1 / Mixtral | decode, tokens/s | ratio (at 128K: "
      "3) | prompt and 512 tokens, tokens/s | ratio (at 128K: 2) |\n|---|---|---|---|---|---|\n");
  for (std::size_t i = 0; i < contexts.size(); ++i)
    std::printf("| %lld | %lld / %lld | %.0f / %.0f | %.2f | %.1f / %.1f | %.2f |\n",
                static_cast<long long>(contexts[i]), static_cast<long long>(of_jamba[i].sequences),
                static_cast<long long>(of_mixtral[i].sequences), of_jamba[i].decode,
                of_mixtral[i].decode, of_jamba[i].decode / of_mixtral[i].decode,
                of_jamba[i].request, of_mixtral[i].request,
                of_jamba[i].request / of_mixtral[i].request);
}

/// The memory allocated for keys and values.
void kv() {
  jamba::exec_type const exec;
  for (auto const& [name, layout] :
       {std::pair{"Jamba v0.1", jamba::layout}, {"Mixtral", mixtral::layout}}) {
    std::size_t before = 0, after = 0, total = 0;
    bench::cuda_status::check(cudaMemGetInfo(&before, &total), "cudaMemGetInfo");
    plait::basic_cache_pool<float, plait::exec::cuda_memory> pool(layout);
    auto sequence = pool.make();
    sequence.reserve(262144);
    bench::cuda_status::check(cudaMemGetInfo(&after, &total), "cudaMemGetInfo");
    std::printf("%s: %.2f GiB allocated for 262144 tokens\n", name,
                double(before - after) / (1 << 30));
  }
}

}  // namespace

int main(int argc, char** argv) {
  return bench::run_part(argc, argv, [](std::string const& part) {
    if (part == "decode_1" || part == "decode_64") {
      std::int64_t const count = part == "decode_1" ? 1 : 64;
      decode(count, false);
      decode(count, true);
    } else if (part == "request")
      request();
    else if (part == "prefill_8k")
      prefill(8192);
    else if (part == "prefill_128k")
      prefill(131072);
    else if (part == "kv")
      kv();
    else if (part == "throughput")
      throughput();
    else
      return false;
    return true;
  });
}
