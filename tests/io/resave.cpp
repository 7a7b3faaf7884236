// Loads a checkpoint and saves it again.
//   resave FROM TO SHARD_BYTES f32|bf16
#include <plait/io.hpp>
#include <plait/plait.hpp>

#include <plait_architecture.hpp>

#include <cstdio>
#include <exception>
#include <string>

int main(int argc, char** argv) {
  if (argc != 5) return std::fputs("usage: resave FROM TO SHARD_BYTES f32|bf16\n", stderr), 2;
  try {
    auto const type = std::string(argv[4]) == "bf16" ? plait::io::stored_type::bf16 : plait::io::stored_type::f32;
    auto const net = plait::io::load<checkpoint_architecture::model<>>(argv[1]);
    plait::io::save(*net, argv[2], {.shard_bytes = std::stoll(argv[3]), .type = type});
  } catch (std::exception const& e) { return std::fprintf(stderr, "resave: %s\n", e.what()), 1; }
}
