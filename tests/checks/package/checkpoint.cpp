// Loads the checkpoint of plait_add_architecture and compares its logits with those of
// transformers.
//   checkpoint DIR
#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <cmath>
#include <cstdio>
#include <vector>

int main(int argc, char** argv) {
  using model = checkpoint_architecture::model<>;
  constexpr std::int64_t vocab = model::vocab_size;
  if (argc != 2) return 2;
  std::string const directory = argv[1];
  auto const net = plait::io::load<model>(directory);
  plait::io::safetensors const golden(directory + "/golden.safetensors");
  auto const& shape = golden.at("logits").shape;  // [B, T, V]
  auto const all = plait::io::read<std::int64_t>(golden.at("input_ids"));
  auto const expected = plait::io::read<float>(golden.at("logits"));
  std::vector<std::int32_t> ids;
  for (std::int64_t t = 0; t < shape[1]; ++t)
    ids.push_back(static_cast<std::int32_t>(all[static_cast<std::size_t>(t)]));

  plait::exec::cpu<> cpu;
  plait::cache_pool<model> pool;
  auto sequence = pool.make();
  net->reserve(cpu, shape[1]);
  sequence.reserve(shape[1]);
  std::vector<float> logits(ids.size() * static_cast<std::size_t>(vocab));
  plait::batch<model> batch;
  batch.add(sequence, ids, plait::rows::all);
  net->forward(cpu, batch, {logits.data(), shape[1], vocab});

  float worst = 0, most = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    worst = std::fmax(worst, std::fabs(logits[i] - expected[i]));
    most = std::fmax(most, std::fabs(expected[i]));
  }
  std::printf("%lld tokens; the largest difference is %g of %g\n", static_cast<long long>(shape[1]),
              double{worst}, double{most});
  return worst < 1e-4f * most ? 0 : 1;  // f32 twice
}
