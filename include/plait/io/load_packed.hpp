// A model from a packed file, without reading it: the second start is instant, and processes share
// the memory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/files/packed_file.hpp>
#include <plait/model/model_weights.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// How a packed file is loaded.
struct packed_options {
  bool verify = false;  ///< reads all of the file and compares checksums first; otherwise only the
                        ///< header's is compared
};

/// The model whose weights are in a packed file: matrices are the file's memory, mapped, not copied
/// and read-only, which other processes share; vectors and states, which are small, are copied. The
/// file must stay as it is while the model lives (replacing it by a rename is no change).
/// plait::error with file and tensor for another architecture, other storage types, another width
/// of panels, and for a file that is not what save_packed wrote; what is wrong in a tensor's values
/// is found with `verify` only.
///
/// ```cpp
/// #include <filesystem>
///
/// inline std::unique_ptr<plait::jamba_reasoning_3b<>> start(std::string const& checkpoint,
///                                                           std::string const& packed) {
///   using model = plait::jamba_reasoning_3b<>;
///   if (!std::filesystem::exists(packed))
///     plait::io::save_packed(*plait::io::load<model>(checkpoint), packed);
///   return plait::io::load_packed<model>(packed);
/// }
/// ```
/// Equation: the model that save_packed (save_packed.hpp) was given, to the last bit. Matrices are
///   the file's memory, read-only; vectors and states are copied
/// Shapes: a unique_ptr to a Model, which keeps the file mapped. Replacing the file by a rename, or
///   removing it, changes nothing; writing into it does, and shortening it makes touching the lost
///   pages fatal (SIGBUS)
/// Errors: those of packed_file.hpp, and, where the architecture is another one, of
///   plait_architecture.hpp with key and both values. All of them come before anything is
///   allocated. Weights cannot be set afterwards (core/buffer.hpp)
/// Cost: reads the header, copies vectors and states; pages of matrices come when they are used.
///   With `verify` one pass over the file, at about 10 GB/s from memory: without it damage within a
///   tensor is not noticed. Pages of a file are small ones, where a loaded model has huge pages:
///   measure whether that matters to you
/// Test: tests/unit/io/packed_test.cpp, tests/checks/fuzz/packed.cpp
template <class Model>
std::unique_ptr<Model> load_packed(std::shared_ptr<packed_file const> const& file,
                                   packed_options const& options = {}) {
  static constexpr auto config = Model::config;
  require_same(parse_plait_config(file->config()), config);

  auto model = std::make_unique<Model>(unallocated{});
  std::vector<packed_tensor> const& tensors = file->tensors();
  std::size_t count = 0;
  Model::describe_tensors([&](int, std::string_view, tensor const&) { ++count; });
  if (tensors.size() != count)
    file->refuse("has " + std::to_string(tensors.size()) + " tensors, but this model has " +
                 std::to_string(count));
  std::size_t i = 0;
  model->for_each_tensor([&]<class Tensor>(int layer, std::string_view part, tensor const& t,
                                           Tensor&) {
    packed_tensor const& is = tensors[i++];
    if (std::string const name = packed_name(layer, part, t); is.name != name)
      file->refuse(is.name, "is in the place of " + in_quotes(name));
    if (is.layout != packed_layout<Tensor>())
      file->refuse(is.name, "is kept as " + in_quotes(is.layout) + ", but this model keeps it as " +
                                in_quotes(packed_layout<Tensor>()) +
                                "; load the checkpoint into this type and pack it again");
    if (borrowing_tensor<Tensor> && file->rows_of_panels() != panel_rows)
      file->refuse("was packed in panels of " + std::to_string(file->rows_of_panels()) +
                   " rows, but this program was compiled for " + std::to_string(panel_rows) +
                   " (AVX-512: 32, AVX2: 16, else 8); load the checkpoint and pack it again on "
                   "this machine");
    if (std::vector const shape{t.copies, t.rows, t.cols}; is.shape != shape)
      file->refuse(is.name,
                   "has shape " + shape_text(is.shape) + ", expected " + shape_text(shape));
    if (std::int64_t const bytes = packed_bytes<Tensor>(t);
        static_cast<std::int64_t>(is.bytes.size()) != bytes)
      file->refuse(is.name, "has " + std::to_string(is.bytes.size()) + " bytes, expected " +
                                std::to_string(bytes));
  });
  if (options.verify) file->verify();

  i = 0;
  std::vector<float> row;
  model->for_each_tensor([&]<class Tensor>(int, std::string_view, tensor const& t, Tensor& data) {
    std::byte const* const bytes = tensors[i++].bytes.data();
    if constexpr (borrowing_tensor<Tensor>) {
      data.borrow(t, bytes, file);
    } else {
      data.allocate(t);
      row.resize(static_cast<std::size_t>(t.cols));
      for (std::int64_t r = 0; r < t.copies * t.rows; ++r) {
        std::memcpy(row.data(), bytes + r * t.cols * 4, static_cast<std::size_t>(t.cols) * 4);
        data.set_row(r / t.rows, r % t.rows, row.data());
      }
    }
  });
  return model;
}

template <class Model>
std::unique_ptr<Model> load_packed(std::string const& path, packed_options const& options = {}) {
  return load_packed<Model>(std::make_shared<packed_file const>(path), options);
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
