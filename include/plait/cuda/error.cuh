// Errors of CUDA as sentences, and the end of a device. What CUDA answers, as sentences.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/core/error.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

PLAIT_NAMESPACE_BEGIN
namespace exec {

/// What becomes of the answers of CUDA: each that is not success is a plait::error with the call's
/// name. Some say that a kernel has gone wrong, and then no call of this process can use the device
/// again: from then on every check refuses, with what was said first. Kernels run later than they
/// are launched, so it is the last one launched that is named, unless the launch itself failed.
/// Equation: an error that a kernel leaves behind is final: every later call of the process
///   refuses, with what was said first
/// Errors:
///   - `exec::cuda: … failed: …`: with the call's name and CUDA's words
/// Test: tests/unit/cuda/runtime_test.cu
class cuda_check {
 public:
  /// The answer of `call`. Where nothing is to be thrown, a destructor for instance, an answer may
  /// be let go.
  static void check(cudaError_t code, char const* call) {
    if (code != cudaSuccess) fail(code, call);
  }
  static void check(cublasStatus_t status, char const* call) {
    if (status == CUBLAS_STATUS_SUCCESS) return;
    check(cudaPeekAtLastError(), call);
    throw error(std::string("exec::cuda: ") + call + " failed: " + cublasLtGetStatusName(status));
  }
  /// Refuses once a kernel has failed.
  static void require_usable() {
    if (dead().load(std::memory_order_acquire)) throw_unusable();
  }
  /// Remembers which kernel is launched: `name` is the __PRETTY_FUNCTION__ of a function whose
  /// template argument it is.
  static void launching(char const* name) { last().store(name, std::memory_order_relaxed); }

  /// `count` bytes as people read them.
  static std::string bytes(std::int64_t count) {
    std::string text = std::to_string(count) + " bytes";
    if (count < (std::int64_t{1} << 20)) return text;
    std::int64_t const tenths =
        static_cast<std::int64_t>(static_cast<double>(count) / (1 << 30) * 10 + 0.5);
    return text + " (" + std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " GiB)";
  }

 private:
  /// What a kernel leaves behind that has gone wrong: CUDA answers every later call so too.
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
    (void)cudaGetLastError();  // said once is enough
    std::string const what =
        std::string(cudaGetErrorString(code)) + " (" + cudaGetErrorName(code) + ")";
    if (is_final(code)) {
      std::lock_guard const lock(mutex());
      if (!dead()) first() = what + ", " + last_launched();
      dead().store(true, std::memory_order_release);
      throw error(std::string("exec::cuda: ") + call + " failed: " + what + "; " + last_launched() +
                  ", and with CUDA_LAUNCH_BLOCKING=1 in the environment the one that failed is "
                  "named. This process cannot use the device"
                  " any more");
    }
    throw error(std::string("exec::cuda: ") + call + " failed: " + what);
  }
  [[noreturn]] static void throw_unusable() {
    std::lock_guard const lock(mutex());
    throw error("exec::cuda: an earlier kernel failed (" + first() +
                "): this process cannot use the device any more, and what its caches hold is lost");
  }
  static std::string last_launched() {
    char const* const name = last().load(std::memory_order_relaxed);
    if (name == nullptr) return "no kernel was launched";
    // Of "... [with Kernel = NAME; ...]" or "... [Kernel = NAME]" the name.
    std::string_view text = name;
    if (auto const at = text.find("Kernel = "); at != text.npos) text.remove_prefix(at + 9);
    if (auto const end = text.find(';'); end != text.npos) text = text.substr(0, end);
    while (!text.empty() && text.back() == ']') text.remove_suffix(1);
    return "the last kernel launched was " + std::string(text);
  }

  static std::atomic<bool>& dead() {
    static std::atomic<bool> is = false;
    return is;
  }
  static std::atomic<char const*>& last() {
    static std::atomic<char const*> name = nullptr;
    return name;
  }
  static std::mutex& mutex() {
    static std::mutex m;
    return m;
  }
  static std::string& first() {
    static std::string what;
    return what;
  }
};

}  // namespace exec
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
