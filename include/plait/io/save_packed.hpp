// A model to a packed file.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/io/architecture/plait_architecture.hpp>
#include <plait/io/files/new_file.hpp>
#include <plait/io/files/packed_file.hpp>

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
/// Calls visit(bytes) for a tensor's bytes in a packed file, in one piece or in rows.
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

/// Writes the weights of a model as they lie in its memory, for load_packed<Model>(file) to map:
/// the type's architecture, the rows of a panel and the bytes have to be the same there. The file
/// appears complete or not at all; on a plait::error what was there stays.
/// Equation: every tensor as it lies in memory, one that cannot be lent memory as rows of f32
///   (packed_file.hpp)
/// Shapes: of any architecture and storage; the file is for the same type, and for programs
///   compiled for the same width of panels
/// Errors: those of new_file.hpp, after which what was there stays as it was; and for an
///   architecture with a hyperparameter that equals nothing (a NaN) those of plait_architecture.hpp
/// Cost: two passes over the weights, one for the checksums, and an fsync; beside the model the
///   memory of a row, of the header and a small buffer
/// Test: tests/unit/io/packed_test.cpp
template <class Model>
void save_packed(Model const& model, std::string const& path) {
  static constexpr auto config = Model::config;
  nlohmann::json header{{"config", plait_keys(config)},
                        {"panel_rows", panel_rows},
                        {"tensors", nlohmann::json::array()}};
  require_same(parse_plait_config(config_file(header["config"].dump(), path)),
               config);  // what could not be loaded is not written

  std::int64_t tensors = 0, written = 0, offset = 0;
  Model::describe_tensors([&](int, std::string_view, tensor const&) { ++tensors; });
  std::vector<std::byte> const zeros(static_cast<std::size_t>(packed_extent(0, true)) + 64);
  auto const filling = [&](std::int64_t bytes, bool last) {
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
                                     {"checksum", sum.add(filling(bytes, last)).value()}});
        offset += packed_extent(bytes, last);
      });

  std::string text = header.dump();
  text.resize((text.size() + 63) / 64 * 64, ' ');
  if (text.size() > max_packed_header)
    fail(path, "cannot be written: its header would exceed " + std::to_string(max_packed_header) +
                   " bytes");
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
    auto const rest = filling(packed_bytes<Tensor>(t), ++written == tensors);
    out.write(rest.data(), rest.size());
  });
  out.commit();
  (void)sync_directory(
      new_file::directory_of(path));  // the file is in place whatever becomes of this
}

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
