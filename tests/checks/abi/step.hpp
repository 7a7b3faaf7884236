// One function, compiled for several instruction sets into one program.
#pragma once

#include <string>
#include <vector>

struct step_result {
  std::string abi;  ///< the name of the inline namespace
  int packet = 0;   ///< floats in a register
  long long parameters =
      0;  ///< counted at run time, by the policies' code, which all of them share
  std::vector<float> logits;
};
