// Saves a model as a checkpoint directory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>
#include <plait/io/architecture/tensor_names.hpp>
#include <plait/io/family.hpp>
#include <plait/io/files/checkpoint_writer.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/fail.hpp>
#include <plait/io/files/stored_type.hpp>

#include <sys/stat.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Options of `save`.
struct save_options {
  /// Larger checkpoints are written in shards of at most this many bytes of values.
  std::int64_t shard_bytes = 5'000'000'000;
  /// f32, or bf16 with every value rounded to nearest, ties to even.
  stored_type type = stored_type::f32;
};

/// Writes the weights of a model or reference_model into a checkpoint directory, which is created
/// if it does not exist (its parents are not).
///
/// An existing config.json stays unchanged and decides the family and its tensor names. It must
/// describe this architecture, otherwise nothing is written: another model's checkpoint is never
/// replaced. Without a config.json, one is written for the first family that can express the
/// architecture. Its special tokens are null, since an architecture has none: copy the original
/// config.json into the directory first if they matter.
///
/// ```cpp
/// inline void in_shards_of_2_gb(plait::jamba_reasoning_3b<> const& net,
///                               std::string const& directory) {
///   plait::io::save(net, directory,
///                   {.shard_bytes = 2'000'000'000, .type = plait::io::stored_type::bf16});
/// }
/// ```
/// Equation: `load` of the directory gives the same values (f32) or their bf16 roundings; for Jamba
///   and Mixtral, transformers' from_pretrained does too. Doubles of a reference_model become
///   floats
/// State: on an error, or if the process is killed, the directory holds the old checkpoint
///   (checkpoint_writer.hpp)
/// Errors: those of checkpoint_writer.hpp and of config.json's family (family.hpp), and:
///   - `save: shard_bytes is …; expected at least 1`: this and the next do not begin with FILE
/// Cost: reads each value once, on one thread. Besides the model, memory for a row, the header of a
///   file and 64 KiB; the disk holds the old and the new checkpoint at once
/// Test: tests/unit/io/save_test.cpp, tests/unit/io/save_golden_test.cpp,
///   tests/unit/io/save_protocol_test.cpp, tests/unit/io/transformers_roundtrip.sh
template <class Model>
void save(Model const& model, std::string const& directory, save_options const& options = {}) {
  static constexpr auto config = Model::config;
  if (options.shard_bytes < 1)
    throw error(sentence("save: shard_bytes is {}; expected at least 1", options.shard_bytes));
  if (options.type != stored_type::f32 && options.type != stored_type::bf16)
    throw error(
        sentence("save: a checkpoint is written as F32 or BF16, not {}", info(options.type).name));

  checkpoint_writer out(directory);
  std::string const file = path_in(directory, "config.json");
  struct stat status {};
  bool const has_config = ::lstat(file.c_str(), &status) == 0;
  if (!has_config && out.has_weights())
    fail(directory,
         "has weights but no config.json, so they may be another model's; nothing was written");
  char const* const dtype = options.type == stored_type::f32 ? "float32" : "bfloat16";
  config_file const json = has_config ? config_file(file) : config_of(config, file, dtype);
  tensor_names const names(config, require_same(json, config));

  Model::describe_tensors([&](int layer, std::string_view part, tensor const& t) {
    for (std::int64_t e = 0; e < t.copies; ++e)
      out.plan(names.written(layer, part, t, e), shape_in_file(t));
  });
  out.begin(options.shard_bytes, options.type,
            has_config ? std::nullopt : std::optional(json.text()));
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
