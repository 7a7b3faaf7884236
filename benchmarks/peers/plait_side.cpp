// plait's side of the comparison: speed, memory, logits and bits per byte of the checkpoint that
// the program is built for, in storage and compute types chosen at run time. Prints a line of JSON
// per measurement.
#include "command_line.hpp"
#include "side.hpp"

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace {

constexpr auto config = checkpoint_architecture::config;

struct options : side::options {
  std::string checkpoint, precision = "f32";
  std::vector<std::int64_t> prefill{128, 512, 2048};
  std::vector<std::int64_t> context{0, 2048, 8192};
};

template <plait::precision P>
class side_of_plait {
  using exec_type = plait::exec::cpu<P>;
  using model = checkpoint_architecture::model<exec_type>;
  using T = typename model::value_type;

 public:
  explicit side_of_plait(options const& o) : o_(o), exec_(o.threads) {
    load_seconds_ = side::seconds([&] { net_ = plait::io::load<model>(o.checkpoint); });
    load_peak_ = side::status_mib("VmHWM");
  }

  void speed() {
    side::bandwidth_probe probe(o_.threads);
    for (std::int64_t tokens : o_.prefill)
      print("prefill", tokens, 0, 1, measure(1, 0, tokens, 1, nullptr));
    for (std::int64_t context : o_.context) {
      std::vector<double> bandwidth;
      auto const times =
          measure(1, context, 1, o_.new_tokens, [&] { bandwidth.push_back(probe()); });
      // The bandwidth of a repetition is the better of those before and after it: the lower one
      // would overstate the share.
      std::vector<double> shares;
      for (std::size_t r = 0; r < times.size(); ++r)
        shares.push_back(weight_bytes / 1e9 * double(o_.new_tokens) / times[r] /
                         std::max(bandwidth[r], bandwidth[r + 1]));
      print("decode", o_.new_tokens, context, 1, times,
            {{"bandwidth_gb_s", bandwidth},
             {"weight_bytes_per_token", weight_bytes},
             {"share_of_byte_floor", shares}});
    }
    for (std::int64_t sequences : o_.together)
      print("decode", o_.new_tokens * sequences, together_context, sequences,
            measure(sequences, together_context, 1, o_.new_tokens, nullptr));
  }

  /// Prints the largest resident sets after loading, and after a prompt of 512 tokens and eight
  /// more.
  void memory() {
    std::int64_t const prompt = 512, more = 8;
    net_->reserve(exec_, prompt);
    auto sequence = pool_.make();
    sequence.reserve(prompt + more);
    auto const ids = side::random_ids(1, prompt + more, config.vocab_size);
    forward(std::span(&sequence, 1), ids, 0, prompt);
    for (std::int64_t t = 0; t < more; ++t) forward(std::span(&sequence, 1), ids, prompt + t, 1);
    side::print({{"what", "memory"},
                 {"load_seconds", load_seconds_},
                 {"load_peak_mib", load_peak_},
                 {"peak_mib", side::status_mib("VmHWM")},
                 {"anonymous_mib", side::status_mib("RssAnon")},
                 {"weights_mib", stored_bytes / (1024 * 1024)}});
  }

  void logits() {
    auto const rows = all_logits(side::read_ids(o_.ids, config.vocab_size));
    side::write_floats(o_.out, rows.data(), std::int64_t(rows.size()));
  }

  void bits() {
    std::vector<float> rows;
    side::print(side::score(o_.text, std::size_t(o_.window), config.vocab_size,
                            [&](std::vector<std::int32_t> const& ids) {
                              rows = all_logits(ids);
                              return rows.data();
                            }));
  }

 private:
  static constexpr std::int64_t together_context = 64;
  static constexpr double weight_bytes = double(plait::policies::weight_traffic(config, P, 1));
  static constexpr double stored_bytes = double(plait::weight_bytes(config, P));

  /// Seconds of each repetition, after one that warms up: `steps` calls that give each of
  /// `sequences` sequences `tokens` more on top of `context`. `between` runs before, between and
  /// after them.
  std::vector<double> measure(std::int64_t sequences, std::int64_t context, std::int64_t tokens,
                              std::int64_t steps, std::function<void()> const& between) {
    net_->reserve(exec_, std::max(context, tokens) * sequences, sequences);
    std::vector<plait::cache<model>> caches;
    for (std::int64_t s = 0; s < sequences; ++s) {
      caches.push_back(pool_.make());
      caches.back().reserve(context + tokens * steps);
    }
    auto const past = side::random_ids(1, context * sequences, config.vocab_size);
    if (context > 0) forward(caches, past, 0, context);
    std::vector<plait::snapshot<model>> starts;
    for (auto const& c : caches) starts.push_back(c.snapshot());
    auto const run = [&](std::uint32_t seed, std::int64_t of_steps) {
      for (std::size_t s = 0; s < caches.size(); ++s) {
        caches[s].restore(starts[s]);
        caches[s].reserve(tokens * steps);
      }
      auto const ids = side::random_ids(seed, tokens * sequences * of_steps, config.vocab_size);
      return side::seconds([&] {
        for (std::int64_t step = 0; step < of_steps; ++step)
          forward(caches, ids, step * tokens * sequences, tokens);
      });
    };
    run(2, 1);
    std::vector<double> times;
    for (int r = 0; r < o_.repetitions; ++r) {
      if (between) between();
      times.push_back(run(static_cast<std::uint32_t>(3 + r), steps));
    }
    if (between) between();
    return times;
  }

  /// Forwards ids[first ...], `tokens` per sequence, and computes the logits of each one's last.
  void forward(std::span<plait::cache<model>> caches, std::vector<std::int32_t> const& ids,
               std::int64_t first, std::int64_t tokens) {
    batch_.clear();
    for (auto& c : caches) {
      batch_.add(c, std::span(ids).subspan(std::size_t(first), std::size_t(tokens)));
      first += tokens;
    }
    logits_.resize(caches.size() * std::size_t(config.vocab_size));
    net_->forward(exec_, batch_, {logits_.data(), std::int64_t(caches.size()), config.vocab_size});
  }

  std::vector<float> all_logits(std::vector<std::int32_t> const& ids) {
    auto const tokens = std::int64_t(ids.size());
    net_->reserve(exec_, tokens);
    auto sequence = pool_.make();
    sequence.reserve(tokens);
    batch_.clear();
    batch_.add(sequence, ids, plait::rows::all);
    std::vector<T> rows(ids.size() * std::size_t(config.vocab_size));
    net_->forward(exec_, batch_, {rows.data(), tokens, config.vocab_size});
    return {rows.begin(), rows.end()};
  }

  void print(char const* what, std::int64_t tokens, std::int64_t context, std::int64_t sequences,
             std::vector<double> const& times,
             nlohmann::json const& more = nlohmann::json::object()) {
    std::vector<double> speeds;
    for (double t : times) speeds.push_back(double(tokens) / t);
    nlohmann::json line{{"what", what},
                        {"tokens", tokens},
                        {"context", context},
                        {"sequences", sequences},
                        {"tokens_per_second", speeds}};
    line.update(more);
    side::print(line);
  }

  options const& o_;
  exec_type exec_;
  double load_seconds_ = 0, load_peak_ = 0;
  std::unique_ptr<model> net_;
  plait::cache_pool<model> pool_;
  plait::batch<model> batch_;
  std::vector<T> logits_;
};

/// Calls visit.operator()<P>(name) for each precision of the program.
template <class Visit>
void for_each_precision(Visit&& visit) {
  visit.template operator()<plait::f32>("f32");
  visit.template operator()<plait::bf16>("bf16");
  visit.template operator()<plait::with_compute(plait::bf16, plait::dtype::bf16)>("bf16-dot");
  visit.template operator()<plait::int8>("int8");
  visit.template operator()<plait::with_compute(plait::int8, plait::dtype::int8)>("int8-dot");
  visit.template operator()<plait::experts_int8>("experts_int8");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("plait's side of benchmarks/peers", "plait_side");
  options o;
  app.add_option("--checkpoint", o.checkpoint, "Hugging Face directory");
  app.add_option("--precision", o.precision, "one of `precisions`")->capture_default_str();
  side::subcommands const stages(app, o, "tokens per second of prefill and decode");
  side::add_list(*stages.speed, "--prefill", o.prefill, "tokens of the prompts");
  side::add_list(*stages.speed, "--context", o.context, "contexts to decode at");
  auto* const bandwidth =
      app.add_subcommand("bandwidth", "GB/s of reading memory with all threads");
  auto* const precisions =
      app.add_subcommand("precisions", "the storage and compute types built in");

  return side::main(app, argc, argv, [&] {
    if (bandwidth->parsed()) {
      side::print({{"what", "bandwidth"}, {"gb_s", side::bandwidth_probe(o.threads)()}});
      return;
    }
    bool found = false;
    for_each_precision([&]<plait::precision P>(std::string const& name) {
      if (precisions->parsed()) {
        std::cout << name << '\n';
        return;
      }
      if (name != o.precision) return;
      found = true;
      side_of_plait<P> plait_side(o);
      stages.run(plait_side);
    });
    if (!found && !precisions->parsed())
      throw std::runtime_error("--precision " + o.precision + " is not built in");
  });
}
