// Packs tensors of a checkpoint into panels on several threads.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/host.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/tensor_view.hpp>
#include <plait/io/load_progress.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// Packs tensors that have set_part (cpu/panel_matrix.hpp) on several threads.
/// Equation: a work item is the rows of one panel of one copy. They are read and widened in pieces
///   of 1024 columns, as the file has them, and set in parts of 64, so that the part of the panel
///   that its rows write in turn stays in L1. No two items write to the same place, so that the
///   bits do not depend on the threads
/// Errors: `run` throws the first exception of a thread or of the progress callback, when all
///   threads have finished; items not begun by then are skipped
/// Cost: reads, widens and sets each value once; 128 KiB per thread; the pages of the file that an
///   item has read are released when it ends
/// Test: tests/unit/io/parallel_packer_test.cpp
class parallel_packer : private exec::host {
 public:
  static constexpr std::int64_t rows_per_item = panel_rows;
  static constexpr std::int64_t columns_per_read = 1024;
  static constexpr std::int64_t columns_per_set = 64;

  /// 0 threads: all of the machine's, or one if the compiler has no OpenMP.
  explicit parallel_packer(int threads) : host(threads > 0 ? threads : machine_threads()) {}

  /// Adds copy `e` of `data`, whose values begin at element `first` of `view`, row-major. `data`
  /// and `view` must stay in place until run() returns.
  template <class Tensor>
  void add(Tensor& data, std::int64_t e, tensor_view const& view, std::int64_t first) {
    auto const set = [](void* tensor, std::int64_t copy, std::int64_t r, std::int64_t c,
                        std::int64_t n, float const* values) {
      static_cast<Tensor*>(tensor)->set_part(copy, r, c, n, values);
    };
    jobs_.push_back({.set = set,
                     .data = &data,
                     .copy = e,
                     .rows = data.rows(),
                     .cols = data.cols(),
                     .view = &view,
                     .first = first});
  }

  /// Packs all added tensors in the order of their bytes in the files.
  void run(checkpoint const& file, load_progress& progress) {
    std::sort(jobs_.begin(), jobs_.end(),
              [](job const& a, job const& b) { return a.begin() < b.begin(); });
    std::int64_t items = 0;
    for (job& j : jobs_) {
      j.first_item = items;
      items += (j.rows + rows_per_item - 1) / rows_per_item;
    }
    std::vector<float> scratch(
        static_cast<std::size_t>(threads() * rows_per_item * columns_per_read));
    parallel(items, [&](std::int64_t item, int thread) {
      progress.guard([&] {
        auto const after = std::upper_bound(
            jobs_.begin(), jobs_.end(), item,
            [](std::int64_t i, job const& candidate) { return i < candidate.first_item; });
        job const& j = *std::prev(after);
        std::int64_t const row = (item - j.first_item) * rows_per_item;
        std::int64_t const rows = std::min(rows_per_item, j.rows - row);
        pack(j, row, rows, scratch.data() + thread * rows_per_item * columns_per_read);
        file.drop(*j.view, j.first + row * j.cols, rows * j.cols);
        progress.add(rows * j.cols * info(j.view->type).bytes);
      });
    });
    progress.rethrow();
  }

 private:
  struct job {
    void (*set)(void* data, std::int64_t copy, std::int64_t r, std::int64_t c, std::int64_t n,
                float const* values);
    void* data;
    std::int64_t copy, rows, cols;
    tensor_view const* view;
    std::int64_t first;
    std::int64_t first_item = 0;

    std::byte const* begin() const { return view->data + first * info(view->type).bytes; }
  };

  static void pack(job const& j, std::int64_t row, std::int64_t rows, float* values) {
    for (std::int64_t c = 0; c < j.cols; c += columns_per_read) {
      std::int64_t const n = std::min(columns_per_read, j.cols - c);
      for (std::int64_t r = 0; r < rows; ++r)
        widen(*j.view, j.first + (row + r) * j.cols + c,
              {values + r * columns_per_read, static_cast<std::size_t>(n)});
      for (std::int64_t part = 0; part < n; part += columns_per_set)
        for (std::int64_t r = 0; r < rows; ++r)
          j.set(j.data, j.copy, row + r, c + part, std::min(columns_per_set, n - part),
                values + r * columns_per_read + part);
    }
  }

  std::vector<job> jobs_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
