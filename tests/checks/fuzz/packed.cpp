// The input is a packed file.
#include "target.hpp"

#include <plait/io/load_packed.hpp>
#include <plait/io/save_packed.hpp>
#include <plait/plait.hpp>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

using namespace plait::io;
using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {

constexpr char const* path = "x.packed";

// One feed-forward, without a vocabulary: a file of 3 KB.
inline constexpr plait::hybrid<plait::none, plait::none, plait::mlp, plait::none> architecture{
    .d_model = 4,
    .vocab_size = plait::no_vocabulary,
    .layers = {.layers_per_block = 1, .recur = 1},
    .dense = {.d_ff = 3}};
using model = plait::model<architecture, plait::exec::cpu<>>;
using narrow_model = plait::model<architecture, plait::exec::cpu<plait::experts_int8>>;

void check(packed_file const& file, std::span<std::byte const> bytes) {
  std::byte const* end = nullptr;
  for (packed_tensor const& t : file.tensors()) {
    require(reinterpret_cast<std::uintptr_t>(t.bytes.data()) % 64 == 0, "a tensor is aligned");
    require(t.bytes.data() == t.extent.data() && t.bytes.size() <= t.extent.size(),
            "a tensor lies in its extent");
    require(t.extent.data() >= bytes.data() + 64 &&
                t.extent.data() + t.extent.size() <= bytes.data() + bytes.size(),
            "a tensor lies in the file");
    require(end == nullptr || t.extent.data() == end, "tensors lie side by side");
    require(t.shape.size() == 3, "a shape has three widths");
    end = t.extent.data() + t.extent.size();
  }
  require(end == nullptr || end == bytes.data() + bytes.size(),
          "the last tensor ends with the file");
  require(file.rows_of_panels() >= 0 && file.path() == path, "a file knows itself");
}

/// Arithmetic with any values succeeds.
template <class Model>
void run(Model const& net) {
  typename Model::exec_type exec(1);
  net.reserve(exec, 1);
  plait::cache_pool<Model> pool;
  auto sequence = pool.make();
  sequence.reserve(1);
  plait::batch<Model> batch;
  float const in[4] = {1, -2, 3, -4};
  float out[4];
  batch.add(sequence, plait::matrix_view<float const>(in, 1, 4), plait::rows::all);
  net.forward_hidden(exec, batch, {out, 1, 4});
}

template <class Model>
void check_model(std::shared_ptr<packed_file const> const& file) {
  std::unique_ptr<Model> net, verified;
  bool const loads = accepted(path, [&] { net = load_packed<Model>(file); });
  bool const whole = accepted(path, [&] { file->verify(); });
  require(accepted(path, [&] { verified = load_packed<Model>(file, {.verify = true}); }) ==
              (loads && whole),
          "a model is loaded with verification if it is loaded and verified");
  if (loads) run(*net);
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  // Aligned; the memory ends with the input where its size is a multiple of 64, as that of accepted
  // files is.
  std::unique_ptr<void, void (*)(void*)> const memory(
      std::aligned_alloc(64, std::max<std::size_t>(64, (size + 63) / 64 * 64)), &std::free);
  if (size > 0) std::memcpy(memory.get(), data, size);
  std::span const bytes(static_cast<std::byte const*>(memory.get()), size);
  std::shared_ptr<packed_file const> file;
  if (!accepted(path, [&] { file = std::make_shared<packed_file const>(path, bytes); })) return 0;
  check(*file, bytes);
  check_model<model>(file);
  check_model<narrow_model>(file);
  return 0;
}
