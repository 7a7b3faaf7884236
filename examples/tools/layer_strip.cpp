// Draws Jamba v0.1 as a strip of layers in SVG: one column per layer, its mixer above its
// feed-forward.
//
// The configuration and plait::count give all that is drawn. docs/pictures/jamba_v0_1.svg is the
// output.
#include <plait/policy.hpp>

#include <cstdio>
#include <string>

namespace {

inline constexpr auto config = plait::configs::jamba_v0_1;
inline constexpr auto counted = plait::count(config);

constexpr int cell = 19;       // width of a layer, height of a sublayer
constexpr int gap = 4;         // between layers, and between mixer and feed-forward
constexpr int block_gap = 11;  // further, between blocks
constexpr int margin = 8;
constexpr int end = 14;  // width of embedding and head
constexpr int top = 34;
constexpr int bottom = top + 2 * cell + gap;  // of the strip
constexpr int legend = bottom + 36;
constexpr int radius = 4;

// Mid tones, readable on a white and on a dark page alike.
constexpr char const* ink = "#747d87";
constexpr char const* orange = "#e8762c";
constexpr char const* blue = "#3f83c4";
constexpr char const* grey = "#9aa5b1";
constexpr char const* green = "#2f9e77";

constexpr int first_layer = margin + end + block_gap;
constexpr int layer_x(int i) {
  return first_layer + i * (cell + gap) + i / config.layers.layers_per_block * block_gap;
}
constexpr int right = layer_x(config.num_layers() - 1) + cell;
constexpr int width = right + block_gap + end + margin;
constexpr int height = legend + cell + 34;

std::string with_commas(long long n) {
  std::string const digits = std::to_string(n);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string plural(int n, char const* what) {
  return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
}

void box(int x, int y, int w, int h, char const* colour) {
  std::printf("<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"%d\" fill=\"%s\"/>\n", x, y,
              w, h, radius, colour);
}

void text(double x, double y, char const* anchor, std::string const& what,
          char const* further = "") {
  std::printf("<text x=\"%g\" y=\"%g\" text-anchor=\"%s\"%s>%s</text>\n", x, y, anchor, further,
              what.c_str());
}

// One overload per policy: its cell, and its line of the legend.
void draw(plait::attention const&, int x, int y, int) { box(x, y, cell, cell, orange); }
void draw(plait::mamba const&, int x, int y, int) { box(x, y, cell, cell, blue); }
void draw(plait::mlp const&, int x, int y, int) { box(x, y, cell, cell, grey); }
// A dot per expert, filled for the experts of one token; here the layer's number chooses them.
void draw(plait::moe const& p, int x, int y, int layer) {
  box(x, y, cell, cell, green);
  int columns = 1;
  while (columns * columns < p.num_experts) ++columns;
  double const step = double(cell - 4) / columns;
  for (int e = 0; e < p.num_experts; ++e) {
    bool chosen = false;
    for (int k = 0; k < p.top_k; ++k)
      chosen = chosen || e == (layer * 3 + k * 7 + 2) % p.num_experts;
    std::printf("<circle cx=\"%g\" cy=\"%g\" r=\"%g\" fill=\"#fff\" fill-opacity=\"%s\"/>\n",
                x + 2 + step * (e % columns + 0.5), y + 2 + step * (e / columns + 0.5),
                step * (chosen ? 0.42 : 0.26), chosen ? "1" : ".5");
  }
}

std::string name(plait::attention const&) { return "attention"; }
std::string name(plait::mamba const&) { return "Mamba"; }
std::string name(plait::mlp const&) { return "dense"; }
std::string name(plait::moe const&) { return "MoE"; }

std::string detail(plait::attention const& p) {
  return std::to_string(p.num_heads) + " heads, " + std::to_string(p.num_kv_heads) + " key-value";
}
std::string detail(plait::mamba const& p) { return plural(p.d_state, "state") + " per channel"; }
std::string detail(plait::mlp const& p) { return "d_ff " + with_commas(p.d_ff); }
std::string detail(plait::moe const& p) {
  return std::to_string(p.num_experts) + " experts, " + std::to_string(p.top_k) + " per token";
}

template <class Policy>
void explain(int column, Policy const& p, int layers) {
  int const x = first_layer + column * (right - first_layer) / 4;
  draw(p, x, legend, 0);
  text(x + cell + 7, legend + 8, "start",
       name(p) + " <tspan font-weight=\"400\">· " + plural(layers, "layer") + "</tspan>",
       " font-weight=\"600\"");
  text(x + cell + 7, legend + 22, "start", detail(p));
}

}  // namespace

int main() {
  std::printf(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" "
      "role=\"img\" "
      "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" "
      "font-size=\"11\" fill=\"%s\">\n",
      width, height, width, height, ink);
  std::printf("<title>Jamba v0.1: %d layers in %d blocks</title>\n", counted.layers,
              config.layers.blocks);

  // The residual stream, through every layer.
  int const middle = top + cell + gap / 2;
  std::printf("<path d=\"M%d %dH%d\" stroke=\"%s\" stroke-width=\"2\"/>\n", margin, middle,
              right + block_gap, ink);
  for (int x : {margin, right + block_gap}) box(x, top, end, bottom - top, ink);
  for (int x : {margin, right + block_gap}) {
    char turn[96];
    double const centre = x + end / 2.0;
    double const at = top + (bottom - top) / 2.0;
    std::snprintf(turn, sizeof turn,
                  " fill=\"#fff\" font-size=\"8\" transform=\"rotate(-90 %g %g)\"", centre, at);
    text(centre, at + 3, "middle", x == margin ? "embed" : "head", turn);
  }

  for (int i = 0; i < config.num_layers(); ++i) {
    plait::visit_layer(config, i, [&](auto const& mixer, auto const& ffn) {
      draw(mixer, layer_x(i), top, i);
      draw(ffn, layer_x(i), top + cell + gap, i);
    });
    text(layer_x(i) + cell / 2.0, bottom + 13, "middle", std::to_string(i), " font-size=\"9\"");
  }
  int const l = config.layers.layers_per_block;
  for (int b = 0; b < config.layers.blocks; ++b) {
    int const from = layer_x(b * l);
    int const to = layer_x(b * l + l - 1) + cell;
    std::printf("<path d=\"M%d %dv-5H%dv5\" fill=\"none\" stroke=\"%s\"/>\n", from, top - 5, to,
                ink);
    text((from + to) / 2.0, top - 15, "middle", "block " + std::to_string(b));
  }

  explain(0, config.attention, counted.attention_layers);
  explain(1, config.recurrent, counted.recurrent_layers);
  explain(2, config.dense, counted.layers - counted.moe_layers);
  explain(3, config.sparse, counted.moe_layers);

  char sum[160];
  std::snprintf(sum, sizeof sum,
                "d_model %s · %.1f B parameters, of which a token uses %.1f B · "
                "keys and values at 256K tokens %.0f GiB",
                with_commas(config.d_model).c_str(), double(counted.total_parameters) / 1e9,
                double(counted.active_parameters) / 1e9,
                double(plait::kv_cache_bytes(config, 256 * 1024, 2)) / (1024.0 * 1024 * 1024));
  text((first_layer + right) / 2.0, height - 8, "middle", sum);
  std::printf("</svg>\n");
}
