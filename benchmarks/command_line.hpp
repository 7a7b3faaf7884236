// The flags of all benchmarks, beside Google Benchmark's own.
#pragma once

#include <plait/benchmark/options.hpp>
#include <plait/benchmark/run.hpp>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct options {
  std::vector<int> threads;  ///< empty: all of the machine's
  plait::bench::weights weights = plait::bench::weights::cold;
  plait::bench::routing routing = plait::bench::routing::random;
  bool large = false;     ///< bench_model: the model of 932 M parameters too
  bool by_layer = false;  ///< bench_model: a table of predicted and measured times, layer by layer
  std::int64_t max_context = 65536;  ///< bench_sweep: the longest context
};
inline options& selected() {
  static options o;
  return o;
}

/// The powers of two from `first` to `last`.
inline std::vector<std::int64_t> powers_of_two(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> all;
  for (std::int64_t n = first; n <= last; n *= 2) all.push_back(n);
  return all;
}

/// The options of a layer or model, from the flags.
template <class Options>
Options options_of(std::vector<std::int64_t> const& tokens) {
  Options o{.tokens = tokens};
  o.threads = selected().threads;
  o.weights = selected().weights;
  o.routing = selected().routing;
  if constexpr (requires { o.by_layer; }) o.by_layer = selected().by_layer;
  return o;
}

/// Sets an option from a flag; false for an unknown flag or value.
inline bool parse_flag(std::string_view flag) {
  auto const value = [&](std::string_view name) {
    if (flag.substr(0, name.size()) == name) return std::string(flag.substr(name.size()));
    return std::string();
  };
  auto const number = [](std::string const& text, long max) {
    char* end = nullptr;
    long const n = std::strtol(text.c_str(), &end, 10);
    return *end == '\0' && n >= 1 && n <= max ? n : 0;
  };
  using plait::bench::routing;
  using plait::bench::weights;
  if (flag == "--large") return selected().large = true;
  if (flag == "--by-layer") return selected().by_layer = true;
  for (weights const w : {weights::warm, weights::cold})
    if (value("--weights=") == plait::bench::name_of(w)) {
      selected().weights = w;
      return true;
    }
  for (routing const r : {routing::random, routing::balanced, routing::zipf, routing::one})
    if (value("--routing=") == plait::bench::name_of(r)) {
      selected().routing = r;
      return true;
    }
  if (std::string const tokens = value("--max-context="); !tokens.empty())
    return (selected().max_context = number(tokens, 1L << 30)) > 0;
  if (std::string list = value("--threads="); !list.empty()) {
    selected().threads.clear();
    for (std::size_t comma = 0; !list.empty();
         list.erase(0, comma == std::string::npos ? comma : comma + 1)) {
      comma = list.find(',');
      selected().threads.push_back(static_cast<int>(number(list.substr(0, comma), 4096)));
      if (selected().threads.back() == 0) return false;
    }
    return true;
  }
  return false;
}

/// Parses and removes the flags above, calls register_all, and runs the registered benchmarks.
template <class Register>
int main(int argc, char** argv, Register&& register_all) {
  int remaining = 1;
  for (int i = 1; i < argc; ++i) {
    std::string_view const flag = argv[i];
    if (flag.substr(0, 11) == "--benchmark" || flag == "--help" || flag.substr(0, 3) == "--v")
      argv[remaining++] = argv[i];
    else if (!parse_flag(flag)) {
      std::fprintf(stderr,
                   "%s: %s: expected --threads=N[,N...], --weights=warm|cold, "
                   "--routing=random|balanced|zipf|one, --large, --by-layer, "
                   "--max-context=N, or a flag of Google Benchmark's (--help)\n",
                   argv[0], argv[i]);
      return 1;
    }
  }
  argc = remaining;
  try {
    register_all();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 1;
  }
  return plait::bench::run(argc, argv);
}

}  // namespace bench
