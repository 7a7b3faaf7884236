// Executions that the fake cuDNN (fake_cudnn.cpp) records.
#pragma once

namespace test {

struct fake_tensor {
  void* data = nullptr;
  long dims[4] = {}, strides[4] = {};
};
struct fake_attention {
  fake_tensor of[4];  ///< q, k, v, out
  void *workspace = nullptr, *stream = nullptr;
};

}  // namespace test
