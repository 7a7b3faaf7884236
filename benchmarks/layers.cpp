// Each kind of layer alone, in a hybrid of a quarter of Jamba v0.1's width (support.hpp).
#include "support.hpp"

namespace bench {
namespace {

/// A layer by its policy: a component of one's own is one more line in main.
template <auto Policy>
struct layer_case {
  template <class Exec>
  struct on {
    using T = typename Exec::value_type;
    using layer = plait::single_layer<d_model, Policy, Exec>;

    on(Exec& e, std::int64_t n, std::int64_t cached) : exec(e), tokens(n), context(cached), x(n, d_model, 1), y(n, d_model) {
      if constexpr (layer::is_mixer) {
        sequence = std::make_unique<plait::basic_cache<T>>(weights->make());
        if (context > 0) {
          matrix<T> before(context, d_model, 2), after(context, d_model);
          weights->reserve(exec, context);
          sequence->reserve(context);
          weights->forward(exec, *sequence, before.read(), after.view());
        }
        start = std::make_unique<plait::basic_snapshot<T>>(sequence->snapshot());
      }
      weights->reserve(exec, tokens, context + tokens);
    }
    void run() {
      if constexpr (layer::is_mixer) {  // back to the start: references to pages and a copy of the state, which is small beside the layer
        sequence->restore(*start);
        sequence->reserve(tokens);
        weights->forward(exec, *sequence, x.read(), y.view());
      } else {
        weights->forward(exec, x.read(), y.view());
      }
    }
    auto output() const { return y.read(); }
    double flops() const { return double(tokens) * double(plait::policies::flops(Policy, d_model, context + (tokens + 1) / 2)); }
    /// Weights once, experts as far as random routing reaches them; state in and out; cached keys and values in, new ones out; x and y.
    double bytes() const {
      namespace p = plait::policies;
      return double(p::bytes(Policy, d_model, plait::f32, p::experts_reached(Policy, tokens))) +
             4.0 * 2 * double(p::state(Policy, d_model)) + 4.0 * double(p::kv(Policy, d_model)) * double(context + tokens) +
             4.0 * 2 * d_model * double(tokens);
    }

    Exec& exec;
    std::int64_t tokens, context;
    std::shared_ptr<layer> weights = shared<Exec>([] {
      layer made;
      fill(made);
      return made;
    });
    matrix<T> x, y;
    std::unique_ptr<plait::basic_cache<T>> sequence;
    std::unique_ptr<plait::basic_snapshot<T>> start;
  };
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::main(argc, argv, [] {
    using namespace bench;
    tokens<layer_case<config_1b.attention>>("attention")->Args({1, 512})->Args({1, 2048})->Args({1, 8192})->Args({512, 2048});
    tokens<layer_case<config_1b.recurrent>>("mamba");
    tokens<layer_case<config_1b.dense>>("mlp");
    tokens<layer_case<config_1b.sparse>>("moe");
  });
}
