// Tensors of a checkpoint into panels, by several threads.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/host.hpp>
#include <plait/cpu/panel_matrix.hpp>
#include <plait/io/files/checkpoint.hpp>
#include <plait/io/files/tensor_view.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <mutex>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace io {

/// The bytes that are done, for a callback, and the first exception of any thread.
class load_progress {
 public:
  using callback = std::function<void(std::int64_t done, std::int64_t total)>;

  /// Calls (0, total). `call` may be empty.
  load_progress(callback call, std::int64_t total) : call_(std::move(call)), total_(total) {
    add(0);
  }

  /// One thread at a time calls; `done` never falls. A callback that has thrown is not called
  /// again.
  void add(std::int64_t bytes) {
    std::lock_guard const one(mutex_);
    done_ += bytes;
    if (!call_ || thrown_) return;
    thrown_ = true;
    call_(done_, total_);
    thrown_ = false;
  }
  /// Runs `work` and keeps what it throws; after the first exception nothing is run any more.
  template <class Work>
  void guard(Work&& work) noexcept {
    if (failed_.load(std::memory_order_relaxed)) return;
    try {
      std::forward<Work>(work)();
    } catch (...) {
      if (!failed_.exchange(true)) first_ = std::current_exception();
    }
  }
  /// When no thread works any more.
  void rethrow() const {
    if (first_) std::rethrow_exception(first_);
  }

 private:
  callback call_;
  std::int64_t total_, done_ = 0;
  bool thrown_ = false;
  std::mutex mutex_;
  std::atomic<bool> failed_{false};
  std::exception_ptr first_;
};

/// Packs tensors that have set_part (cpu/panel_matrix.hpp). An item is a run of rows of one copy,
/// those of a panel: they are widened in long pieces, as the file has them, and set in short ones,
/// so that what the rows of a panel write to in turn stays in the nearest cache. Which thread takes
/// which item changes no bit, as no two write to one place.
/// Equation: an item is the rows of one panel of one copy, read in pieces of 1024 columns and set
///   in parts of 64; no two items write to one place
/// Shapes: `first` is the element of `view` at which copy `e` begins; `threads` 0 is all of the
///   machine's. `callback` takes (done, total) in bytes
/// Errors: `run` throws what the callback threw, when no thread works any more; items not begun are
///   left out
/// Cost: each value read, widened and set once; 128 KiB a thread; an item's pages of the file are
///   dropped with it
/// Test: tests/unit/io/parallel_packer_test.cpp
class parallel_packer : private exec::host {
 public:
  static constexpr std::int64_t rows_together = panel_rows, columns_read = 1024, columns_set = 64;

  /// 0: all of the machine's threads, one where the compiler has no OpenMP.
  explicit parallel_packer(int threads) : host(threads > 0 ? threads : machine_threads()) {}

  /// Copy `e` of `data`, whose first row begins at element `first` of `view`. Both must stay where
  /// they are.
  template <class Tensor>
  void add(Tensor& data, std::int64_t e, tensor_view const& view, std::int64_t first) {
    auto const set = [](void* to, std::int64_t copy, std::int64_t r, std::int64_t c, std::int64_t n,
                        float const* values) {
      static_cast<Tensor*>(to)->set_part(copy, r, c, n, values);
    };
    jobs_.push_back({.set = set,
                     .data = &data,
                     .copy = e,
                     .rows = data.rows(),
                     .cols = data.cols(),
                     .view = &view,
                     .first = first});
  }

  /// All that was added, in the order of the files, whose memory is given back item by item. What a
  /// thread throws is thrown here.
  void run(checkpoint const& file, load_progress& progress) {
    std::sort(jobs_.begin(), jobs_.end(),
              [](job const& a, job const& b) { return a.begin() < b.begin(); });
    std::int64_t items = 0;
    for (job& j : jobs_) {
      j.item = items;
      items += (j.rows + rows_together - 1) / rows_together;
    }
    std::vector<float> scratch(static_cast<std::size_t>(threads() * rows_together * columns_read));
    parallel(items, [&](std::int64_t item, int thread) {
      progress.guard([&] {
        auto const after = std::upper_bound(
            jobs_.begin(), jobs_.end(), item,
            [](std::int64_t i, job const& candidate) { return i < candidate.item; });
        job const& j = *std::prev(after);
        std::int64_t const row = (item - j.item) * rows_together,
                           rows = std::min(rows_together, j.rows - row);
        pack(j, row, rows, scratch.data() + thread * rows_together * columns_read);
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
    std::int64_t item = 0;  // its first

    std::byte const* begin() const { return view->data + first * info(view->type).bytes; }
  };

  static void pack(job const& j, std::int64_t row, std::int64_t rows, float* values) {
    for (std::int64_t c = 0; c < j.cols; c += columns_read) {
      std::int64_t const n = std::min(columns_read, j.cols - c);
      for (std::int64_t r = 0; r < rows; ++r)
        widen(*j.view, j.first + (row + r) * j.cols + c,
              {values + r * columns_read, static_cast<std::size_t>(n)});
      for (std::int64_t part = 0; part < n; part += columns_set)
        for (std::int64_t r = 0; r < rows; ++r)
          j.set(j.data, j.copy, row + r, c + part, std::min(columns_set, n - part),
                values + r * columns_read + part);
    }
  }

  std::vector<job> jobs_;
};

}  // namespace io
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
