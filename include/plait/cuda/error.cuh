// Errors of CUDA as sentences.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>
#include <plait/core/sentence.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// Checks of CUDA's status codes: each code other than success is a plait::error with the name of
/// the call.
///
/// Equation: an error of a kernel is final: each later call of the process throws, with the first
///   error. Kernels run after they are launched, so that the error names the last kernel launched,
///   unless the launch itself failed
/// Errors:
///   - `exec::cuda: … failed: …`: with the call's name and CUDA's words
/// Test: tests/unit/cuda/runtime_test.cu
class cuda_status {
 public:
  /// Throws unless `call` has succeeded. Destructors ignore the code instead.
  static void check(cudaError_t code, char const* call) {
    if (code != cudaSuccess) fail(code, call);
  }
  static void check(cublasStatus_t status, char const* call) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    check(cudaPeekAtLastError(), call);
    throw error(sentence("exec::cuda: {} failed: {}", call, cublasLtGetStatusName(status)));
  }
  /// Throws if a kernel has failed.
  static void require_usable() {
    if (unusable().load(std::memory_order_acquire)) throw_unusable();
  }
  /// Remembers the kernel that is launched: `name` is the __PRETTY_FUNCTION__ of a function with
  /// the kernel as its template argument.
  static void launching(char const* name) { last_kernel().store(name, std::memory_order_relaxed); }

  /// `count` bytes in words, from 1 MiB on in GiB too.
  static std::string bytes(std::int64_t count) {
    if (count < (std::int64_t{1} << 20)) return sentence("{} bytes", count);
    std::int64_t const tenths =
        static_cast<std::int64_t>(static_cast<double>(count) / (1 << 30) * 10 + 0.5);
    return sentence("{} bytes ({}.{} GiB)", count, tenths / 10, tenths % 10);
  }

 private:
  /// Whether the error is that of a failed kernel, which CUDA returns from each later call.
  static bool is_final(cudaError_t code) {
    switch (code) {
      case cudaErrorIllegalAddress:
      case cudaErrorLaunchTimeout:
      case cudaErrorAssert:
      case cudaErrorHardwareStackError:
      case cudaErrorIllegalInstruction:
      case cudaErrorMisalignedAddress:
      case cudaErrorInvalidAddressSpace:
      case cudaErrorInvalidPc:
      case cudaErrorLaunchFailure:
      case cudaErrorECCUncorrectable:
      case cudaErrorContextIsDestroyed:
      case cudaErrorExternalDevice:
        return true;
      default:
        return false;
    }
  }
  [[noreturn]] static void fail(cudaError_t code, char const* call) {
    (void)cudaGetLastError();  // clears it: an error is reported once
    std::string const text = sentence("{} ({})", cudaGetErrorString(code), cudaGetErrorName(code));
    if (is_final(code)) {
      std::lock_guard const lock(mutex());
      if (!unusable()) first_error() = sentence("{}, {}", text, last_launched());
      unusable().store(true, std::memory_order_release);
      throw error(sentence(
          "exec::cuda: {} failed: {}; {}, and with CUDA_LAUNCH_BLOCKING=1 in the environment "
          "the one that failed is named. This process cannot use the device any more",
          call, text, last_launched()));
    }
    throw error(sentence("exec::cuda: {} failed: {}", call, text));
  }
  [[noreturn]] static void throw_unusable() {
    std::lock_guard const lock(mutex());
    throw error(sentence(
        "exec::cuda: an earlier kernel failed ({}): this process cannot use the device any "
        "more, and the contents of its caches are lost",
        first_error()));
  }
  static std::string last_launched() {
    char const* const name = last_kernel().load(std::memory_order_relaxed);
    if (name == nullptr) return "no kernel was launched";
    // NAME of "... [with Kernel = NAME; ...]" or "... [Kernel = NAME]".
    std::string_view text = name;
    if (auto const at = text.find("Kernel = "); at != text.npos) text.remove_prefix(at + 9);
    if (auto const end = text.find(';'); end != text.npos) text = text.substr(0, end);
    while (!text.empty() && text.back() == ']') text.remove_suffix(1);
    return "the last kernel launched was " + std::string(text);
  }

  static std::atomic<bool>& unusable() {
    static std::atomic<bool> flag = false;
    return flag;
  }
  static std::atomic<char const*>& last_kernel() {
    static std::atomic<char const*> name = nullptr;
    return name;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::string& first_error() {
    static std::string text;
    return text;
  }
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
