// llama.cpp's side of the comparison, for the measurements that llama-bench lacks: decode of
// several sequences together, load and memory, logits and bits per byte of given token ids. Prints
// the same lines of JSON as plait_side.
#include "command_line.hpp"
#include "side.hpp"

#include <ggml.h>
#include <llama.h>

#include <memory>
#include <string>
#include <vector>

namespace {

struct options : side::options {
  std::string model, kv = "f16";
  bool read = false;
};

using model_pointer = std::unique_ptr<llama_model, decltype(&llama_model_free)>;
using context_pointer = std::unique_ptr<llama_context, decltype(&llama_free)>;

/// Tokens with their positions and sequences.
class batch {
 public:
  explicit batch(std::int64_t room)
      : batch_(llama_batch_init(static_cast<std::int32_t>(room), 0, 1)) {}
  batch(batch const&) = delete;
  ~batch() { llama_batch_free(batch_); }
  void clear() { batch_.n_tokens = 0; }
  void add(llama_token id, std::int64_t position, std::int64_t sequence, bool with_logits) {
    auto const i = batch_.n_tokens++;
    batch_.token[i] = id;
    batch_.pos[i] = static_cast<llama_pos>(position);
    batch_.logits[i] = with_logits;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = static_cast<llama_seq_id>(sequence);
  }
  void decode(llama_context* context) const {
    if (int const status = llama_decode(context, batch_); status != 0)
      throw std::runtime_error("llama_decode failed with " + std::to_string(status));
    llama_synchronize(context);
  }

 private:
  llama_batch batch_;
};

class side_of_llama {
 public:
  explicit side_of_llama(options const& o) : o_(o), model_(nullptr, &llama_model_free) {
    llama_model_params how = llama_model_default_params();
    if (o.read) how.load_mode = LLAMA_LOAD_MODE_NONE;
    load_seconds_ =
        side::seconds([&] { model_.reset(llama_model_load_from_file(o.model.c_str(), how)); });
    if (!model_) throw std::runtime_error(o.model + ": llama.cpp cannot load it");
    vocab_size_ = llama_vocab_n_tokens(llama_model_get_vocab(model_.get()));
    load_peak_ = side::status_mib("VmHWM");
  }

  void speed() {
    constexpr std::int64_t past = 64;
    for (std::int64_t sequences : o_.together) {
      auto const context = open(sequences * (past + o_.new_tokens), sequences,
                                std::max<std::int64_t>(2048, sequences * past), false);
      batch next(sequences * past);
      std::vector<double> speeds;
      for (int r = -1; r < o_.repetitions; ++r) {  // the first warms up
        llama_memory_clear(llama_get_memory(context.get()), true);
        next.clear();
        auto const prompt = side::random_ids(1, sequences * past, vocab_size_);
        for (std::int64_t i = 0; i < sequences * past; ++i)
          next.add(prompt[std::size_t(i)], i % past, i / past, i % past == past - 1);
        next.decode(context.get());
        std::int64_t const steps = r < 0 ? 1 : o_.new_tokens;
        auto const ids =
            side::random_ids(static_cast<std::uint32_t>(3 + r), sequences * steps, vocab_size_);
        double const time = side::seconds([&] {
          for (std::int64_t step = 0; step < steps; ++step) {
            next.clear();
            for (std::int64_t s = 0; s < sequences; ++s)
              next.add(ids[std::size_t(step * sequences + s)], past + step, s, true);
            next.decode(context.get());
          }
        });
        if (r >= 0) speeds.push_back(double(sequences * steps) / time);
      }
      side::print({{"what", "decode"},
                   {"tokens", sequences * o_.new_tokens},
                   {"context", past},
                   {"sequences", sequences},
                   {"tokens_per_second", speeds}});
    }
  }

