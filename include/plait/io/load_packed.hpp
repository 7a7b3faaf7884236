// Loads a model from a packed file by mapping it: later starts are instant, and processes share the
// memory.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/panel_matrix.hpp>
#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/files/packed_file.hpp>
#include <plait/io/files/packed_layout.hpp>
#include <plait/io/files/tensor_view.hpp>
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

/// Options of `load_packed`.
struct packed_options {
  /// Reads the whole file and compares the checksums of all tensors; otherwise only the header's.
  bool verify = false;
};

/// The model whose weights a packed file holds. Its matrices are the mapped file, read-only and
/// shared with other processes; vectors and states, which are small, are copied.
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
/// Equation: the model that save_packed (save_packed.hpp) was given, bit for bit
/// State: the model keeps the file mapped. Replacing the file by a rename, or removing it, changes
///   nothing; writing into it changes the weights, and shortening it makes access to the lost pages
///   fatal (SIGBUS). The weights cannot be set (core/buffer.hpp)
/// Errors: those of packed_file.hpp and, for another architecture, of plait_architecture.hpp, all
///   before anything is allocated
/// Cost: reads the header, copies vectors and states; pages of matrices are read on first use.
///   `verify` adds one pass over the file, at about 10 GB/s from memory; without it, damage within
///   a tensor is not detected. Mapped files have small pages, where `load` uses huge ones: measure
///   whether that costs speed
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
    file->refuse("has {} tensors, but this model has {}", tensors.size(), count);
  std::size_t i = 0;
  model->for_each_tensor(
      [&]<class Tensor>(int layer, std::string_view part, tensor const& t, Tensor&) {
        packed_tensor const& found = tensors[i++];
        std::string const quoted = in_quotes(found.name);
        if (std::string const name = packed_name(layer, part, t); found.name != name)
          file->refuse("tensor {} is in the place of {}", quoted, in_quotes(name));
        if (found.layout != packed_layout<Tensor>())
          file->refuse(
              "tensor {} is stored as {}, but this model stores it as {}; load the checkpoint into "
              "this type and pack it again",
              quoted, in_quotes(found.layout), in_quotes(packed_layout<Tensor>()));
        if (borrowing_tensor<Tensor> && file->rows_of_panels() != panel_rows)
          file->refuse(
              "was packed in panels of {} rows, but this program was compiled for {} (AVX-512: 32, "
              "AVX2: "
              "16, else 8); load the checkpoint and pack it again on this machine",
              file->rows_of_panels(), panel_rows);
        if (std::vector const shape{t.copies, t.rows, t.cols}; found.shape != shape)
          file->refuse("tensor {} has shape {}, expected {}", quoted, shape_text(found.shape),
                       shape_text(shape));
        if (std::int64_t const bytes = packed_bytes<Tensor>(t);
            static_cast<std::int64_t>(found.bytes.size()) != bytes)
          file->refuse("tensor {} has {} bytes, expected {}", quoted, found.bytes.size(), bytes);
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
