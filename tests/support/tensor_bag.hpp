// The weights of any architecture without its layers: the part of a model that io needs, so
// that architectures and policies without an implementation can be loaded and saved too.
#pragma once

#include <plait/core/storage.hpp>
#include <plait/policy.hpp>

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace plait::test {

template <auto C>
class tensor_bag {
 public:
  static constexpr auto config = C;
  static constexpr bool tied = C.tie_embeddings;

  tensor_bag() {
    describe_tensors(
        [&](int, std::string_view, tensor const& t) { tensors_.emplace_back().allocate(t); });
  }

  template <class Visit>
  static void describe_tensors(Visit&& visit) {
    static constexpr auto a = C;
    auto const component = [&](int layer, char const* part, auto const& policy) {
      describe(policy, a.d_model, [&](tensor const& t) { visit(layer, part, t); });
    };
    if (a.vocab_size > 0) {
      tensor const table{.name = "weight", .rows = a.vocab_size, .cols = a.d_model};
      if (!tied) visit(-1, "embedding", table);
      visit(-1, "head", table);
      component(-1, "final_norm", a.norm);
    }
    for (int i = 0; i < a.num_layers(); ++i)
      visit_layer(a, i, [&]<class Mixer, class Ffn>(Mixer const& mixer, Ffn const& ffn) {
        if constexpr (!std::is_same_v<Mixer, none>) {
          component(i, "mixer_norm", a.norm);
          component(i, "mixer", mixer);
        }
        if constexpr (!std::is_same_v<Ffn, none>) {
          component(i, "ffn_norm", a.norm);
          component(i, "ffn", ffn);
        }
      });
  }
  template <class Visit>
  void for_each_tensor(Visit&& visit) {
    std::size_t i = 0;
    describe_tensors([&](int layer, std::string_view part, tensor const& t) {
      visit(layer, part, t, tensors_[i++]);
    });
  }

  template <class Visit>
  void for_each_tensor(Visit&& visit) const {
    std::size_t i = 0;
    describe_tensors([&](int layer, std::string_view part, tensor const& t) {
      visit(layer, part, t, tensors_[i++]);
    });
  }

  /// Pseudorandom values that depend on the seed; exact in bf16 if `coarse`.
  void fill(std::uint32_t seed, bool coarse = false) {
    std::uint32_t n = seed * 2654435761u;
    for (auto& t : tensors_) {
      std::vector<float> row(static_cast<std::size_t>(t.cols()));
      for (std::int64_t r = 0; r < t.copies() * t.rows(); ++r) {
        for (float& v : row) {
          n = n * 1664525u + 1013904223u;
          std::uint32_t const bits = (n >> 9 | 0x3f800000u) & (coarse ? 0xffff0000u : ~0u);
          std::memcpy(&v, &bits, sizeof v);
        }
        t.set_row(r / t.rows(), r % t.rows(), row.data());
      }
    }
  }

  /// All values in order.
  std::vector<float> values() const {
    std::vector<float> out;
    for (auto const& t : tensors_)
      for (std::int64_t r = 0; r < t.copies() * t.rows(); ++r)
        out.insert(out.end(), t.row(r / t.rows(), r % t.rows()),
                   t.row(r / t.rows(), r % t.rows()) + t.cols());
    return out;
  }

 private:
  std::deque<plain_tensor<float>> tensors_;
};

}  // namespace plait::test
