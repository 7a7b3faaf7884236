// One driver for all subjects: it makes copies, checks, times and counts, and registers that with
// Google Benchmark.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/machine.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/place.hpp>
#include <plait/benchmark/roofline.hpp>
#include <plait/benchmark/subject.hpp>
#include <plait/benchmark/sweep.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace bench {

/// A registered benchmark: benchmark::Benchmark from version 1.9.5 of Google Benchmark on, in its
/// namespace internal before.
using registration = std::remove_pointer_t<decltype(::benchmark::RegisterBenchmark(
    std::declval<char const*>(), std::declval<void (*)(::benchmark::State&)>()))>;

/// The registered benchmarks, for Google Benchmark's own settings: for (auto* b : registered)
/// b->MinTime(2)->Repetitions(5);
using registered = std::vector<registration*>;

namespace detail {

/// Tables that run prints when everything has been measured, by the name of their benchmark:
/// repetitions replace each other.
inline std::vector<std::pair<std::string, explanation>>& tables() {
  static std::vector<std::pair<std::string, explanation>> all;
  return all;
}

inline void keep_table(std::string const& name, explanation table) {
  for (auto& [known, kept_table] : tables())
    if (known == name) {
      kept_table = std::move(table);
      return;
    }
  tables().emplace_back(name, std::move(table));
}

inline std::string text_of_bytes(double bytes) {
  if (bytes < 1e6) return number(bytes / 1e3, "%.1f kB");
  return bytes < 1e9 ? number(bytes / 1e6, "%.1f MB") : number(bytes / 1e9, "%.2f GB");
}

/// A subject's parameters, or none.
template <class S>
constexpr parameters depends_on() {
  if constexpr (requires { S::depends; })
    return S::depends;
  else
    return {};
}

struct any_session {
  virtual ~any_session() = default;
};

/// A subject at a point of its sweep, with its copies.
template <subject S>
class session final : public any_session {
 public:
  using exec_type = typename S::exec_type;
  using copy = typename S::copy;

  session(std::shared_ptr<S const> of, bench::weights weights, std::int64_t max_bytes)
      : of_(std::move(of)), subject_(*of_), weights_(weights), asked_bytes_(max_bytes) {}

  /// Whether the copies serve this registration too.
  bool serves(std::shared_ptr<S const> const& other, sweep const& by) const {
    if (weights_ != by.weights || asked_bytes_ != by.max_bytes) return false;
    if constexpr (std::equality_comparable<S>)
      return *of_ == *other;
    else
      return of_ == other;
  }

  /// Goes to a point: inputs, one copy, its check, and the other copies. Nothing if it stands there
  /// already.
  void go(call const& what, int threads) {
    if (ready_ && what == call_ && threads == asked_threads_) return;
    ready_ = false;  // until all of this has come to its end
    exec_ = make_exec<exec_type>(threads);
    asked_threads_ = threads;
    call_ = what;
    active_ = 1;
    current_ = 0;
    subject_.begin(*exec_, call_);
    prepare(0);
    verdict_ = subject_.check(*exec_, *copies_[0]);
    if (verdict_.wrong.empty() && weights_ == bench::weights::cold) {
      std::int64_t const room = asked_bytes_ > 0 ? asked_bytes_ : memory_of(*exec_) / 4;
      double const wanted = double(bytes_to_be_cold(*exec_)) / std::max(copy_traffic(), 1.0) + 1;
      double const most = std::max(1.0, std::floor(double(room) / copy_bytes()));
      active_ = static_cast<std::size_t>(std::min(wanted, most));
      if constexpr (requires { S::max_copies; })
        active_ = std::min<std::size_t>(active_, S::max_copies);
      for (std::size_t i = 1; i < active_; ++i) prepare(i);
    }
    copies_.resize(active_);  // those of a point with more are given back
    ready_ = true;
  }

  std::string const& wrong() const { return verdict_.wrong; }
  exec_type& exec() { return *exec_; }
  S& subject() { return subject_; }

  /// To the next copy, and its sequences to where the call begins.
  copy& rewind() {
    current_ = (current_ + 1) % active_;
    if constexpr (rewinds) subject_.rewind(*copies_[current_]);
    return *copies_[current_];
  }
  void run() { subject_.run(*exec_, *copies_[current_]); }

  /// Calls before the first that is timed.
  void warm_up() {
    std::size_t calls = 1;
    if constexpr (requires { subject_.calls_per_copy(); })
      calls =
          std::max<std::size_t>(1, active_ * static_cast<std::size_t>(subject_.calls_per_copy()));
    for (std::size_t i = 0; i < calls; ++i) {
      rewind();
      run();
    }
  }

  /// Calls that are timed together: about 10 us of them where nothing has to be rewound, since
  /// reading the clock takes tens of nanoseconds.
  std::int64_t calls_per_time() {
    if (rewinds || active_ > 1 || on_device<exec_type>) return 1;
    double const once = seconds_of(*exec_, [&] { run(); });
    return static_cast<std::int64_t>(std::clamp(1e-5 / std::max(once, 1e-9), 1.0, 1000.0));
  }

  double least_seconds(roofline const& on) const {
    if constexpr (requires { subject_.least_seconds(on); })
      return subject_.least_seconds(on);
    else
      return on.seconds(subject_.cost().flops, subject_.cost().bytes);
  }

