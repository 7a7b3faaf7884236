// A whole model as a benchmark.
#pragma once

#include <plait/benchmark/call.hpp>
#include <plait/benchmark/check.hpp>
#include <plait/benchmark/explain.hpp>
#include <plait/benchmark/fill.hpp>
#include <plait/benchmark/measure.hpp>
#include <plait/benchmark/names.hpp>
#include <plait/benchmark/options.hpp>
#include <plait/benchmark/probe.hpp>
#include <plait/exec/cpu.hpp>
#include <plait/exec/reference.hpp>
#include <plait/model/batch.hpp>
#include <plait/model/cache.hpp>
#include <plait/model/model.hpp>

#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>
#include <vector>

namespace plait::inline PLAIT_ABI::bench {

namespace detail {

template <class Policy>
concept routes_tokens = requires(Policy const& p) {
  p.top_k;
  p.num_experts;
};

/// Calls visit(i, policy) for the feed-forward policies of an architecture.
template <class Architecture, class Visit>
void for_each_ffn(Architecture const& c, Visit&& visit) {
  std::apply([&, i = std::size_t{0}](auto const&... policy) mutable { (visit(i++, policy), ...); }, c.ffns());
}

/// Where the routers of a model read their logits when routing is made: feed-forward policy i of the architecture has the channels from
/// first[i] on, first.back() channels in all.
template <class Architecture>
std::vector<std::int64_t> router_channels(Architecture const& c) {
  std::vector<std::int64_t> first{0};
  for_each_ffn(c, [&](std::size_t, auto const& p) {
    std::int64_t experts = 0;
    describe(p, c.d_model, [&](tensor const& t) { experts = t.role == role::router ? t.rows : experts; });
    first.push_back(first.back() + experts);
  });
  return first;
}

/// Writes into the row of a token, id or position g, the logits that bring it to its experts in every layer. `wanted` holds a list a
/// policy.
template <class Architecture>
void write_all_logits(Architecture const& c, std::vector<std::int64_t> const& first, std::vector<std::vector<std::int32_t>> const& wanted,
                      std::int64_t g, float amplitude, float* row) {
  for_each_ffn(c, [&]<class Policy>(std::size_t i, Policy const& p) {
    if constexpr (routes_tokens<Policy>)
      if (first[i + 1] > first[i]) write_logits(wanted[i].data() + g * p.top_k, p.top_k, p.num_experts, amplitude, row + first[i]);
  });
}
template <class Architecture>
std::vector<std::vector<std::int32_t>> wanted_by_policy(Architecture const& c, routing r, std::int64_t tokens) {
  std::vector<std::vector<std::int32_t>> wanted;
  for_each_ffn(c, [&]<class Policy>(std::size_t, Policy const& p) {
    if constexpr (routes_tokens<Policy>) wanted.push_back(wanted_experts(r, p.num_experts, p.top_k, tokens));
    else wanted.emplace_back();
  });
  return wanted;
}

/// Fills a model; unless routing is random, so that it is as wanted: the first channels of the residual stream hold the routers' logits,
/// put there by the embedding and left alone by every linear map that ends in the stream. Norms scale all channels alike and keep their
/// order.
template <class Model>
void fill_routed(Model& m, routing r) {
  static constexpr auto c = Model::config;
  fill(m);
  auto const first = router_channels(c);
  std::int64_t const held = first.back();
  if (r == routing::random || held == 0) return;
  auto const wanted = wanted_by_policy(c, r, std::max<std::int64_t>(0, Model::vocab_size));
  std::vector<float> row;
  m.for_each_tensor([&](int layer, std::string_view part, tensor const& t, auto& data) {
    row.resize(static_cast<std::size_t>(t.cols));
    bool const embeds = part == "embedding" || (part == "head" && Model::tied);
    if (embeds) {
      for (std::int64_t v = 0; v < t.rows; ++v) {
        data.get_row(0, v, row.data());
        write_all_logits(c, first, wanted, v, 0.08f, row.data());
        data.set_row(0, v, row.data());
      }
    } else if (t.role == role::router) {
      std::int64_t const channel = first[static_cast<std::size_t>(c.ffn_at(layer))];
      for (std::int64_t e = 0; e < t.rows; ++e) {
        std::fill(row.begin(), row.end(), 0.0f);
        row[static_cast<std::size_t>(channel + e)] = 1;
        data.set_row(0, e, row.data());
      }
    } else if ((part == "mixer" || part == "ffn") && (t.role == role::matrix || t.role == role::expert) && t.rows == c.d_model) {
      std::fill(row.begin(), row.end(), 0.0f);
      for (std::int64_t copy = 0; copy < t.copies; ++copy)
        for (std::int64_t i = 0; i < held; ++i) data.set_row(copy, i, row.data());
    }
  });
}

/// A model with sequences: `sequences` of them, each with a context, and a call that gives each of them new tokens.
template <class Model>
class model_steps {
 public:
  using exec_type = typename Model::exec_type;
  using T = typename Model::value_type;
  static constexpr std::int64_t columns = Model::has_vocabulary ? Model::vocab_size : Model::d_model;
  static constexpr auto config = Model::config;

