// The second file of the program, with the same headers.
#include <plait/plait.hpp>

#include "model.hpp"

std::vector<float> other_logits() { return logits(); }
void other_failure() { plait::sampler const refused(-1); }
