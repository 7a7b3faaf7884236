// logits: the logits of token ids by the checkpoint this program is built for.
//
//   logits --checkpoint DIR --tokens FILE --out FILE.safetensors
//          [--packed FILE] [--chunk N] [--threads N]
//
// FILE holds one sequence of ids per line. All sequences run as one ragged batch; the logits of
// line i are the tensor logits.<i>, F32 [tokens, vocab]. The same input gives the same bytes for
// any chunk size and number of threads. With --packed the weights are mapped from that file; where
// it does not exist, it is written from the checkpoint first.
#include "tool.hpp"

#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace {

using model = checkpoint_architecture::model<>;

struct line {
  std::vector<std::int32_t> ids;
  std::int64_t first_row = 0;  // among the rows of all lines
};

std::vector<line> read_lines(std::string const& path) {
  plait::io::mapped_file const file(path);
  std::vector<line> lines;
  std::int64_t rows = 0;
  for (std::string_view rest = file.text(); !rest.empty();) {
    std::string_view const text = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(text.size() + 1, rest.size()));
    std::string const where =
        plait::io::printable(path, 4096) + ": line " + std::to_string(lines.size());
    line next{{}, rows};
    tool::parse_ids(text, where, model::vocab_size,
                    [&](std::int32_t id) { next.ids.push_back(id); });
    if (next.ids.empty())
      throw plait::error(where + " is blank; every line is one sequence of at least one id");
    rows += static_cast<std::int64_t>(next.ids.size());
    lines.push_back(std::move(next));
  }
  if (lines.empty()) plait::io::fail(path, "is empty; expected one sequence of ids per line");
  return lines;
}

std::unique_ptr<model> weights(std::string const& directory, std::string const& packed) {
  if (packed.empty()) return plait::io::load<model>(directory);
  if (!std::filesystem::exists(packed))
    plait::io::save_packed(*plait::io::load<model>(directory), packed);
  return plait::io::load_packed<model>(packed);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Writes the logits of token ids, for the architecture this program is built for.",
               "logits");
  std::string directory, tokens, out, packed;
  std::int64_t chunk = 0;
  int threads = 0;
  app.add_option("--checkpoint", directory,
                 "Hugging Face directory with config.json and safetensors")
      ->required();
  app.add_option("--tokens", tokens,
                 "file with one sequence of token ids per line, separated by blanks")
      ->required();
  app.add_option("--out", out, "safetensors file to write: logits.<line>, F32 [tokens, vocab]")
      ->required();
  app.add_option("--packed", packed,
                 "packed file to load; written from the checkpoint where it does not exist");
  app.add_option("--chunk", chunk, "tokens of each sequence in a call (default: all)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1} << 40));
  app.add_option("--threads", threads, "threads (default: all; one without OpenMP)")
      ->check(CLI::Range(1, 1024));

  return tool::run("logits", app, argc, argv, [&] {
    std::vector<line> const lines = read_lines(tokens);
    auto const net = weights(directory, packed);
    model::exec_type exec = threads > 0 ? model::exec_type(threads) : model::exec_type();
    plait::io::safetensors_writer writer(out);
    for (std::size_t i = 0; i < lines.size(); ++i)
      writer.declare("logits." + std::to_string(i),
                     {static_cast<std::int64_t>(lines[i].ids.size()), model::vocab_size});

    plait::cache_pool<model> pool;
    std::vector<plait::cache<model>> sequences;
    std::int64_t rows = 0, max_call = 0;
    for (line const& l : lines) {
      std::int64_t const length = static_cast<std::int64_t>(l.ids.size());
      sequences.push_back(pool.make());
      sequences.back().reserve(length);
      rows += length;
      max_call += chunk > 0 ? std::min(chunk, length) : length;
    }
    net->reserve(exec, max_call, static_cast<std::int64_t>(lines.size()));

    plait::buffer<float> all(rows * model::vocab_size),
        call(chunk > 0 ? max_call * model::vocab_size : 0);
    plait::batch<model> batch;
    for (bool unfinished = true; unfinished;) {
      batch.clear();
      unfinished = false;
      std::vector<std::pair<std::int64_t, std::int64_t>> destinations;  // row among all, rows
      for (std::size_t i = 0; i < lines.size(); ++i) {
        std::int64_t const done = sequences[i].length(),
                           left = static_cast<std::int64_t>(lines[i].ids.size()) - done;
        std::int64_t const now = chunk > 0 ? std::min(chunk, left) : left;
        if (now == 0) continue;
        batch.add(sequences[i],
                  std::span(lines[i].ids)
                      .subspan(static_cast<std::size_t>(done), static_cast<std::size_t>(now)),
                  plait::rows::all);
        destinations.emplace_back(lines[i].first_row + done, now);
        unfinished = unfinished || now < left;
      }
      float* const to = chunk > 0 ? call.data() : all.data();
      net->forward(exec, batch, {to, batch.rows_wanted(), model::vocab_size});
      if (chunk > 0)
        for (float const* from = to; auto const& [row, n] : destinations) {
          std::copy_n(from, n * model::vocab_size, all.data() + row * model::vocab_size);
          from += n * model::vocab_size;
        }
    }
    for (std::size_t i = 0; i < lines.size(); ++i)
      writer.append("logits." + std::to_string(i),
                    std::span(all.data() + lines[i].first_row * model::vocab_size,
                              lines[i].ids.size() * std::size_t(model::vocab_size)));
    writer.commit();
    return 0;
  });
}