  model_steps(Model const& m, routing r) : model_(m), routing_(r), channels_(router_channels(config)) {}

  /// Caches of `what.sequences` sequences with what.context tokens; goes on from what is there if that is no longer.
  void prepare(exec_type& exec, call const& what) {
    static constexpr std::int64_t chunk = 512;
    model_.reserve(exec, std::max(what.tokens * what.sequences, std::min(chunk, std::max<std::int64_t>(1, what.context))), what.sequences);
    if (std::int64_t(caches_.size()) != what.sequences || context_ > what.context) {
      starts_.clear(), caches_.clear();
      caches_.reserve(static_cast<std::size_t>(what.sequences));
      for (std::int64_t s = 0; s < what.sequences; ++s) caches_.push_back(pool_.make());
      context_ = 0;
    } else {
      for (std::size_t s = 0; s < caches_.size(); ++s) caches_[s].restore(starts_[s]);
    }
    starts_.clear();
    bench::matrix<T> unused(1, columns);
    for (std::int64_t s = 0; s < what.sequences; ++s) {
      basic_cache<T>& cache = caches_[static_cast<std::size_t>(s)];
      for (std::int64_t at = context_, n = 0; at < what.context; at += n) {
        n = std::min(chunk, what.context - at);
        cache.reserve(n);
        batch_.clear();
        new_tokens const some = tokens_of(s, at, n, at);  // embeddings are read when forward runs
        some.add(batch_, cache);
        forward(exec, unused.view());
      }
      starts_.push_back(cache.snapshot());
    }
    context_ = what.context, what_ = what;
    next_.clear();
    for (std::int64_t s = 0; s < what.sequences; ++s) next_.push_back(tokens_of(s, what.context, what.tokens, s * what.tokens));
    output_ = std::make_unique<bench::matrix<T>>(what.sequences, columns);
  }
  /// To the start again, with the batch of the call.
  void rewind() {
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s) {
      caches_[s].restore(starts_[s]);
      caches_[s].reserve(what_.tokens);
      next_[s].add(batch_, caches_[s]);
    }
  }
  void run(exec_type& exec) { forward(exec, output_->view()); }
  template <class Observer>
  void run(exec_type& exec, Observer const& see) {
    if constexpr (Model::has_vocabulary) model_.forward(exec, batch_, output_->view(), see);
    else model_.forward_hidden(exec, batch_, output_->view(), see);
  }
  /// The same work in two calls, the last token alone.
  void run_split(exec_type& exec) {
    rewind();
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s) next_[s].add(batch_, caches_[s], 0, what_.tokens - 1);
    forward(exec, output_->view());
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s) next_[s].add(batch_, caches_[s], what_.tokens - 1, 1);
    forward(exec, output_->view());
  }
  matrix_view<T const> output() const { return output_->read(); }

  /// How many of the call's tokens are to reach each expert of feed-forward policy i.
  std::vector<std::int64_t> wanted(std::size_t i) const {
    std::vector<std::int64_t> count;
    for_each_ffn(config, [&]<class Policy>(std::size_t at, Policy const& p) {
      if constexpr (routes_tokens<Policy>)
        if (at == i) {
          count.assign(static_cast<std::size_t>(p.num_experts), 0);
          std::int64_t const tokens = what_.tokens * what_.sequences, period = Model::has_vocabulary ? Model::vocab_size : tokens;
          auto const list = wanted_experts(routing_, p.num_experts, p.top_k, period);
          for (std::int64_t g = 0; g < tokens; ++g)
            for (std::int64_t j = 0; j < p.top_k; ++j) ++count[static_cast<std::size_t>(list[std::size_t(g % period * p.top_k + j)])];
        }
    });
    return count;
  }

 private:
  /// Some tokens of a sequence: ids, or embeddings where there is no vocabulary.
  struct new_tokens {
    std::vector<std::int32_t> ids;
    std::unique_ptr<bench::matrix<T>> embeddings;
    void add(basic_batch<T>& b, basic_cache<T>& cache) const {
      add(b, cache, 0, embeddings ? embeddings->read().rows() : std::int64_t(ids.size()));
    }
    void add(basic_batch<T>& b, basic_cache<T>& cache, std::int64_t from, std::int64_t count) const {
      if (embeddings) b.add(cache, embeddings->read().middle_rows(from, count));
      else b.add(cache, std::span<std::int32_t const>(ids).subspan(static_cast<std::size_t>(from), static_cast<std::size_t>(count)));
    }
  };
  /// Tokens at positions [position, position + count) of a sequence, which are numbers g, g + 1, ... of those routing spreads.
  new_tokens tokens_of(std::int64_t sequence, std::int64_t position, std::int64_t count, std::int64_t g) const {
    new_tokens made;
    if constexpr (Model::has_vocabulary) {
      for (std::int64_t i = 0; i < count; ++i) {
        auto const drawn = plait::detail::mix(static_cast<std::uint64_t>(sequence), static_cast<std::uint64_t>(position + i));
        std::int64_t const id =
            routing_ == routing::random ? std::int64_t(drawn % std::uint64_t(Model::vocab_size)) : (g + i) % Model::vocab_size;
        made.ids.push_back(static_cast<std::int32_t>(id));
      }
    } else {
      made.embeddings = std::make_unique<bench::matrix<T>>(count, Model::d_model, std::uint64_t(sequence) + 3, position);
      if (routing_ != routing::random && channels_.back() > 0) {
        auto const list = wanted_by_policy(config, routing_, g + count);
        std::vector<float> row(static_cast<std::size_t>(Model::d_model));
        for (std::int64_t i = 0; i < count; ++i) {
          write_all_logits(config, channels_, list, g + i, 4.0f, row.data());
          std::copy_n(row.begin(), channels_.back(), made.embeddings->view().row(i));
        }
      }
    }
    return made;
  }
  void forward(exec_type& exec, matrix_view<T> out) {
    if constexpr (Model::has_vocabulary) model_.forward(exec, batch_, out);
    else model_.forward_hidden(exec, batch_, out);
  }

  Model const& model_;
  routing routing_;
  std::vector<std::int64_t> channels_;
  cache_pool<Model> pool_;
  std::vector<basic_cache<T>> caches_;
  std::vector<basic_snapshot<T>> starts_;
  std::vector<new_tokens> next_;
  basic_batch<T> batch_;
  std::unique_ptr<bench::matrix<T>> output_;
  std::int64_t context_ = 0;
  call what_;
};