  /// Prints the largest resident sets after loading, and after a prompt of 512 tokens and eight
  /// more.
  void memory() {
    std::int64_t const prompt = 512, more = 8;
    auto const context = open(prompt + more, 1, 2048, false);
    auto const ids = side::random_ids(1, prompt + more, vocab_size_);
    batch next(prompt);
    for (std::int64_t i = 0; i < prompt; ++i) next.add(ids[std::size_t(i)], i, 0, i == prompt - 1);
    next.decode(context.get());
    for (std::int64_t i = prompt; i < prompt + more; ++i) {
      next.clear();
      next.add(ids[std::size_t(i)], i, 0, true);
      next.decode(context.get());
    }
    side::print({{"what", "memory"},
                 {"load_seconds", load_seconds_},
                 {"load_peak_mib", load_peak_},
                 {"peak_mib", side::status_mib("VmHWM")},
                 {"anonymous_mib", side::status_mib("RssAnon")},
                 {"weights_mib", double(llama_model_size(model_.get())) / (1024 * 1024)}});
  }

  void logits() {
    auto const ids = side::read_ids(o_.ids, vocab_size_);
    auto const rows =
        all_logits(*open(std::int64_t(ids.size()), 1, std::int64_t(ids.size()), true), ids);
    side::write_floats(o_.out, rows.data(), std::int64_t(rows.size()));
  }

  void bits() {
    auto const context = open(o_.window, 1, o_.window, true);
    std::vector<float> rows;
    side::print(side::score(o_.text, std::size_t(o_.window), std::size_t(vocab_size_),
                            [&](std::vector<std::int32_t> const& ids) {
                              rows = all_logits(*context, ids);
                              return rows.data();
                            }));
  }

 private:
  /// `exact` leaves out the fused attention, whose queries are f16.
  context_pointer open(std::int64_t tokens, std::int64_t sequences, std::int64_t tokens_per_call,
                       bool exact) const {
    llama_context_params p = llama_context_default_params();
    p.n_ctx = static_cast<std::uint32_t>(tokens);
    p.n_seq_max = static_cast<std::uint32_t>(sequences);
    p.n_batch = static_cast<std::uint32_t>(tokens_per_call);
    p.n_threads = p.n_threads_batch = o_.threads;
    p.type_k = p.type_v = o_.kv == "f32"    ? GGML_TYPE_F32
                          : o_.kv == "bf16" ? GGML_TYPE_BF16
                                            : GGML_TYPE_F16;
    if (exact) p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    context_pointer context(llama_init_from_model(model_.get(), p), &llama_free);
    if (!context)
      throw std::runtime_error(o_.model + ": llama.cpp makes no context of " +
                               std::to_string(tokens) + " tokens");
    return context;
  }

  std::vector<float> all_logits(llama_context& context,
                                std::vector<std::int32_t> const& ids) const {
    llama_memory_clear(llama_get_memory(&context), true);
    batch all(std::int64_t(ids.size()));
    for (std::size_t i = 0; i < ids.size(); ++i) all.add(ids[i], std::int64_t(i), 0, true);
    all.decode(&context);
    std::vector<float> rows;
    for (std::size_t i = 0; i < ids.size(); ++i) {
      float const* const row = llama_get_logits_ith(&context, static_cast<std::int32_t>(i));
      rows.insert(rows.end(), row, row + vocab_size_);
    }
    return rows;
  }

  options const& o_;
  model_pointer model_;
  double load_seconds_ = 0, load_peak_ = 0;
  std::int64_t vocab_size_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("llama.cpp's side of benchmarks/peers", "llama_side");
  options o;
  app.add_option("--model", o.model, "GGUF file");
  app.add_option("--kv", o.kv, "type of keys and values")
      ->check(CLI::IsMember({"f32", "f16", "bf16"}))
      ->capture_default_str();
  app.add_flag("--read", o.read, "read the file rather than map it");
  side::subcommands const stages(app, o, "tokens per second of sequences decoded together");
  auto* const version =
      app.add_subcommand("version", "of llama.cpp, and the instructions it was built for");

  return side::main(app, argc, argv, [&] {
    llama_backend_init();
    if (version->parsed()) {
      side::print({{"what", "version"},
                   {"llama.cpp", llama_version()},
                   {"system", llama_print_system_info()}});
      return;
    }
    llama_log_set(
        [](ggml_log_level level, char const* text, void*) {
          if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
        },
        nullptr);
    side_of_llama llama_side(o);
    stages.run(llama_side);
  });
}
