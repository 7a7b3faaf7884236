// A subject at a point of its sweep, with its copies: made once, checked, and kept while Google
// Benchmark calls the same benchmark again.
// Test: tests/unit/benchmark/register_test.cpp
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/benchmark/subject.hpp>
#include <plait/benchmark/sweep.hpp>
#include <plait/benchmark/text.hpp>
#include <plait/core/sentence.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

namespace detail {

/// One address per type: compares types in builds without RTTI.
template <class T>
inline char type_place = 0;

/// A measurement of any subject.
struct any_measurement {
  void const* const type;  ///< the type_place of the measurement
  explicit any_measurement(void const* of) : type(of) {}
  any_measurement(any_measurement const&) = delete;
  virtual ~any_measurement() = default;
};

/// A subject at a point of its sweep, with its copies.
template <subject S>
class measurement final : public any_measurement {
 public:
  using exec_type = typename S::exec_type;
  using copy = typename S::copy;

  measurement(std::shared_ptr<S const> of, sweep const& by)
      : any_measurement(&type_place<measurement>),
        registered_(std::move(of)),
        subject_(*registered_),
        weights_(by.weights),
        max_bytes_(by.max_bytes) {}

  /// Whether the copies are those of this registration too.
  bool serves(std::shared_ptr<S const> const& other, sweep const& by) const {
    if (weights_ != by.weights || max_bytes_ != by.max_bytes) return false;
    if constexpr (std::equality_comparable<S>)
      return *registered_ == *other;
    else
      return registered_ == other;
  }

  /// Goes to a point: makes inputs and one copy, checks it, and makes the other copies. Does
  /// nothing where it is at that point already.
  void move_to(call const& at, int threads) {
    if (ready_ && at == call_ && threads == threads_) return;
    ready_ = false;  // an exception leaves the point unfinished
    exec_ = make_exec<exec_type>(threads);
    threads_ = threads;
    call_ = at;
    active_copies_ = 1;
    current_ = 0;
    subject_.begin(*exec_, call_);
    prepare(0);
    verdict_ = subject_.check(*exec_, *copies_[0]);
    if (verdict_.error.empty() && weights_ == bench::weights::cold) {
      active_copies_ = cold_copies();
      for (std::size_t i = 1; i < active_copies_; ++i) prepare(i);
    }
    copies_.resize(active_copies_);  // frees the copies of a point with more
    ready_ = true;
  }

  /// Why the result is wrong; empty where it is right.
  std::string const& error() const { return verdict_.error; }
  exec_type& exec() { return *exec_; }
  S& subject() { return subject_; }

  /// The next copy, with its sequences at the start of the call.
  copy& next_copy() {
    current_ = (current_ + 1) % active_copies_;
    if constexpr (rewinds) subject_.rewind(*copies_[current_]);
    return *copies_[current_];
  }
  void run() { subject_.run(*exec_, *copies_[current_]); }

  /// Untimed calls before the first timed one.
  void warm_up() {
    std::size_t calls = 1;
    if constexpr (requires { subject_.calls_per_copy(); })
      calls = std::max<std::size_t>(
          1, active_copies_ * static_cast<std::size_t>(subject_.calls_per_copy()));
    for (std::size_t i = 0; i < calls; ++i) {
      next_copy();
      run();
    }
  }

  /// Calls between two readings of the clock, which takes tens of nanoseconds: as many as take
  /// about 10 us for one copy on the CPU that is not rewound, else one.
  std::int64_t calls_per_timing() {
    if (rewinds || active_copies_ > 1 || on_device<exec_type>) return 1;
    double const once = seconds_of(*exec_, [&] { run(); });
    return static_cast<std::int64_t>(std::clamp(1e-5 / std::max(once, 1e-9), 1.0, 1000.0));
  }

  double least_seconds(roofline const& on) const {
    if constexpr (requires { subject_.least_seconds(on); })
      return subject_.least_seconds(on);
    else
      return on.seconds(subject_.cost().flops, subject_.cost().bytes);
  }

  /// The label that Google Benchmark prints beside the counters.
  std::string label() const {
    double const copies = double(active_copies_);
    std::string text =
        sentence("{} {}, {}", active_copies_, active_copies_ == 1 ? "copy" : "copies",
                 text_of_bytes(copies * copy_bytes()));
    if (weights_ == bench::weights::cold &&
        copies * subject_.cost().bytes < double(bytes_to_be_cold(*exec_)))
      text += " (no room to be cold)";
    if constexpr (requires { subject_.note(); }) text += subject_.note();
    return text + (verdict_.is_checked() ? "; off by " + number(verdict_.relative_error, "%.1e")
                                         : "; unchecked: the reference has no room");
  }

 private:
  static constexpr bool rewinds = requires(S s, copy& one) { s.rewind(one); };

  void prepare(std::size_t i) {
    if (copies_.size() <= i) copies_.resize(i + 1);
    subject_.prepare(*exec_, copies_[i]);
  }
  /// The number of copies of which reading all others evicts one from the caches, as far as memory
  /// allows.
  std::size_t cold_copies() const {
    std::int64_t const room = max_bytes_ > 0 ? max_bytes_ : memory_of(*exec_) / 4;
    double const cold = double(bytes_to_be_cold(*exec_)) / std::max(copy_traffic(), 1.0) + 1;
    double const max_copies = std::max(1.0, std::floor(double(room) / copy_bytes()));
    auto const copies = static_cast<std::size_t>(std::min(cold, max_copies));
    if constexpr (requires { S::max_copies; })
      return std::min<std::size_t>(copies, S::max_copies);
    else
      return copies;
  }
  double copy_bytes() const {
    if constexpr (requires { subject_.copy_bytes(); })
      return std::max(1.0, double(subject_.copy_bytes()));
    else
      return std::max(1.0, subject_.cost().bytes);
  }
  double copy_traffic() const {
    if constexpr (requires { subject_.copy_traffic(); })
      return subject_.copy_traffic();
    else
      return subject_.cost().bytes;
  }

  std::shared_ptr<S const> registered_;
  S subject_;
  bench::weights weights_;
  std::int64_t max_bytes_;
  call call_{.tokens = 0};
  int threads_ = 0;
  bool ready_ = false;
  std::unique_ptr<exec_type> exec_;
  std::vector<std::unique_ptr<copy>> copies_;
  std::size_t active_copies_ = 1;
  std::size_t current_ = 0;
  verdict verdict_;
};

/// The measurement that is kept. Google Benchmark calls a function several times until it has run
/// long enough, and making and checking a model takes longer than timing it. Only the last is kept,
/// so that the copies of one subject are in memory at a time.
inline std::unique_ptr<any_measurement>& last_measurement() {
  static std::unique_ptr<any_measurement> last;
  return last;
}

/// The measurement of a registration: the last one if its copies can be used, else a new one.
template <subject S>
measurement<S>& measurement_of(std::shared_ptr<S const> const& of, sweep const& by) {
  auto& last = last_measurement();
  if (last && last->type == &type_place<measurement<S>>)
    if (auto& same = static_cast<measurement<S>&>(*last); same.serves(of, by)) return same;
  last.reset();  // its memory is free before the next is made
  auto made = std::make_unique<measurement<S>>(of, by);
  auto& result = *made;
  last = std::move(made);
  return result;
}

}  // namespace detail

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