template <auto C, class Exec>
class model_work {
 public:
  using model_type = model<C, Exec>;
  using T = typename Exec::value_type;
  static constexpr auto config = C;
  static constexpr bool is_routed = [] {
    bool any = false;
    for (int i = 0; i < C.num_layers(); ++i)
      visit_layer(C, i, [&](auto const&, auto const& ffn) { any = any || policies::experts_chosen(ffn) > 0; });
    return any;
  }();

  model_work(model_options const& options) : options_(options) {
    if (options_.max_bytes <= 0) options_.max_bytes = machine_memory() / 4;
    if (options_.max_check_bytes <= 0) options_.max_check_bytes = machine_memory() / 4;
  }

  void go(call const& what, int threads) {
    if (ready_ && threads == asked_threads_ && what.tokens == call_.tokens && what.context == call_.context &&
        what.sequences == call_.sequences)
      return;
    ready_ = false;
    exec_ = make_exec<Exec>(threads);
    asked_threads_ = threads, call_ = what, wrong_ = {}, active_ = 1, current_ = 0;
    prepare(0);
    check();
    if (wrong_.empty()) look();
    if (wrong_.empty() && options_.weights == bench::weights::cold) {
      double const read = explanation_of({.flops = 1, .bytes = 1}).cost().bytes;
      double const wanted = double(cold_bytes(exec_->threads())) / std::max(read, 1.0) + 1;
      active_ = static_cast<std::size_t>(std::min(wanted, double(std::max<std::int64_t>(1, options_.max_bytes / copy_bytes()))));
      for (std::size_t i = 1; i < active_; ++i) prepare(i);
    }
    copies_.resize(std::max(active_, std::size_t{1}));
    ready_ = true;
  }
  std::string const& wrong() const { return wrong_; }
  Exec& exec() { return *exec_; }
  void rewind() {
    current_ = (current_ + 1) % active_;
    copies_[current_]->steps.rewind();
  }
  void run() { copies_[current_]->steps.run(*exec_); }

