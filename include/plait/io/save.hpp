// A model to a directory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint_writer.hpp>
#include <plait/io/files/config_file.hpp>

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// How a checkpoint is saved.
struct save_options {
  std::int64_t shard_bytes =
      5'000'000'000;  ///< more than this is written in shards of up to this size
  stored_type type =
      stored_type::f32;  ///< or bf16: every value rounded to the nearest, ties to even
};

/// Writes the weights of a model or reference_model, in the names of its family, so that
/// load<Model>(directory) gives the same values (f32) and, for a Jamba or a Mixtral, transformers'
/// from_pretrained does.
///
/// A config.json that is there stays as it is, with whatever keys of the user's; it must describe
/// this architecture, otherwise nothing is written: another model's checkpoint is never replaced.
/// An architecture knows nothing of special tokens: their keys are null then, so put the original
/// config.json there first if they matter.
///
/// On a plait::error (full disk, no permission) the directory is as it was. checkpoint_writer.hpp
/// has the protocol, which holds for a killed process, too. Beyond the model it takes the memory of
/// a row, of a file's header and of a small buffer.
///
/// ```cpp
/// inline void in_shards_of_2_gb(plait::jamba_reasoning_3b<> const& net,
///                               std::string const& directory) {
///   plait::io::save(net, directory,
///                   {.shard_bytes = 2'000'000'000, .type = plait::io::stored_type::bf16});
/// }
/// ```
/// Equation: `load` of the directory gives the same values (f32), or each rounded to the nearest
///   bf16, ties to even; for a Jamba or a Mixtral, transformers' from_pretrained does. A
///   config.json that is there stays as it is and decides the names; it must describe the type,
///   otherwise nothing is written. Without one it is written, of the first family that has words
///   for the architecture
/// Shapes: a `model` or a `reference_model`, whose doubles become floats; `shard_bytes` in bytes of
///   values, above which shards of up to that size are written; the directory is made if there is
///   none, its parents are not. Special tokens in a config.json that is written are null
/// Errors: beside these, those of checkpoint_writer.hpp and of config.json's family (family.hpp).
///   The directory is as it was
///   - `save: shard_bytes is …; expected at least 1`: this and the next without FILE
/// Cost: each value once, on one thread; beside the model a row, a file's header and 64 KiB; on the
///   disk the old and the new checkpoint at once
/// Test: tests/unit/io/save_test.cpp, tests/unit/io/save_golden_test.cpp,
///   tests/unit/io/save_protocol_test.cpp, tests/unit/io/transformers_roundtrip.sh
template <class Model>
void save(Model const& model, std::string const& directory, save_options const& options = {}) {
  static constexpr auto config = Model::config;
  if (options.shard_bytes < 1)
    throw error("save: shard_bytes is " + std::to_string(options.shard_bytes) +
                "; expected at least 1");
  if (options.type != stored_type::f32 && options.type != stored_type::bf16)
    throw error("save: a checkpoint is written as F32 or BF16, not " +
                std::string(info(options.type).name));

  checkpoint_writer out(directory);
  std::string const file = path_in(directory, "config.json");
  struct stat status {};
  bool const described = ::lstat(file.c_str(), &status) == 0;
  if (!described && out.has_weights())
    fail(directory,
         "has weights but no config.json, so they may be another model's; nothing was written");
  config_file const about =
      described
          ? config_file(file)
          : config_of(config, file, options.type == stored_type::f32 ? "float32" : "bfloat16");
  tensor_names const names(config, require_same(about, config));

  Model::describe_tensors([&](int layer, std::string_view part, tensor const& t) {
    for (std::int64_t e = 0; e < t.copies; ++e)
      out.plan(names.written(layer, part, t, e), shape_in_file(t));
  });
  out.begin(options.shard_bytes, options.type,
            described ? std::nullopt : std::optional(about.text()));
  std::vector<float> row;
  model.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto const& data) {
    row.resize(static_cast<std::size_t>(t.cols));
    for (std::int64_t e = 0; e < t.copies; ++e) {
      std::string const name = names.written(layer, part, t, e);
      for (std::int64_t r = 0; r < t.rows; ++r) {
        data.get_row(e, r, row.data());
        out.append(name, row);
      }
    }
  });
  out.commit();
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
