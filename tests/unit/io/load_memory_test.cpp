// The peak memory of loading: the packed weights and a tenth, for every stored type, although
// the files are mapped.
#include <support/files.hpp>

#include <plait/io/files/safetensors_writer.hpp>
#include <plait/io/load.hpp>

#include <support/models.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PLAIT_TEST_MEASURES_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define PLAIT_TEST_MEASURES_MEMORY 0
#endif
#endif
#if !defined(PLAIT_TEST_MEASURES_MEMORY)
#define PLAIT_TEST_MEASURES_MEMORY 1
#endif

namespace {

// A large table beside small layers: 22 of 27 million values.
inline constexpr plait::hybrid<plait::attention, plait::mamba, plait::mlp, plait::moe> large_table{
    .d_model = 256,
    .vocab_size = 88'000,
    .layers = {.blocks = 1, .layers_per_block = 4, .attend = 1, .recur = 3, .moe_every = 2},
    .attention = {.num_heads = 8, .num_kv_heads = 2},
    .recurrent = {.d_state = 16, .d_conv = 4, .expand = 2},
    .dense = {.d_ff = 1024},
    .sparse = {.d_ff = 512, .num_experts = 4, .top_k = 2},
    .tie_embeddings = true};

/// A field of /proc/self/status in bytes, or 0 if it does not exist.
std::int64_t status(std::string_view field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(field)) return std::stoll(line.substr(field.size() + 1)) * 1024;
  return 0;
}
/// Resets the peak of the memory in use.
bool forget_peak() {
  std::ofstream out("/proc/self/clear_refs");
  out << "5" << std::flush;
  return out.good();
}

void write_checkpoint(std::string const& directory, bool wide) {
  // Written without a model: zeros except for a few values.
  plait::io::config_file const about = plait::io::config_of(large_table, "config.json", "float32");
  std::ofstream(directory + "/config.json") << about.text();
  plait::io::tensor_names const names(large_table, plait::io::require_same(about, large_table));
  plait::io::safetensors_writer out(
      directory + "/model.safetensors", {},
      wide ? plait::io::stored_type::f32 : plait::io::stored_type::bf16);
  using reference = plait::reference_model<large_table>;
  auto const each = [&](auto&& visit) {
    reference::describe_tensors([&](int layer, std::string_view part, plait::tensor const& t) {
      for (std::int64_t e = 0; e < t.copies; ++e) visit(names.written(layer, part, t, e), t);
    });
  };
  each([&](std::string const& name, plait::tensor const& t) {
    out.declare(name, plait::io::shape_in_file(t));
  });
  each([&](std::string const& name, plait::tensor const& t) {
    std::vector<float> const row(static_cast<std::size_t>(t.cols), 0.25f);
    for (std::int64_t r = 0; r < t.rows; ++r) out.append(name, row);
  });
  out.commit();
}

template <plait::precision P>
void check(std::string const& directory) {
  using model = plait::model<large_table, plait::exec::cpu<P>>;
  std::int64_t packed = 0;
  REQUIRE(forget_peak());
  std::int64_t const before = status("VmHWM:");
  auto const net = plait::io::load<model>(directory, {.threads = 2});
  std::int64_t const peak = status("VmHWM:") - before;
  net->for_each_tensor([&](int, std::string_view, plait::tensor const& t, auto const& data) {
    if constexpr (requires { data.storage(); })
      packed += data.storage().size();
    else
      packed += t.size() * 4 * (t.role == plait::role::state ? 2 : 1);
  });
  MESSAGE("packed " << packed << " bytes, at the peak " << peak);
  CHECK(peak > packed / 2);  // it was measured at all
  CHECK(peak < packed + packed / 10);
  CHECK(net->head().at(0, large_table.vocab_size - 1, 3) == doctest::Approx(0.25).epsilon(0.001));
}

}  // namespace

TEST_CASE("load: at most the packed weights and a tenth, in every storage, from F32 and BF16") {
  if (!PLAIT_TEST_MEASURES_MEMORY || status("VmHWM:") == 0 || !forget_peak()) {
    MESSAGE("not measured: sanitizers have memory of their own, or the system does not say");
    return;
  }
  for (bool const wide : {false, true}) {
    plait::test::temporary_directory const where;
    write_checkpoint(where.path(), wide);
    check<plait::f32>(where.path());
    check<plait::bf16>(where.path());
    check<plait::int8>(where.path());
    check<plait::experts_int8>(where.path());
  }
}
