// generate: continues a prompt, token by token, with the checkpoint this program is built for.
#include "tool.hpp"

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace {

using model = checkpoint_architecture::model<>;

bool exists(std::string const& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

/// Whether ids are bytes: a vocabulary of 256 and no tokenizer.
bool has_byte_vocabulary(std::string const& directory) {
  bool has_tokenizer = false;
  for (char const* file : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"})
    has_tokenizer = has_tokenizer || exists(plait::io::path_in(directory, file));
  return model::vocab_size == 256 && !has_tokenizer;
}

/// Prints ids or bytes at once. Of bytes, ASCII text and complete UTF-8 sequences are printed, and
/// "?" for others, so that no control sequence reaches the terminal.
class printer {
 public:
  explicit printer(bool bytes) : bytes_(bytes) {}
  void operator()(std::int32_t id) {
    if (!bytes_) {
      std::printf("%d ", id);
    } else {
      pending_ += static_cast<char>(id);
      auto const lead = static_cast<unsigned char>(pending_.front());
      std::size_t const expected = lead < 0xc0 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
      bool const complete = plait::io::printable_sequence(pending_) == pending_.size() ||
                            pending_ == "\n" || pending_ == "\t";
      if (!complete && pending_.size() < expected && (pending_.size() == 1 || (id & 0xc0) == 0x80))
        return;
      std::fputs(complete ? pending_.c_str() : "?", stdout);
      pending_.clear();
    }
    std::fflush(stdout);
  }

 private:
  bool bytes_;
  std::string pending_;
};

class stopwatch {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Continues a prompt with the checkpoint this program is built for (by default the small one "
      "trained on the King James Bible).\n"
      "Released Jamba checkpoints are base models: they continue text, they do not answer or "
      "follow instructions.",
      "generate");
  std::string directory = PLAIT_DEFAULT_CHECKPOINT, prompt = "In the beginning ", ids;
  std::int64_t count = 400;
  double temperature = 0.8;
  std::uint64_t seed = 1;
  int threads = 0;
  app.add_option("--checkpoint", directory, "Hugging Face directory")->capture_default_str();
  auto* const text =
      app.add_option("--prompt", prompt, "text to continue, where bytes are the vocabulary")
          ->capture_default_str();
  app.add_option("--ids", ids, "token ids to continue, separated by blanks; ids are printed")
      ->excludes(text);
  app.add_option("--count", count, "tokens to generate")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 30))
      ->capture_default_str();
  app.add_option("--temperature", temperature, "0: the most likely token always")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  app.add_option("--seed", seed, "the same seed gives the same text")->capture_default_str();
  app.add_option("--threads", threads, "threads (default: all; one without OpenMP)")
      ->check(CLI::Range(1, 1024));

  return tool::run("generate", app, argc, argv, [&] {
    bool const bytes = app.count("--ids") == 0 && has_byte_vocabulary(directory);
    if (app.count("--ids") == 0 && !bytes)
      plait::io::fail(
          directory,
          "has a vocabulary of {} tokens that this program cannot spell; give token ids with "
          "--ids",
          model::vocab_size);
    std::vector<std::int32_t> past;
    if (bytes)
      for (char c : prompt) past.push_back(static_cast<unsigned char>(c));
    else
      tool::parse_ids(ids, "--ids", model::vocab_size,
                      [&](std::int32_t id) { past.push_back(id); });
    if (past.empty())
      throw plait::error("the prompt is empty; at least one token is needed to go on from");

    auto const net = plait::io::load<model>(directory);
    std::vector<int> const ends = plait::io::end_tokens(plait::io::config_file(directory));
    model::exec_type exec = threads > 0 ? model::exec_type(threads) : model::exec_type();
    plait::session chat(*net, exec);
    chat.reserve(static_cast<std::int64_t>(past.size()) + count);

    stopwatch const prefill;
    chat.feed(past);
    double const prefill_seconds = prefill.seconds();
    printer print(bytes);
    for (std::int32_t id : past) print(id);
    stopwatch const decode;
    auto const generated =
        static_cast<std::int64_t>(chat.generate({},
                                                {.max_tokens = count,
                                                 .end_tokens = ends,
                                                 .sampler = plait::sampler(temperature, seed)},
                                                print)
                                      .size());
    std::int64_t const steps = std::min(generated, count - 1);  // the last token is not forwarded
    std::printf("\n");
    std::fflush(stdout);
    std::fprintf(stderr, "[prompt %zu tokens, %.0f tokens/s; %lld tokens", past.size(),
                 double(past.size()) / prefill_seconds, static_cast<long long>(generated));
    if (steps > 0) std::fprintf(stderr, ", %.0f tokens/s", double(steps) / decode.seconds());
    std::fprintf(stderr, "]\n");
    return 0;
  });
}
