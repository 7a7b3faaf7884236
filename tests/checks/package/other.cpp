// The second file of the program: the same headers once more.
#include <plait/plait.hpp>

#include "model.hpp"

std::vector<float> other_logits() { return logits(); }
void other_failure() { plait::sampler const refused(-1); }
