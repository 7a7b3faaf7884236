// Loads a checkpoint as the golden architecture that its config.json describes, and saves it again.
//   resave FROM TO SHARD_BYTES f32|bf16
#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <golden_checkpoints.hpp>

#include <cstdio>
#include <exception>
#include <string>

namespace {

/// Saves the checkpoint if its config.json describes this architecture; returns whether it does.
template <class Checkpoint>
bool resave(char** argv) {
  plait::io::config_file const about(argv[1]);
  try {
    plait::io::require_same(about, Checkpoint::config);
  } catch (plait::error const&) {
    return false;
  }
  auto const type =
      std::string(argv[4]) == "bf16" ? plait::io::stored_type::bf16 : plait::io::stored_type::f32;
  auto const net = plait::io::load<plait::model<Checkpoint::config>>(argv[1]);
  plait::io::save(*net, argv[2], {.shard_bytes = std::stoll(argv[3]), .type = type});
  return true;
}
template <class... Checkpoints>
bool resave_one_of(char** argv) {
  return (resave<Checkpoints>(argv) || ...);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: resave FROM TO SHARD_BYTES f32|bf16\n", stderr);
    return 2;
  }
  try {
    if (resave_one_of<PLAIT_GOLDEN_CHECKPOINTS>(argv)) return 0;
    std::fprintf(stderr, "resave: %s is of none of the architectures of this program\n", argv[1]);
  } catch (std::exception const& e) {
    std::fprintf(stderr, "resave: %s\n", e.what());
  }
  return 1;
}
