// Saves a model as a packed file.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/cpu/panel_matrix.hpp>
#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/files/config_file.hpp>
#include <plait/io/files/new_file.hpp>
#include <plait/io/files/packed_format.hpp>
#include <plait/io/files/packed_layout.hpp>
#include <plait/io/files/xxh64.hpp>

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

namespace detail {
/// Calls visit(bytes) for the bytes of a tensor in a packed file, in one piece or row by row.
template <class Tensor, class Visit>
void visit_packed(tensor const& t, Tensor const& data, Visit&& visit) {
  if constexpr (borrowing_tensor<Tensor>) {
    visit(std::span(data.storage().data(), static_cast<std::size_t>(data.storage().size())));
  } else {
    std::vector<float> row(static_cast<std::size_t>(t.cols));
    for (std::int64_t i = 0; i < t.copies * t.rows; ++i) {
      data.get_row(i / t.rows, i % t.rows, row.data());
      visit(std::as_bytes(std::span(row)));
    }
  }
}
}  // namespace detail

/// Writes the weights of a model in their layout in memory, for load_packed<Model>(path) to map.
/// The file is for the same type, and for programs compiled for the same rows per panel.
/// Equation: every tensor's storage unchanged; a tensor that cannot borrow memory as rows of f32
///   (packed_layout.hpp)
/// State: the file appears complete or, on an error, stays as it was
/// Errors: those of new_file.hpp; for an architecture with a NaN among its hyperparameters, which
///   could not be loaded, those of plait_architecture.hpp
/// Cost: two passes over the weights, one of them for the checksums, and an fsync; besides the
///   model, memory for a row, the header and a small buffer
/// Test: tests/unit/io/packed_test.cpp
template <class Model>
void save_packed(Model const& model, std::string const& path) {
  static constexpr auto config = Model::config;
  nlohmann::json header{{"config", plait_keys(config)},
                        {"panel_rows", panel_rows},
                        {"tensors", nlohmann::json::array()}};
  // A file that could not be loaded is not written.
  require_same(parse_plait_config(config_file(header["config"].dump(), path)), config);

  std::int64_t tensors = 0;
  std::int64_t written = 0;
  std::int64_t offset = 0;
  Model::describe_tensors([&](int, std::string_view, tensor const&) { ++tensors; });
  std::vector<std::byte> const zeros(static_cast<std::size_t>(packed_extent(0, true)) + 64);
  auto const padding = [&](std::int64_t bytes, bool last) {
    return std::span(zeros).first(static_cast<std::size_t>(packed_extent(bytes, last) - bytes));
  };
  model.for_each_tensor(
      [&]<class Tensor>(int layer, std::string_view part, tensor const& t, Tensor const& data) {
        bool const last = ++written == tensors;
        std::int64_t const bytes = packed_bytes<Tensor>(t);
        xxh64 sum;
        detail::visit_packed(t, data, [&](std::span<std::byte const> piece) { sum.add(piece); });
        header["tensors"].push_back({{"name", packed_name(layer, part, t)},
                                     {"layout", packed_layout<Tensor>()},
                                     {"shape", {t.copies, t.rows, t.cols}},
                                     {"offset", offset},
                                     {"bytes", bytes},
                                     {"checksum", sum.add(padding(bytes, last)).value()}});
        offset += packed_extent(bytes, last);
      });

  std::string text = header.dump();
  text.resize((text.size() + 63) / 64 * 64, ' ');
  if (text.size() > max_packed_header)
    fail(path, "cannot be written: its header would exceed {} bytes", max_packed_header);
  packed_prefix prefix;
  prefix.header_bytes = text.size();
  prefix.file_bytes = sizeof prefix + text.size() + static_cast<std::uint64_t>(offset);
  prefix.header_checksum = xxh64::of(std::as_bytes(std::span(text)));
  prefix.checksum = prefix.sum();

  new_file out(path);
  out.write(&prefix, sizeof prefix);
  out.write(text);
  written = 0;
  model.for_each_tensor([&]<class Tensor>(int, std::string_view, tensor const& t,
                                          Tensor const& data) {
    detail::visit_packed(
        t, data, [&](std::span<std::byte const> piece) { out.write(piece.data(), piece.size()); });
    auto const zero_bytes = padding(packed_bytes<Tensor>(t), ++written == tensors);
    out.write(zero_bytes.data(), zero_bytes.size());
  });
  out.commit();
  // The file is complete and in place, so that a failure to make its name durable is no error.
  (void)sync_directory(new_file::directory_of(path));
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