  explanation explanation_of(roofline const& on) const { return explain(config, Exec::types, call_, on, reached_); }

  /// The rows of an explanation with measured times: what an observer sees ends where it sees it. The best of a few calls for each row.
  explanation by_layer(roofline const& on) {
    using clock = std::chrono::steady_clock;
    explanation e = explanation_of(on);
    for (int runs = 0; runs < 5; ++runs) {
      rewind();
      std::size_t row = 0;
      auto last = clock::now();
      auto const end_of_row = [&] {
        auto const now = clock::now();
        double const spent = std::chrono::duration<double>(now - last).count();
        if (row < e.rows.size()) e.rows[row].measured = runs == 0 ? spent : std::min(e.rows[row].measured, spent);
        ++row, last = now;
      };
      copies_[current_]->steps.run(*exec_, [&](probe at, auto const&) {
        std::string_view const name = at.name;
        if (name == "mixer" || name == "ffn" || (name == "embed" && model_type::has_vocabulary)) end_of_row();
      });
      if (model_type::has_vocabulary) end_of_row();
    }
    return e;
  }

  std::string label() const {
    std::string text = std::to_string(active_).append(active_ == 1 ? " copy, " : " copies, ");
    text.append(text_of_bytes(double(active_) * double(copy_bytes())));
    if (options_.weights == bench::weights::cold &&
        double(active_) * explanation_of({.flops = 1, .bytes = 1}).cost().bytes < double(cold_bytes(exec_->threads())))
      text.append(" (no room to be cold)");
    if constexpr (is_routed) {
      double sum = 0, layers = 0;
      for (double const n : reached_) sum += n, layers += n > 0;
      text.append("; ").append(number(layers > 0 ? sum / layers : 0, "%.3g")).append(" experts a layer reached");
    }
    if (off_ < 0) return text.append("; unchecked: the reference has no room");
    return text.append("; off by ").append(number(off_, "%.1e"));
  }

 private:
  struct copy {
    model_type weights;
    model_steps<model_type> steps;
    explicit copy(routing r) : steps(weights, r) { fill_routed(weights, r); }
  };

  std::int64_t copy_bytes() const {
    return weight_bytes(config, Exec::types) + recurrent_state_bytes(config, call_.sequences) +
           kv_cache_bytes(config, call_.context + call_.tokens + page_tokens, value_bytes(Exec::types.kv), call_.sequences);
  }
  void prepare(std::size_t i) {
    if (copies_.size() <= i) copies_.resize(i + 1);
    if (!copies_[i]) copies_[i] = std::make_unique<copy>(options_.routing);
    copies_[i]->steps.prepare(*exec_, call_);
  }

