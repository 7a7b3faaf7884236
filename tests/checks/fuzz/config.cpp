// The input is a config.json. An accepted one becomes the source of an architecture, whose values
// are read back and compared.
#include "target.hpp"

#include <plait/models/jamba/checkpoint.hpp>
#include <plait/policy.hpp>

#include <charconv>
#include <optional>
#include <system_error>
#include <type_traits>

using namespace plait::io;
using plait::fuzz::accepted;
using plait::fuzz::require;

namespace {

constexpr char const* path = "config.json";

/// The value after ".KEY = " in `text`; empty without that key.
std::string_view member(std::string_view text, std::string_view key) {
  std::size_t const at = text.find(std::string(1, '.').append(key).append(" = "));
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + key.size() + 4);
  return text.substr(0, text.starts_with('{') ? text.find('}') + 1 : text.find_first_of(",}"));
}
template <class T>
void read_member(std::string_view text, std::string_view key, T& out) {
  std::string_view value = member(text, key);
  if (value.empty()) return;
  if constexpr (std::is_same_v<T, bool>) {
    require(value == "true" || value == "false", "the source of a truth value is true or false");
    out = value == "true";
  } else {
    if (std::is_same_v<T, float> && value.ends_with('f')) value.remove_suffix(1);
    auto const [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), out);
    require(wrong == std::errc() && end == value.data() + value.size(),
            "the source of a number is a number");
  }
}

/// The value that a compiler reads in `source`.
template <class Sparse>
auto architecture(std::string_view source) {
  plait::hybrid<plait::attention, plait::mamba, plait::mlp, Sparse> a;
  read_member(source, "d_model", a.d_model);
  read_member(source, "vocab_size", a.vocab_size);
  read_member(source, "norm_eps", a.norm_eps);
  read_member(source, "tie_embeddings", a.tie_embeddings);
  std::string_view const layers = member(source, "layers"), attention = member(source, "attention"),
                         recurrent = member(source, "recurrent"), sparse = member(source, "sparse");
  read_member(layers, "blocks", a.layers.blocks);
  read_member(layers, "layers_per_block", a.layers.layers_per_block);
  read_member(layers, "attend", a.layers.attend);
  read_member(layers, "recur", a.layers.recur);
  read_member(layers, "moe_every", a.layers.moe_every);
  read_member(layers, "attend_offset", a.layers.attend_offset);
  read_member(layers, "moe_offset", a.layers.moe_offset);
  read_member(attention, "num_heads", a.attention.num_heads);
  read_member(attention, "num_kv_heads", a.attention.num_kv_heads);
  read_member(attention, "head_dim", a.attention.head_dim);
  read_member(recurrent, "d_state", a.recurrent.d_state);
  read_member(recurrent, "d_conv", a.recurrent.d_conv);
  read_member(recurrent, "expand", a.recurrent.expand);
  read_member(recurrent, "dt_rank", a.recurrent.dt_rank);
  read_member(recurrent, "conv_bias", a.recurrent.conv_bias);
  read_member(recurrent, "proj_bias", a.recurrent.proj_bias);
  read_member(member(source, "dense"), "d_ff", a.dense.d_ff);
  if constexpr (std::is_same_v<Sparse, plait::moe>) {
    read_member(sparse, "d_ff", a.sparse.d_ff);
    read_member(sparse, "num_experts", a.sparse.num_experts);
    read_member(sparse, "top_k", a.sparse.top_k);
  }
  return a;
}

}  // namespace

int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  std::string_view const text(reinterpret_cast<char const*>(data), size);
  std::optional<jamba_config> read;
  if (!accepted(path, [&] { read = parse_jamba_config(text, path); })) return 0;
  jamba_config const& c = *read;

  std::string const source = architecture_source(c);
  require(source.size() < 4000, "a source has a bounded length");
  require(std::all_of(source.begin(), source.end(),
                      [](char b) { return b == '\n' || (b >= 0x20 && b < 0x7f); }),
          "a source is plain text");
  bool const published = accepted(path, [&] { require_same(c, plait::configs::jamba_v0_1); });
  static std::string const published_source =
      architecture_source(parse_jamba_config(R"({"model_type": "jamba"})", path));
  require(published == (source == published_source),
          "configurations are the same if their sources are");

  if (c.num_hidden_layers > 256) return 0;  // layers are compared one by one
  if (source.find("plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> config") !=
      std::string::npos)
    require_same(c, architecture<plait::moe>(source));
  else if (source.find(
               "plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::none> config") !=
           std::string::npos)
    require_same(c, architecture<plait::none>(source));
  else
    require(false, "a Jamba has attention, Mamba, MLP and at most a mixture of experts");
  return 0;
}
