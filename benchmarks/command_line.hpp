// The flags that all benchmarks have beside Google Benchmark's own.
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
  std::vector<int> threads;  ///< none: all of the machine's
  plait::bench::weights weights = plait::bench::weights::cold;
  plait::bench::routing routing = plait::bench::routing::random;
  bool large = false;                ///< bench_model: the model of 932 M parameters too
  bool by_layer = false;             ///< bench_model: predicted beside measured, layer by layer
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

/// The options that the flags say, of a layer or of a model.
template <class Options>
Options options_of(std::vector<std::int64_t> const& tokens) {
  Options o{.tokens = tokens};
  o.threads = selected().threads;
  o.weights = selected().weights;
  o.routing = selected().routing;
  if constexpr (requires { o.by_layer; }) o.by_layer = selected().by_layer;
  return o;
}

/// Takes what one flag says; false where it is none of these, or says nothing that is known.
inline bool take(std::string_view flag) {
  auto const value = [&](std::string_view name) {
    if (flag.substr(0, name.size()) == name) return std::string(flag.substr(name.size()));
    return std::string();
  };
  auto const number = [](std::string const& text, long most) {
    char* end = nullptr;
    long const n = std::strtol(text.c_str(), &end, 10);
    return *end == '\0' && n >= 1 && n <= most ? n : 0;
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
  if (std::string const most = value("--max-context="); !most.empty())
    return (selected().max_context = number(most, 1L << 30)) > 0;
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

/// Takes the flags above out of the arguments, calls register_all, and runs what it registered.
template <class Register>
int main(int argc, char** argv, Register&& register_all) {
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    std::string_view const flag = argv[i];
    if (flag.substr(0, 11) == "--benchmark" || flag == "--help" || flag.substr(0, 3) == "--v")
      argv[kept++] = argv[i];
    else if (!take(flag)) {
      std::fprintf(stderr,
                   "%s: %s: expected --threads=N[,N...], --weights=warm|cold, "
                   "--routing=random|balanced|zipf|one, --large, --by-layer, "
                   "--max-context=N, or a flag of Google Benchmark's (--help)\n",
                   argv[0], argv[i]);
      return 1;
    }
  }
  argc = kept;
  try {
    register_all();
  } catch (std::exception const& e) {
    std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
    return 1;
  }
  return plait::bench::run(argc, argv);
}

}  // namespace bench
