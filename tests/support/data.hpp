// Random data, matrices with canaries, tensors of any storage, ragged batches, and comparison.
#pragma once

#include <support/message.hpp>

#include <plait/core/sequences.hpp>
#include <plait/core/storage.hpp>
#include <plait/core/view.hpp>
#include <plait/model/initialize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

namespace test {

inline constexpr float nan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float infinity = std::numeric_limits<float>::infinity();

class random {
 public:
  explicit random(std::uint64_t seed) : bits_{seed} {}
  float uniform(float low = -1, float high = 1) {
    return low + (high - low) * static_cast<float>(bits_.uniform());
  }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(bits_() % static_cast<std::uint64_t>(n));
  }
  std::vector<float> values(std::int64_t n, float low = -1, float high = 1) {
    std::vector<float> v(static_cast<std::size_t>(n));
    for (float& x : v) x = uniform(low, high);
    return v;
  }

 private:
  plait::detail::splitmix64 bits_;
};

/// A matrix with a row stride above its width, and canaries before, between and behind its rows.
template <class T>
class matrix {
 public:
  matrix(std::int64_t rows, std::int64_t cols, std::int64_t gap = 5)
      : rows_(rows),
        cols_(cols),
        stride_(cols + gap),
        data_(static_cast<std::size_t>(2 * margin + rows * stride_), canary) {
    for (std::int64_t r = 0; r < rows; ++r) std::fill_n(view().row(r), cols, T{0});
  }
  /// A copy in T.
  template <class U>
  explicit matrix(matrix<U> const& other)
      : matrix(other.rows(), other.cols(), other.stride() - other.cols()) {
    for (std::int64_t r = 0; r < rows_; ++r)
      for (std::int64_t c = 0; c < cols_; ++c) (*this)(r, c) = static_cast<T>(other(r, c));
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  std::int64_t stride() const { return stride_; }
  T& operator()(std::int64_t r, std::int64_t c) {
    return data_[static_cast<std::size_t>(margin + r * stride_ + c)];
  }
  T const& operator()(std::int64_t r, std::int64_t c) const {
    return data_[static_cast<std::size_t>(margin + r * stride_ + c)];
  }
  plait::matrix_view<T> view() { return {data_.data() + margin, rows_, cols_, stride_}; }
  plait::matrix_view<T const> view() const {
    return {data_.data() + margin, rows_, cols_, stride_};
  }
  /// Whether all canaries are unchanged.
  bool intact() const {
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(data_.size()); ++i) {
      std::int64_t const at = i - margin;
      bool const inside = at >= 0 && at < rows_ * stride_ && at % stride_ < cols_;
      if (!inside && data_[static_cast<std::size_t>(i)] != canary) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t margin = 40;  // more than two registers
  static constexpr T canary = T(-12345.5);
  std::int64_t rows_, cols_, stride_;
  std::vector<T> data_;
};

inline matrix<float> random_matrix(random& r, std::int64_t rows, std::int64_t cols, float low = -1,
                                   float high = 1) {
  matrix<float> m(rows, cols);
  for (std::int64_t i = 0; i < rows; ++i)
    for (std::int64_t c = 0; c < cols; ++c) m(i, c) = r.uniform(low, high);
  return m;
}

/// A matrix of one row.
inline matrix<float> row_matrix(std::vector<float> const& values) {
  matrix<float> m(1, static_cast<std::int64_t>(values.size()));
  std::copy(values.begin(), values.end(), m.view().row(0));
  return m;
}
/// A copy of `count` rows from `first` on.
inline matrix<float> rows_of(matrix<float> const& from, std::int64_t first, std::int64_t count) {
  matrix<float> m(count, from.cols());
  for (std::int64_t r = 0; r < count; ++r)
    std::copy_n(from.view().row(first + r), from.cols(), m.view().row(r));
  return m;
}

/// A tensor of Storage's type for a role, with values [copies][rows][cols].
template <class Storage, plait::role Role>
auto make_tensor(std::vector<float> const& values, std::int64_t rows, std::int64_t cols = 1,
                 std::int64_t copies = 1) {
  typename Storage::template tensor<Role> t;
  t.allocate({.name = "test", .role = Role, .rows = rows, .cols = cols, .copies = copies});
  for (std::int64_t i = 0; i < copies * rows; ++i)
    t.set_row(i / rows, i % rows, values.data() + i * cols);
  return t;
}

/// New tokens of every sequence in every call, [call][sequence].
using lengths_of_calls = std::vector<std::vector<std::int64_t>>;
inline std::int64_t total_of(std::vector<std::int64_t> const& call) {
  return std::accumulate(call.begin(), call.end(), std::int64_t{0});
}

/// Cached and new tokens of the sequences of a batch, and their page tables.
class ragged_lengths {
 public:
  std::int64_t total() const { return first_row_.back(); }
  std::int64_t first_row(std::size_t s) const { return first_row_[s]; }
  std::int64_t length(std::size_t s) const { return length_[s]; }
  /// After a call: the new tokens are cached.
  void advance() {
    for (std::size_t s = 0; s < length_.size(); ++s) length_[s] += now_[s];
  }

 protected:
  explicit ragged_lengths(std::vector<std::int64_t> before)
      : length_(std::move(before)), pages_(length_.size()) {}
  /// Before a call with `now` new tokens per sequence; new_page(s) makes a page of sequence s.
  template <class NewPage>
  void begin(std::vector<std::int64_t> now, bool with_pages, NewPage const& new_page) {
    now_ = std::move(now);
    first_row_.assign(1, 0);
    table_.clear();
    for (std::size_t s = 0; s < length_.size(); ++s) {
      first_row_.push_back(first_row_.back() + now_[s]);
      std::int64_t const tokens = with_pages ? length_[s] + now_[s] : 0;
      while (static_cast<std::int64_t>(pages_[s].size()) * plait::page_tokens < tokens)
        pages_[s].push_back(new_page(s));
      table_.push_back(pages_[s].data());
    }
  }

  std::vector<std::int64_t> length_, now_, first_row_ = {0};
  std::vector<std::vector<std::byte*>> pages_;
  std::vector<std::byte* const*> table_;
};

/// A batch as ops see it: `before` tokens are cached, `now` are new. Canaries surround the state
/// and the pages, in the place of other layers' parts. A fresh page holds NaN, so that a read
/// before the first write shows.
template <class T, class Value = T>
class ragged : public ragged_lengths {
 public:
  ragged(std::vector<std::int64_t> before, std::int64_t state_values, std::int64_t page_values)
      : ragged_lengths(std::move(before)), state_values_(state_values), page_values_(page_values) {
    for (std::size_t s = 0; s < length_.size(); ++s) {
      states_.emplace_back(static_cast<std::size_t>(state_values + 2 * around), T{0});
      for (std::int64_t i = 0; i < around; ++i)
        states_[s][static_cast<std::size_t>(i)] =
            states_[s][static_cast<std::size_t>(state_values + around + i)] = canary;
      state_.push_back(states_[s].data());
      memory_.emplace_back();
    }
  }
  /// The batch with `now` new tokens per sequence.
  plait::sequences<T> with(std::vector<std::int64_t> now) {
    begin(std::move(now), page_values_ > 0, [&](std::size_t s) {
      memory_[s].emplace_back(page_values_ + 2 * around);
      Value* const page = memory_[s].back().data();
      std::fill_n(page, around, Value(canary));
      std::fill_n(page + around, page_values_, Value(nan));
      std::fill_n(page + around + page_values_, around, Value(canary));
      return reinterpret_cast<std::byte*>(page);
    });
    return {.count = static_cast<std::int64_t>(length_.size()),
            .first_row = first_row_.data(),
            .length = length_.data(),
            .state = state_.data(),
            .state_offset = around,
            .pages = table_.data(),
            .page_offset = around};
  }
  T* state(std::size_t s) { return states_[s].data() + around; }
  Value* page(std::size_t s, std::int64_t p) {
    return reinterpret_cast<Value*>(pages_[s][static_cast<std::size_t>(p)]) + around;
  }
  bool intact() const {
    auto const canaries = []<class U>(U const* p) {
      return std::all_of(p, p + around,
                         [](U x) { return static_cast<T>(x) == static_cast<T>(U(canary)); });
    };
    for (std::size_t s = 0; s < length_.size(); ++s) {
      if (!canaries(states_[s].data()) || !canaries(states_[s].data() + around + state_values_))
        return false;
      for (auto const& page : memory_[s])
        if (!canaries(page.data()) || !canaries(page.data() + around + page_values_)) return false;
    }
    return true;
  }

 private:
  static constexpr std::int64_t around = 48;
  static constexpr T canary = T(-12345.5);
  std::int64_t state_values_, page_values_;
  std::vector<std::vector<T>> states_;
  std::vector<T*> state_;
  std::vector<std::vector<plait::buffer<Value>>> memory_;
};

/// max |actual - expected| / max(max |expected|, at_least); infinite where a difference is NaN.
/// `at_least` is for results that may cancel.
class relative_error {
 public:
  explicit relative_error(double at_least = 0) : max_expected_(at_least) {}
  /// `allowed` is taken off this difference: the rounding of this value.
  void add(double actual, double expected, double allowed = 0) {
    double const d = std::fabs(actual - expected) - allowed;
    max_difference_ = std::isnan(d) ? double(infinity) : std::max(max_difference_, d);
    max_expected_ = std::max(max_expected_, std::fabs(expected));
  }
  double value() const { return max_difference_ == 0 ? 0 : max_difference_ / max_expected_; }

 private:
  double max_difference_ = 0, max_expected_;
};
template <class A, class B>
double difference(A const* a, B const* b, std::int64_t n, double at_least = 0) {
  relative_error error(at_least);
  for (std::int64_t i = 0; i < n; ++i) error.add(double(a[i]), double(b[i]));
  return error.value();
}
template <class A, class B>
requires(!std::is_pointer_v<A>) double difference(A const& a, B const& b, double at_least = 0) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return double(infinity);
  relative_error error(at_least);
  for (std::int64_t r = 0; r < a.rows(); ++r)
    for (std::int64_t c = 0; c < a.cols(); ++c) error.add(double(a(r, c)), double(b(r, c)));
  return error.value();
}

/// Equality of bits, so that NaN equals itself.
template <class T>
bool same_bits(T const* a, T const* b, std::int64_t n) {
  return n == 0 || std::memcmp(a, b, static_cast<std::size_t>(n) * sizeof(T)) == 0;
}
template <class T>
bool same_bits(std::vector<T> const& a, std::vector<T> const& b) {
  return a.size() == b.size() && same_bits(a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}
template <class T>
bool same_bits(matrix<T> const& a, matrix<T> const& b) {
  if (a.rows() != b.rows() || a.cols() != b.cols()) return false;
  for (std::int64_t r = 0; r < a.rows(); ++r)
    if (!same_bits(a.view().row(r), b.view().row(r), a.cols())) return false;
  return true;
}

}  // namespace test
