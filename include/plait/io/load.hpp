// Loads a model from a checkpoint directory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/load_progress.hpp>
#include <plait/io/parallel_packer.hpp>
#include <plait/io/tensor_finder.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Options of `load`.
struct load_options {
  /// Threads that pack; 0: all of the machine's, or one if the compiler has no OpenMP.
  int threads = 0;
  /// Called with bytes of the checkpoint's tensors, from (0, total) to (total, total), by one
  /// thread at a time but not always the same one. An exception from it ends the load, which throws
  /// it.
  load_progress::callback progress{};
};

/// Reads the weights of a checkpoint directory into a model or reference_model of type Model.
/// Everything is checked before the model is allocated.
///
/// ```cpp
/// // The type comes from plait-config, or from plait/models.
/// inline std::unique_ptr<plait::jamba_reasoning_3b<>> reasoning(std::string const& directory) {
///   return plait::io::load<plait::jamba_reasoning_3b<>>(directory);
/// }
/// ```
///
/// Equation: config.json, of any family (family.hpp), must describe the type. Every tensor must
///   exist with its shape, as F32, F16 or BF16, and no other tensor may exist, except the head that
///   some files of a tied model repeat. Experts are separate tensors or fused (tensor_finder.hpp)
/// Errors: those of files/checkpoint.hpp, tensor_finder.hpp and of config.json's family
/// Cost: reads each tensor once. Tensors with `set_part` (cpu/panel_matrix.hpp) are packed by all
///   threads, with the same bits for any number of them, others row by row on the calling thread.
///   The peak of memory is the model and about 1 MiB per thread, since pages of the files are
///   released once read
/// Test: tests/unit/io/load_test.cpp, tests/unit/io/parallel_packer_test.cpp,
///   tests/unit/io/load_memory_test.cpp, tests/unit/models/mixtral/checkpoint_test.cpp,
///   tests/unit/io/golden_test.cpp, tests/unit/io/embedded_test.cpp
template <class Model>
std::unique_ptr<Model> load(std::string const& directory, load_options const& options = {}) {
  static constexpr auto config = Model::config;
  constexpr bool tied = Model::tied;
  tensor_names const names(config, require_same(config_file(directory), config));
  checkpoint const file(directory);
  tensor_finder finder(file);

  std::int64_t total = 0;
  Model::describe_tensors([&](int layer, std::string_view part, tensor const& t) {
    std::vector<std::string> const stems = names.stems(layer, part);
    for (std::int64_t e = 0; e < t.copies; ++e) {
      tensor_view const& view = *finder.find(stems, names.leaf(part, t), t, e).view;
      total += t.rows * t.cols * info(view.type).bytes;
    }
  });
  finder.require_all_used(tied);

  load_progress progress(options.progress, total);
  auto model = std::make_unique<Model>();
  parallel_packer packer(options.threads);
  std::vector<float> row;
  model->for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    std::vector<std::string> const stems = names.stems(layer, part);
    for (std::int64_t e = 0; e < t.copies; ++e) {
      auto const [view, first] = finder.find(stems, names.leaf(part, t), t, e);
      if constexpr (requires { data.set_part(e, e, e, e, row.data()); }) {
        packer.add(data, e, *view, first);
      } else {
        row.resize(static_cast<std::size_t>(t.cols));
        std::int64_t pending = 0;  // values read since the last drop
        for (std::int64_t r = 0; r < t.rows; ++r) {
          widen(*view, first + r * t.cols, row);
          data.set_row(e, r, row.data());
          pending += t.cols;
          if (pending < (1 << 20) && r + 1 < t.rows) continue;
          file.drop(*view, first + (r + 1) * t.cols - pending, pending);
          progress.add(std::exchange(pending, 0) * info(view->type).bytes);
        }
      }
    }
  });
  packer.run(file, progress);
  return model;
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
