// What small kernels of the tests share.
#pragma once

namespace test {

/// Base of a kernel of 64 threads with one pointer as its argument, and shared memory for a block's
/// sums and its scans of T.
template <class T>
struct collective_kernel {
  using args = float*;
  static constexpr int threads = 64;
  template <class Block>
  struct shared {
    typename Block::reduce_space sums;
    typename Block::template scan_space<T> scans;
  };
};

}  // namespace test
