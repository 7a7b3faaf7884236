// The command line that plait_side and llama_side share: subcommands and options.
#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <cstdio>
#include <exception>
#include <string>
#include <vector>

namespace side {

/// The options of both programs.
struct options {
  int threads = 2;
  int repetitions = 3;
  std::int64_t new_tokens = 64;
  std::int64_t window = 1024;
  std::vector<std::int64_t> together{16};
  std::string text, ids, out;
};

/// A list of numbers with commas between them, which may be empty.
inline void add_list(CLI::App& app, std::string const& flag, std::vector<std::int64_t>& list,
                     std::string const& description) {
  app.add_option(flag, list, description)->delimiter(',')->expected(0, 100);
}

/// The subcommands of both programs, each a member function of the side that is measured: speed,
/// memory, logits and bits.
class subcommands {
 public:
  CLI::App* const speed;

  subcommands(CLI::App& app, options& o, std::string const& speed_description)
      : speed(app.add_subcommand("speed", speed_description)),
        memory_(app.add_subcommand("memory", "seconds to load, largest resident set")),
        logits_(app.add_subcommand("logits", "logits of given token ids, as raw f32")),
        bits_(app.add_subcommand("bits", "bits per byte of a text whose bytes are token ids")) {
    auto const number = CLI::Range(1, 1 << 20);
    app.require_subcommand(1);
    app.fallthrough();
    app.add_option("--threads", o.threads)->check(CLI::Range(1, 1024))->capture_default_str();
    add_list(*speed, "--together", o.together, "numbers of sequences to decode together");
    speed->add_option("--new", o.new_tokens, "tokens to decode")
        ->check(number)
        ->capture_default_str();
    speed->add_option("--repetitions", o.repetitions)->check(number)->capture_default_str();
    logits_->add_option("--ids", o.ids, "raw int32")->required();
    logits_->add_option("--out", o.out)->required();
    bits_->add_option("--text", o.text)->required();
    bits_->add_option("--window", o.window)->check(CLI::Range(2, 1 << 20))->capture_default_str();
  }

  template <class Side>
  void run(Side& measured) const {
    if (speed->parsed()) measured.speed();
    if (memory_->parsed()) measured.memory();
    if (logits_->parsed()) measured.logits();
    if (bits_->parsed()) measured.bits();
  }

 private:
  CLI::App* memory_;
  CLI::App* logits_;
  CLI::App* bits_;
};

/// main: parses the arguments and calls run(); an exception is a sentence and status 1.
template <class Run>
int main(CLI::App& app, int argc, char** argv, Run const& run) {
  CLI11_PARSE(app, argc, argv);
  try {
    run();
    return 0;
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), e.what());
    return 1;
  }
}

}  // namespace side