  /// Two sequences together, two tokens on three cached ones, beside the reference with the same weights; once.
  void check() {
    if (!checked_) {
      checked_ = true;
      if (weight_bytes(config, f32) / 4 * std::int64_t{sizeof(double)} > options_.max_check_bytes) {
        off_ = -1;
      } else {
        call small{.tokens = 2, .context = 3, .sequences = 2, .routing = options_.routing};
        if (model_type::continues() == continuation::none) small.context = 0;
        exec::reference slow;
        model<C, exec::reference> expected;
        copy_weights(copies_[0]->weights, expected);
        model_steps<model<C, exec::reference>> should(expected, options_.routing);
        model_steps<model_type> is(copies_[0]->weights, options_.routing);
        should.prepare(slow, small), is.prepare(*exec_, small);
        should.rewind(), is.rewind();
        should.run(slow), is.run(*exec_);
        bool const keeps = kv_cache_bytes(config, 1, 1) > 0;
        difference const d = compare(is.output(), should.output());
        against_reference_ = d.complaint(tolerance(Exec::types, keeps));
        off_ = d.relative();
      }
      // The workspace that the check reserved is less than the point's, which `prepare` reserved before.
    }
    wrong_ = against_reference_;
    if (!wrong_.empty()) return;
    // The call that will be timed, and the same tokens in two calls: the same bits.
    auto& steps = copies_[0]->steps;
    steps.rewind(), steps.run(*exec_);
    if (call_.tokens < 2 || model_type::continues() != continuation::bitwise) return;
    std::vector<T> once;
    for (std::int64_t r = 0; r < steps.output().rows(); ++r)
      once.insert(once.end(), steps.output().row(r), steps.output().row(r) + steps.columns);
    steps.run_split(*exec_);
    if (std::memcmp(once.data(), steps.output().data(), once.size() * sizeof(T)) != 0)
      wrong_ = "the result of " + std::to_string(call_.tokens) + " tokens is not that of the same tokens in two calls, bit for bit";
  }

  /// The experts each layer reaches in the timed call, and whether they are those wanted.
  void look() {
    reached_.assign(static_cast<std::size_t>(config.num_layers()), 0.0);
    if constexpr (is_routed) {
      for (int i = 0; i < config.num_layers(); ++i)
        visit_layer(config, i, [&](auto const&, auto const& ffn) {
          reached_[static_cast<std::size_t>(i)] = experts_reached(ffn, call_.routing, call_.tokens * call_.sequences);
        });
      copies_[0]->steps.rewind();
      copies_[0]->steps.run(*exec_, [&](probe at, auto const& m) {
        if constexpr (std::is_same_v<std::remove_const_t<std::remove_pointer_t<decltype(m.data())>>, std::int32_t>) {
          if (std::string_view(at.name) != "experts" || at.layer < 0) return;
          std::vector<std::int64_t> tokens_of;
          for (std::int64_t t = 0; t < m.rows(); ++t)
            for (std::int64_t j = 0; j < m.cols(); ++j) {
              auto const e = static_cast<std::size_t>(m(t, j));
              if (tokens_of.size() <= e) tokens_of.resize(e + 1, 0);
              ++tokens_of[e];
            }
          reached_[static_cast<std::size_t>(at.layer)] =
              double(std::count_if(tokens_of.begin(), tokens_of.end(), [](std::int64_t n) { return n > 0; }));
          if (options_.routing == routing::random) return;
          auto const wanted = copies_[0]->steps.wanted(static_cast<std::size_t>(config.ffn_at(at.layer)));
          tokens_of.resize(std::max(tokens_of.size(), wanted.size()), 0);
          if (tokens_of != wanted)
            wrong_ = std::string("tokens do not go to experts as routing ")
                         .append(name_of(options_.routing))
                         .append(" wants them to, in layer ")
                         .append(std::to_string(at.layer));
        }
      });
    }
  }

  model_options options_;
  call call_{.tokens = 0};
  int asked_threads_ = 0;
  bool ready_ = false, checked_ = false;
  std::unique_ptr<Exec> exec_;
  std::vector<std::unique_ptr<copy>> copies_;
  std::size_t active_ = 1, current_ = 0;
  std::vector<double> reached_;
  double off_ = 0;
  std::string wrong_, against_reference_;
};

}  // namespace detail

