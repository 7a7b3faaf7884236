// A program of two files with plait: a model gives the same logits in both, and an error thrown in
// one is caught in the other.
#include <plait/plait.hpp>

#include "model.hpp"

#include <cstdio>

int main() {
  std::vector<float> const here = logits(), there = other_logits();
  if (here.size() != 3 * 50 || here != there) {
    std::puts("the two files' models differ");
    return 1;
  }
  bool varied = false;
  for (float const x : here) varied = varied || x != here[0];
  if (!varied) {
    std::puts("the logits are all alike");
    return 1;
  }
  try {
    other_failure();
  } catch (plait::error const& e) {
    std::printf("caught: %s\n", e.what());
    return 0;
  }
  std::puts("nothing was thrown");
  return 1;
}
