// What a program may ask of the fake cuDNN (fake_cudnn.cpp), once its library is open.
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