/// Registers the model of an architecture with Google Benchmark, a benchmark for each combination of tokens, context, sequences and
/// threads: one call gives each of `sequences` sequences, with `context` tokens each, so many tokens more, and computes the logits of its
/// last.
///
///   plait::bench::register_model<config, plait::exec::cpu<>>("hybrid", {.tokens = {512}});                                // prefill
///   plait::bench::register_model<config, plait::exec::cpu<>>("hybrid", {.tokens = {1}, .context = {0, 2048, 8192}});      // decode
///
/// Contexts are filled by forward itself, and kept while they only grow: give them in rising order. Before anything is timed a few tokens
/// are compared with exec::reference on the same weights as they are kept, and the call that is timed with the same tokens in two calls,
/// bit for bit. A disagreement is an error of the benchmark. What is counted and printed: benchmark/measure.hpp, and parameters,
/// active_parameters, state_bytes and kv_bytes of the sequences. plait::error where an option is out of range. Memory: options.max_bytes
/// at most for copies, unless one needs more; while it is checked the model in double, if options.max_check_bytes allow.
template <auto Config, class Exec = exec::cpu<>>
registered register_model(std::string const& name, model_options const& options = {}) {
  registered all;
  if constexpr (sizeof(detail::measurable<Exec>) > 0 && detail::has_types<Exec> && detail::is_made_for_threads<Exec>) {
    using work = detail::model_work<Config, Exec>;
    static constexpr auto config = Config;
    detail::check_range(name, "tokens", options.tokens, 1, max_call_tokens);
    detail::check_range(name, "context", options.context, 0, std::int64_t{1} << 32);
    detail::check_range(name, "sequences", options.sequences, 1, max_call_tokens);
    if (std::int64_t const held = detail::router_channels(config).back(); options.routing != routing::random && held > config.d_model)
      throw error("register " + name + ": routing " + name_of(options.routing) + " needs a channel an expert, " + std::to_string(held) +
                  " of d_model " + std::to_string(config.d_model));
    std::vector<std::int64_t> contexts = options.context;
    if (work::model_type::continues() == continuation::none) contexts = {0};
    std::string const key = std::string(typeid(work).name()) + name_of(options.weights) + name_of(options.routing) +
                            std::to_string(options.max_bytes) + " " + std::to_string(options.max_check_bytes);
    for (int const threads : detail::threads_of<Exec>(name, options.threads))
      for (std::int64_t const sequences : options.sequences)
        for (std::int64_t const context : contexts)
          for (std::int64_t const tokens : options.tokens) {
            detail::point_name full(name, Exec::types);
            full.add("tokens", tokens).add("context", context);
            if (options.sequences != std::vector<std::int64_t>{1}) full.add("sequences", sequences);
            full.add("threads", threads).add("weights", name_of(options.weights));
            if (work::is_routed) full.add("routing", name_of(options.routing));
            bench::call const what{.tokens = tokens, .context = context, .sequences = sequences, .routing = options.routing};
            std::string const title = full.text();
            auto const run = [=](::benchmark::State& state) {
              try {
                work& w = detail::keep<work>(key, [&] { return std::make_shared<work>(options); });
                w.go(what, threads);
                if (!w.wrong().empty()) return state.SkipWithError(w.wrong().c_str());
                roofline const& on = detail::roofline_of_run(w.exec(), arithmetic_of(Exec::types));
                explanation const least = w.explanation_of(on);
                w.rewind(), w.run();
                detail::measure(
                    state, tokens * sequences, least.cost(), least.seconds(), on, [&] { w.rewind(); }, [&] { w.run(); });
                counts const n = count(config);
                state.counters["parameters"] = double(n.total_parameters);
                state.counters["active_parameters"] = double(n.active_parameters);
                state.counters["state_bytes"] = double(recurrent_state_bytes(config, sequences));
                state.counters["kv_bytes"] = double(kv_cache_bytes(config, context + tokens, value_bytes(Exec::types.kv), sequences));
                state.SetLabel(w.label());
                if (options.by_layer) detail::keep_table(title, w.by_layer(on));
              } catch (std::exception const& e) { state.SkipWithError(e.what()); }
            };
            all.push_back(::benchmark::RegisterBenchmark(full.text().c_str(), run)->UseManualTime()->Unit(::benchmark::kMicrosecond));
          }
  }
  return all;
}

}  // namespace plait::inline PLAIT_ABI::bench
