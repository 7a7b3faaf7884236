// A model from a directory with config.json and safetensors.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/parallel_packer.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Finds the tensors of a model in a checkpoint, checks that each has its shape and that none is
/// left over.
class tensor_finder {
 public:
  explicit tensor_finder(checkpoint const& file) : file_(file) {}

  /// Rows of one copy of a tensor: where they lie, `rows` of them, each `cols` values.
  struct source {
    tensor_view const* view;
    std::int64_t first;  // element of the first row
  };

  /// The place of copy `e` of tensor t; per-expert names, or the fused ones (gate rows first, then
  /// up).
  source find(std::vector<std::string> const& stems, std::string const& leaf, tensor const& t,
              std::int64_t e) {
    std::string_view const own = t.name;
    if (t.role == role::expert && (own == "gate_proj" || own == "up_proj" || own == "down_proj"))
      for (std::string const& stem : stems) {
        std::string const experts = stem + "experts.";
        if (file_.find(experts + "gate_up_proj") == nullptr &&
            file_.find(experts + "down_proj") == nullptr)
          continue;
        // One fused tensor decides for the layer: per-expert tensors beside it are left over, and
        // that is said.
        bool const down = own == "down_proj";
        std::int64_t const rows = down ? t.rows : 2 * t.rows;
        tensor_view const& view = file_.at(experts + (down ? "down_proj" : "gate_up_proj"));
        use(view, {t.copies, rows, t.cols});
        return {&view, (e * rows + (own == "up_proj" ? t.rows : 0)) * t.cols};
      }
    std::string const rest = copy_prefix(t, e) + leaf;
    tensor_view const* view = nullptr;
    for (auto stem = stems.begin(); view == nullptr && stem != stems.end(); ++stem)
      view = file_.find(*stem + rest);
    if (view == nullptr) view = &file_.at(stems.front() + rest);  // says that it is missing
    use(*view, shape_in_file(t));
    return {view, 0};
  }

  /// A tensor nobody asked for is an error, but for the head of a tied model, which some files
  /// repeat.
  void expect_nothing_else(bool tied) const {
    for (std::string_view const name : file_.names())
      if (!used_.contains(name) && !(tied && name == "lm_head.weight"))
        fail(file_.where(name),
             "tensor " + in_quotes(name) + " is unexpected: this model has no place for it");
  }

 private:
  void use(tensor_view const& view, std::vector<std::int64_t> const& shape) {
    if (view.shape != shape)
      fail(view, "has shape " + shape_text(view.shape) + ", expected " + shape_text(shape));
    if (view.type != stored_type::f32 && view.type != stored_type::f16 &&
        view.type != stored_type::bf16)
      fail(view, "is of type " + std::string(info(view.type).name) +
                     "; weights are read from F32, F16 or BF16");
    used_.insert(view.name);
  }

  checkpoint const& file_;
  std::set<std::string, std::less<>> used_;
};

/// How a checkpoint is loaded.
struct load_options {
  int threads =
      0;  ///< that pack; 0: all of the machine's, and one where the compiler has no OpenMP
  /// Called with bytes of the checkpoint's tensors: (0, total), then with ever more done, at last
  /// (total, total). By one thread at a time, not always the same one. What it throws ends the load
  /// and is thrown by it.
  load_progress::callback progress{};
};

/// Reads the weights of `directory` (config.json of any family in io/family.hpp; model.safetensors
/// or shards with an index; F32, F16 or BF16) into a model or reference_model of type Model.
/// Everything is checked before anything is allocated: a config.json that describes another type, a
/// missing, surplus or wrongly shaped tensor is a plait::error with file, tensor and both values.
///
/// Each tensor is read once: linear maps in panels by all threads, to the same bits however many
/// there are; everything else row by row on the calling one. What has been read of the files is
/// given back on the way, so that beside the model it takes about a panel a thread.
///
/// ```cpp
/// // The type is what plait-config prints of the checkpoint, or one of plait/models.
/// inline std::unique_ptr<plait::jamba_reasoning_3b<>> reasoning(std::string const& directory) {
///   return plait::io::load<plait::jamba_reasoning_3b<>>(directory);
/// }
/// ```
///
/// Equation: config.json, of any family, must describe the type; each tensor must be there with its
///   shape, as F32, F16 or BF16, and none may be left over, but for the head that some files of a
///   tied model repeat. Experts are read one by one, or fused: gate_up_proj, the gate's rows first,
///   and down_proj
/// Shapes: a unique_ptr to a Model: a `model` or a `reference_model`. `threads` that pack, 0 for
///   all of the machine's; `progress(done, total)` in bytes of the checkpoint's tensors, from (0,
///   total) to (total, total), by one thread at a time. Fused are [experts, 2 d_ff, d_model] and
///   [experts, d_model, d_ff]; `first` is the element of the view at which a copy's first row
///   begins
/// Errors: those of checkpoint.hpp and of config.json's family (family.hpp). All of them come
///   before the model is allocated. What `progress` throws ends the load and is thrown by it
/// Cost: reads each tensor once. Tensors with `set_part` (panel_matrix (cpu/panel_matrix.hpp)) are
///   packed by all threads, to the same bits however many there are, the others row by row on the
///   calling thread. The peak of memory is the model and 1 MiB or so a thread: what has been read
///   of the mapped files is given back
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
    for (std::int64_t e = 0; e < t.copies; ++e)
      total +=
          t.rows * t.cols * info(finder.find(stems, names.leaf(part, t), t, e).view->type).bytes;
  });
  finder.expect_nothing_else(tied);

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
        for (std::int64_t r = 0, read = 0; r < t.rows; ++r) {
          widen(*view, first + r * t.cols, row);
          data.set_row(e, r, row.data());
          read += t.cols;
          if (read < (1 << 20) && r + 1 < t.rows) continue;
          file.drop(*view, first + (r + 1) * t.cols - read, read);
          progress.add(std::exchange(read, 0) * info(view->type).bytes);
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
