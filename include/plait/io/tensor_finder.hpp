// The tensors of a model in a checkpoint.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/tensor_view.hpp>

#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The tensors of a model in a checkpoint: finds each one, checks its shape and type, and finally
/// that the checkpoint has no other tensors.
/// Equation: experts are separate tensors, or fused in gate_up_proj [experts, 2 d_ff, d_model] (the
///   gate's rows first) and down_proj [experts, d_model, d_ff]
/// Errors: that of checkpoint::at, and:
///   - `has shape …, expected …`: after `FILE: tensor "NAME"`
///   - `tensor … is unexpected: this model has no place for it`: thrown by `require_all_used`
/// Cost: a few lookups per tensor; values are not read
/// Test: tests/unit/io/load_test.cpp, tests/unit/models/mixtral/checkpoint_test.cpp
class tensor_finder {
 public:
  explicit tensor_finder(checkpoint const& file) : file_(file) {}

  /// One copy of a tensor: its values begin at element `first` of `view`, row-major.
  struct source {
    tensor_view const* view;
    std::int64_t first;
  };

  /// Finds copy `e` of tensor t, named STEM LEAF with any of the stems, or in a fused tensor.
  source find(std::vector<std::string> const& stems, std::string const& leaf, tensor const& t,
              std::int64_t e) {
    std::string_view const own = t.name;
    if (t.role == role::expert && (own == "gate_proj" || own == "up_proj" || own == "down_proj"))
      for (std::string const& stem : stems) {
        std::string const experts = stem + "experts.";
        if (file_.find(experts + "gate_up_proj") == nullptr &&
            file_.find(experts + "down_proj") == nullptr)
          continue;
        // One fused tensor decides for the layer: tensors of single experts are then unexpected.
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
    if (view == nullptr) view = &file_.at(stems.front() + rest);  // throws
    use(*view, shape_in_file(t));
    return {view, 0};
  }

  /// Throws plait::error for a tensor that was not found by find(), except the head of a tied
  /// model, which some files repeat.
  void require_all_used(bool tied) const {
    for (std::string_view const name : file_.names())
      if (!used_.contains(name) && !(tied && name == "lm_head.weight"))
        fail(file_.where(name), "tensor {} is unexpected: this model has no place for it",
             in_quotes(name));
  }

 private:
  void use(tensor_view const& view, std::vector<std::int64_t> const& shape) {
    if (view.shape != shape)
      fail(view, "has shape {}, expected {}", shape_text(view.shape), shape_text(shape));
    require_weight_type(view);
    used_.insert(view.name);
  }

  checkpoint const& file_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