  /// The printout's text beside the name.
  std::string label() const {
    std::string text = std::to_string(active_) + (active_ == 1 ? " copy, " : " copies, ") +
                       text_of_bytes(double(active_) * copy_bytes());
    if (weights_ == bench::weights::cold &&
        double(active_) * subject_.cost().bytes < double(bytes_to_be_cold(*exec_)))
      text += " (no room to be cold)";
    if constexpr (requires { subject_.note(); }) text += subject_.note();
    return text + (verdict_.is_checked() ? "; off by " + number(verdict_.off, "%.1e")
                                         : "; unchecked: the reference has no room");
  }

 private:
  static constexpr bool rewinds = requires(S s, copy& one) { s.rewind(one); };

  void prepare(std::size_t i) {
    if (copies_.size() <= i) copies_.resize(i + 1);
    subject_.prepare(*exec_, copies_[i]);
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

  std::shared_ptr<S const> of_;
  S subject_;
  bench::weights weights_;
  std::int64_t asked_bytes_;
  call call_{.tokens = 0};
  int asked_threads_ = 0;
  bool ready_ = false;
  std::unique_ptr<exec_type> exec_;
  std::vector<std::unique_ptr<copy>> copies_;
  std::size_t active_ = 1, current_ = 0;
  verdict verdict_;
};

/// Google Benchmark calls a function several times until it has run long enough, and building and
/// checking a model each time would take longer than timing it. One session is kept, the last, so
/// that no more memory is used than that needs.
inline std::unique_ptr<any_session>& kept() {
  static std::unique_ptr<any_session> one;
  return one;
}

template <subject S>
session<S>& session_of(std::shared_ptr<S const> const& of, sweep const& by) {
  auto* known = dynamic_cast<session<S>*>(kept().get());
  if (known == nullptr || !known->serves(of, by)) {
    kept().reset();  // before the next is made
    auto made = std::make_unique<session<S>>(of, by.weights, by.max_bytes);
    known = made.get();
    kept() = std::move(made);
  }
  return *known;
}

/// Times one point and sets what is reported:
///   tokens/s, GFLOP/s, GB/s     rates of what the subject counts, over the time of the calls
///   predicted_us, roofline_%    the least time on the roofline, and its share of the measured
///   peak_GFLOP/s, peak_GB/s     the roofline, measured in this run
template <subject S>
void measure(::benchmark::State& state, session<S>& timed, sweep_point const& at, bool by_layer) {
  timed.go(at.call, at.threads);
  if (!timed.wrong().empty()) return state.SkipWithError(timed.wrong().c_str());
  roofline const& on = roofline_of_run(timed.exec());
  timed.warm_up();
  std::int64_t const together = timed.calls_per_time();
  double seconds = 0, calls = 0;
  for (auto _ : state) {
    timed.rewind();
    double const spent = seconds_of(timed.exec(), [&] {
      for (std::int64_t i = 0; i < together; ++i) timed.run();
    });
    state.SetIterationTime(spent / double(together));
    seconds += spent;
    calls += double(together);
  }
  if (!(seconds > 0)) return;
  double const each = seconds / calls, least = timed.least_seconds(on);
  call_cost const cost = timed.subject().cost();
  auto& out = state.counters;
  out["tokens/s"] = double(at.call.tokens * at.call.sequences) / each;
  out["GFLOP/s"] = cost.flops / each / 1e9;
  out["GB/s"] = cost.bytes / each / 1e9;
  out["predicted_us"] = least * 1e6;
  out["roofline_%"] = 100 * least / each;
  out["peak_GFLOP/s"] = on.flops / 1e9;
  out["peak_GB/s"] = on.bytes / 1e9;
  if constexpr (requires { timed.subject().add_counters(out); }) timed.subject().add_counters(out);
  state.SetLabel(timed.label());
  auto const next = [&]() -> typename S::copy& { return timed.rewind(); };
  if constexpr (requires { timed.subject().table(timed.exec(), on, next); })
    if (by_layer) keep_table(at.name, timed.subject().table(timed.exec(), on, next));
}

}  // namespace detail

/// Registers a subject with Google Benchmark, a benchmark for each point of the sweep.
///
///   plait::bench::register_subject("axpy", axpy{}, {.tokens = {1, 64}});
///
/// Each point is checked before it is timed; a subject that is wrong is an error of the benchmark,
/// and has no time. Names are those of sweep.hpp, counters those of detail::measure. plait::error
/// where the sweep is empty or out of range. Memory: one session is kept, the last, with
/// sweep::max_bytes of copies at most unless one needs more.
template <class S>
registered register_subject(std::string const& name, S const& what, sweep const& by = {}) {
  registered all;
  static_assert(subject<S>,
                "plait: register_subject needs a subject: exec_type, copy, begin, prepare, check, "
                "run and cost, as benchmark/subject.hpp says");
  if constexpr (subject<S>) {
    using exec_type = typename S::exec_type;
    if constexpr (sizeof(detail::measurable<exec_type>) > 0 && detail::is_measurable<exec_type>) {
      auto const of = std::make_shared<S const>(what);
      for (detail::sweep_point const& at :
           detail::points_of<exec_type>(name, by, detail::depends_on<S>())) {
        auto const run = [=](::benchmark::State& state) {
          try {
            detail::measure(state, detail::session_of(of, by), at, by.by_layer);
          } catch (std::exception const& e) {
            state.SkipWithError(e.what());
          }
        };
        all.push_back(::benchmark::RegisterBenchmark(at.name.c_str(), run)
                          ->UseManualTime()
                          ->Unit(::benchmark::kMicrosecond));
      }
    }
  }
  return all;
}

}  // namespace bench
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
