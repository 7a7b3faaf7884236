// Steps of a whole model: prefill of a prompt, decode of one sequence at several contexts, decode of several sequences together.
//
// By default a hybrid of 128 M parameters; with --large also the one of 932 M, whose layers the other benchmarks time (4 GB).
#include "support.hpp"

#include <algorithm>

namespace bench {
namespace {

constexpr auto config_128m = [] {
  auto c = config_1b;
  c.d_model = 512, c.vocab_size = 16384;
  c.attention = {.num_heads = 8, .num_kv_heads = 2};
  c.recurrent.dt_rank = 32;
  c.dense.d_ff = c.sparse.d_ff = 1792;
  c.sparse.num_experts = 8;
  return c;
}();

template <auto Config, class Exec>
using model_of = plait::model<Config, Exec>;

/// `sequences` sequences of `context` tokens each; a step gives each of them `tokens` more and computes the logits of the last.
template <auto Config, class Exec>
class step {
 public:
  using model = model_of<Config, Exec>;
  using T = typename Exec::value_type;

  step(Exec& e, std::int64_t tokens, std::int64_t context, std::int64_t sequences)
      : exec_(e), tokens_(tokens), context_(context), logits_(sequences, Config.vocab_size) {
    model_->reserve(exec_, std::max(tokens * sequences, context), sequences);
    for (std::int64_t s = 0; s < sequences; ++s) {
      caches_.push_back(pool_.make());
      if (context > 0) {
        matrix<T> unused(1, Config.vocab_size);
        caches_.back().reserve(context);
        batch_.clear();
        batch_.add(caches_.back(), ids(s, 0, context));
        model_->forward(exec_, batch_, unused.view());
      }
      starts_.push_back(caches_.back().snapshot());
      next_.push_back(ids(s, context, tokens));
    }
  }
  /// From the start again each time: that costs a reference a page and a copy of the recurrent state, and is part of the time.
  void run() {
    batch_.clear();
    for (std::size_t s = 0; s < caches_.size(); ++s) {
      caches_[s].restore(starts_[s]);
      caches_[s].reserve(tokens_);
      batch_.add(caches_[s], next_[s]);
    }
    model_->forward(exec_, batch_, logits_.view());
  }
  plait::matrix_view<T const> output() const { return logits_.read(); }

  double flops() const {
    double const each = double(plait::policies::cost(Config, plait::f32, 1, context_ + (tokens_ + 1) / 2).flops);
    double const head = 2.0 * Config.vocab_size * Config.d_model;
    return double(caches_.size()) * (double(tokens_) * (each - head) + head);  // logits of the last token alone
  }
  /// Weights once, experts as far as random routing reaches them; of each sequence the state in and out, keys and values in and out.
  double bytes() const {
    auto const sequences = static_cast<std::int64_t>(caches_.size());
    return double(plait::policies::weight_traffic(Config, plait::f32, tokens_ * sequences)) +
           2 * double(plait::recurrent_state_bytes(Config, sequences)) +
           double(plait::kv_cache_bytes(Config, context_ + tokens_, 4, sequences));
  }

 private:
  static std::vector<std::int32_t> ids(std::int64_t sequence, std::int64_t first, std::int64_t count) {
    std::vector<std::int32_t> list;
    for (std::int64_t i = first; i < first + count; ++i)
      list.push_back(
          static_cast<std::int32_t>(plait::detail::mix(std::uint64_t(sequence), std::uint64_t(i)) % std::uint64_t(Config.vocab_size)));
    return list;
  }

  Exec& exec_;
  std::int64_t tokens_, context_;
  std::shared_ptr<model> model_ = shared<Exec>([] {
    model made;
    fill(made);
    return made;
  });
  plait::cache_pool<model> pool_;
  std::vector<plait::cache<model>> caches_;
  std::vector<plait::snapshot<model>> starts_;
  std::vector<std::vector<std::int32_t>> next_;
  plait::batch<model> batch_;
  matrix<T> logits_;
};

/// The small model against the reference: two sequences together, a few tokens on a few cached ones.
std::string const& disagreement_of_model() {
  static std::string const sentence = [] {
    auto cpu = make_cpu();
    plait::exec::reference reference;
    step<config_128m, plait::exec::cpu<>> fast(cpu, 2, 3, 2);
    step<config_128m, plait::exec::reference> slow(reference, 2, 3, 2);
    fast.run(), slow.run();
    double largest = 0, worst = 0;
    for (std::int64_t r = 0; r < 2; ++r)
      for (std::int64_t c = 0; c < config_128m.vocab_size; ++c) {
        double const expected = slow.output()(r, c), off = std::abs(expected - double(fast.output()(r, c)));
        largest = std::max(largest, std::abs(expected));
        worst = off <= worst ? worst : off;
      }
    return worst <= 1e-4 * largest
               ? std::string()
               : "logits are off by " + std::to_string(worst) + " where the reference reaches " + std::to_string(largest);
  }();
  return sentence;
}

/// Whether the logits after context + tokens tokens are bitwise those of one call over all of them, alone.
template <auto Config>
bool split_does_not_matter(step<Config, plait::exec::cpu<>>& work, std::int64_t tokens, std::int64_t context) {
  auto cpu = make_cpu();
  std::int64_t const all = tokens + context, last = std::min<std::int64_t>(all, 2);
  step<Config, plait::exec::cpu<>> otherwise(cpu, last, all - last, 1);
  otherwise.run(), work.run();
  return std::memcmp(work.output().row(0), otherwise.output().row(0), sizeof(float) * std::size_t(Config.vocab_size)) == 0;
}

template <auto Config>
void measure_step(benchmark::State& state) {
  struct session {
    plait::exec::cpu<> exec = make_cpu();
    step<Config, plait::exec::cpu<>> work;
    std::string wrong;
    session(std::int64_t tokens, std::int64_t context, std::int64_t sequences)
        : work(exec, tokens, context, sequences), wrong(disagreement_of_model()) {
      if (wrong.empty() && !split_does_not_matter<Config>(work, tokens, context))
        wrong = "logits depend on how the tokens were split into calls";
    }
  };
  static kept_for<session> kept;
  std::int64_t const tokens = state.range(0), context = state.range(1), sequences = state.range(2);
  session& s = kept({tokens, context, sequences}, [&] { return std::make_unique<session>(tokens, context, sequences); });
  if (!s.wrong.empty()) return state.SkipWithError(s.wrong.c_str());
  s.work.run();
  for (auto _ : state) s.work.run();
  count(state, tokens * sequences, s.work.flops(), s.work.bytes());
}

template <auto Config>
void steps(std::string const& name) {
  auto const add = [&](char const* what) {
    return benchmark::RegisterBenchmark((name + "/" + what).c_str(), measure_step<Config>)
        ->ArgNames({"tokens", "context", "sequences"})
        ->UseRealTime()
        ->Unit(benchmark::kMillisecond);
  };
  auto* const prefill = add("prefill");
  for (std::int64_t tokens = 2; tokens <= 2048; tokens *= 2) prefill->Args({tokens, 0, 1});
  auto* const decode = add("decode");
  for (std::int64_t context : {0, 128, 2048, 8192}) decode->Args({1, context, 1});
  auto* const together = add("decode_together");
  for (std::int64_t sequences : {2, 4, 8, 16, 32}) together->Args({1, 64, sequences});
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    bench::steps<bench::config_128m>("128M");
    if (bench::selected().large) bench::steps<bench::config_1b>("932M");
  });
}
