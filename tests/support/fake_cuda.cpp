// A fake of the CUDA runtime and cuBLASLt for machines without a device: a library for LD_PRELOAD.
// Device memory is host memory, copies are synchronous, kernels do not run. Every launch and every
// product is recorded and checked: the function is a registered kernel, grid and block are legal,
// products and copies stay inside allocated blocks. (nvcc 13.0 launches a null function for some
// template arguments, without a diagnostic; a device refuses that launch.)
//
// Programs link the shared CUDA runtime and query the fake through fake_cuda.hpp. Functions that
// are not defined here are the real ones and answer as without a driver.
#include <support/fake_cuda.hpp>

#include <cublasLt.h>
#include <cuda_runtime_api.h>

#include <cxxabi.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

// The dim3 of the entry points that nvcc's code calls and no header declares.
struct dim_of_three {
  unsigned x, y, z;
};

namespace {

struct kernel {
  std::string name;
  int max_threads;
};
struct stream {
  bool capturing = false;
  std::vector<std::size_t> captured;
};
struct graph {
  std::size_t nodes;
};
struct event {
  double at = 0;
};

struct state {
  std::recursive_mutex mutex;
  std::map<void const*, kernel> kernels;
  std::map<std::uintptr_t, std::size_t> device, pinned;  // blocks by address
  std::set<stream*> streams;
  std::deque<test::fake_launch> launches;
  std::deque<std::string> problems, names;
  std::map<std::string, std::pair<long, int>> failures;  // calls until it fails, and the code
  std::map<std::string, long> settings{{"devices", 1},
                                       {"capability", 90},
                                       {"memory", 141L << 30},
                                       {"driver", CUDART_VERSION},
                                       {"multiprocessor_count", 132}};
  std::map<std::string, long> counts;
  cudaError_t last = cudaSuccess, broken = cudaSuccess;
  long in_use = 0;
  double clock = 0;
};
state& all() {
  static state* const s = new state;  // never destroyed: destructors of static objects call CUDA
  return *s;
}
using lock = std::lock_guard<std::recursive_mutex>;

void problem(std::string const& sentence) {
  all().problems.push_back(sentence);
  if (std::getenv("FAKE_CUDA_VERBOSE") != nullptr)
    std::fprintf(stderr, "fake_cuda: %s\n", sentence.c_str());
}

cudaError_t answer(cudaError_t code) {
  if (code != cudaSuccess) all().last = code;
  return code;
}
cudaError_t refused(std::string const& sentence, cudaError_t code) {
  problem(sentence);
  return answer(code);
}
cublasStatus_t refused(std::string const& sentence, cublasStatus_t code) {
  problem(sentence);
  return code;
}
/// Counts a call; the error that a test has asked of it, or that an earlier kernel left behind.
cudaError_t called(char const* function) {
  state& s = all();
  ++s.counts[function];
  if (s.broken != cudaSuccess) return answer(s.broken);
  auto const failure = s.failures.find(function);
  if (failure == s.failures.end() || --failure->second.first > 0) return cudaSuccess;
  cudaError_t const code = static_cast<cudaError_t>(failure->second.second);
  s.failures.erase(failure);
  if (code == cudaErrorIllegalAddress || code == cudaErrorLaunchFailure) s.broken = code;
  return answer(code);
}
#define CALLED(function)        \
  lock const here(all().mutex); \
  if (cudaError_t const code_ = called(function); code_ != cudaSuccess) return code_

std::string demangled(char const* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string const result = status == 0 ? text : name;
  std::free(text);
  return result;
}

/// Whether [p, p + bytes) is inside one block of the device.
bool inside(std::map<std::uintptr_t, std::size_t> const& blocks, void const* p, std::size_t bytes) {
  auto const at = reinterpret_cast<std::uintptr_t>(p);
  auto block = blocks.upper_bound(at);
  if (block == blocks.begin()) return false;
  --block;
  return at - block->first <= block->second && bytes <= block->second - (at - block->first);
}
void must_be_on_device(char const* what, void const* p, std::size_t bytes) {
  if (bytes > 0 && !inside(all().device, p, bytes))
    problem(std::string(what) + ": " + std::to_string(bytes) +
            " bytes that are not all of one block of the device");
}

void* zero_pages(std::size_t bytes) {
  void* const p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? nullptr : p;
}
/// Zeros, without touching whole pages that are zero already.
void clear(void* p, std::size_t bytes) {
  auto const first = (reinterpret_cast<std::uintptr_t>(p) + 4095) / 4096 * 4096,
             end = (reinterpret_cast<std::uintptr_t>(p) + bytes) / 4096 * 4096;
  if (end <= first) return void(std::memset(p, 0, bytes));
  std::memset(p, 0, first - reinterpret_cast<std::uintptr_t>(p));
  madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
  std::memset(reinterpret_cast<void*>(end), 0, reinterpret_cast<std::uintptr_t>(p) + bytes - end);
}

void record(std::string const& name, dim_of_three grid, long threads, stream* on, long nodes = 0) {
  state& s = all();
  s.names.push_back(name);
  bool const captured = on != nullptr && s.streams.count(on) > 0 && on->capturing;
  s.launches.push_back({s.names.back().c_str(),
                        {long(grid.x), long(grid.y), long(grid.z)},
                        threads,
                        nodes,
                        captured});
  if (captured) on->captured.push_back(s.launches.size() - 1);
}

cudaError_t launch(void const* f, dim_of_three grid, dim_of_three block, std::size_t dynamic,
                   void** args, void* on) {
  state& s = all();
  auto const known = s.kernels.find(f);
  std::string const name =
      known == s.kernels.end()
          ? f == nullptr ? "a null function" : "a function that was not registered"
          : known->second.name;
  long const threads = long(block.x) * block.y * block.z;
  record(name, grid, threads, static_cast<stream*>(on));
  auto const refuse = [&](std::string const& why, cudaError_t code) {
    return refused("launch of " + name + ": " + why, code);
  };
  if (known == s.kernels.end()) return refuse("no kernel", cudaErrorInvalidDeviceFunction);
  if (threads < 1 || threads > 1024)
    return refuse(std::to_string(threads) + " threads", cudaErrorInvalidConfiguration);
  if (known->second.max_threads > 0 && threads > known->second.max_threads)
    return refuse(std::to_string(threads) + " threads, compiled for " +
                      std::to_string(known->second.max_threads),
                  cudaErrorLaunchOutOfResources);
  if (grid.x < 1 || grid.y < 1 || grid.z < 1 || grid.x > 2147483647u || grid.y > 65535 ||
      grid.z > 65535)
    return refuse("a grid of " + std::to_string(grid.x) + " x " + std::to_string(grid.y) + " x " +
                      std::to_string(grid.z),
                  cudaErrorInvalidConfiguration);
  if (dynamic > 48 * 1024)
    return refuse(std::to_string(dynamic) + " bytes of dynamic shared memory",
                  cudaErrorInvalidValue);
  if (args == nullptr || args[0] == nullptr) return refuse("no arguments", cudaErrorInvalidValue);
  return cudaSuccess;
}

template <class Function>
Function* real(char const* name) {
  void* const f = dlsym(RTLD_NEXT, name);
  if (f == nullptr) {
    std::fprintf(stderr,
                 "fake_cuda: the CUDA runtime has no %s: link the program with -cudart shared\n",
                 name);
    std::abort();
  }
  return reinterpret_cast<Function*>(f);
}

/// Contents of the opaque descriptors.
struct layout_data {
  cudaDataType type;
  std::uint64_t rows, cols;
  std::int64_t ld;
};
struct product_data {
  cublasOperation_t transposed_a, transposed_b;
};
layout_data& data_of(cublasLtMatrixLayout_t l) {
  return *static_cast<layout_data*>(static_cast<void*>(l->data));
}
product_data& data_of(cublasLtMatmulDesc_t d) {
  return *static_cast<product_data*>(static_cast<void*>(d->data));
}
std::size_t size_of(cudaDataType type) { return type == CUDA_R_32F ? 4 : 2; }

}  // namespace

extern "C" {

// ---- for the tests
void fake_cuda_reset() {
  lock const here(all().mutex);
  state& s = all();
  s.launches.clear();
  s.problems.clear();
  s.failures.clear();
  s.counts.clear();
  s.last = s.broken = cudaSuccess;
}
long fake_cuda_launches() { return long(all().launches.size()); }
test::fake_launch const* fake_cuda_launch(long i) { return &all().launches[std::size_t(i)]; }
long fake_cuda_problems() { return long(all().problems.size()); }
char const* fake_cuda_problem(long i) { return all().problems[std::size_t(i)].c_str(); }
void fake_cuda_fail(char const* function, long nth, int code) {
  all().failures[function] = {nth, code};
}
void fake_cuda_set(char const* what, long value) { all().settings[what] = value; }
long fake_cuda_get(char const* what) {
  return std::string(what) == "in_use" ? all().in_use : all().counts[what];
}

// ---- kernels
void __cudaRegisterFunction(void** handle, char const* host, char* device, char const* name,
                            int threads, void* thread, void* block, void* block_size,
                            void* grid_size, int* warp) {
  {
    lock const here(all().mutex);
    all().kernels[host] = {demangled(name), threads};
  }
  real<void(void**, char const*, char*, char const*, int, void*, void*, void*, void*, int*)>(
      "__cudaRegisterFunction")(handle, host, device, name, threads, thread, block, block_size,
                                grid_size, warp);
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, void const* function) {
  *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
  return cudaSuccess;
}
cudaError_t cudaLaunchKernel(void const* f, dim3 grid, dim3 block, void** args, std::size_t dynamic,
                             cudaStream_t on) {
  CALLED("cudaLaunchKernel");
  return launch(f, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, dynamic, args, on);
}
cudaError_t __cudaLaunchKernel(cudaKernel_t f, dim3 grid, dim3 block, void** args,
                               std::size_t dynamic, cudaStream_t on) {
  return cudaLaunchKernel(reinterpret_cast<void const*>(f), grid, block, args, dynamic, on);
}
cudaError_t cudaLaunchKernelExC(cudaLaunchConfig_t const* c, void const* f, void** args) {
  CALLED("cudaLaunchKernel");
  return launch(f, {c->gridDim.x, c->gridDim.y, c->gridDim.z},
                {c->blockDim.x, c->blockDim.y, c->blockDim.z}, c->dynamicSmemBytes, args,
                c->stream);
}
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void const* f) {
  CALLED("cudaFuncGetAttributes");
  if (all().kernels.count(f) == 0) return answer(cudaErrorInvalidDeviceFunction);
  *attributes = {};
  return cudaSuccess;
}

// ---- the device
cudaError_t cudaGetDeviceCount(int* count) {
  CALLED("cudaGetDeviceCount");  // a failed call leaves the count alone
  *count = int(all().settings["devices"]);
  return *count > 0 ? cudaSuccess : answer(cudaErrorNoDevice);
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int device) {
  return device < all().settings["devices"] ? cudaSuccess : answer(cudaErrorInvalidDevice);
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = int(all().settings["driver"]);
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr which, int) {
  CALLED("cudaDeviceGetAttribute");
  switch (which) {
    case cudaDevAttrComputeCapabilityMajor:
      *value = int(all().settings["capability"] / 10);
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = int(all().settings["capability"] % 10);
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = int(all().settings["multiprocessor_count"]);
      break;
    case cudaDevAttrL2CacheSize:
      *value = 50 << 20;
      break;
    default:
      return refused("an attribute of the device that the fake does not know",
                     cudaErrorInvalidValue);
  }
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  CALLED("cudaGetDeviceProperties");
  std::memset(p, 0, sizeof *p);
  std::strcpy(p->name, "fake");
  p->major = int(all().settings["capability"] / 10);
  p->minor = int(all().settings["capability"] % 10);
  p->multiProcessorCount = int(all().settings["multiprocessor_count"]);
  p->totalGlobalMem = std::size_t(all().settings["memory"]);
  p->l2CacheSize = 50 << 20;
  return cudaSuccess;
}
cudaError_t cudaGetLastError() {
  lock const here(all().mutex);
  cudaError_t const code = all().broken != cudaSuccess ? all().broken : all().last;
  all().last = cudaSuccess;
  return code;
}
cudaError_t cudaPeekAtLastError() {
  return all().broken != cudaSuccess ? all().broken : all().last;
}
cudaError_t cudaDeviceSynchronize() {
  CALLED("cudaDeviceSynchronize");
  return cudaSuccess;
}

// ---- memory
cudaError_t cudaMemGetInfo(std::size_t* free, std::size_t* total) {
  CALLED("cudaMemGetInfo");
  *total = std::size_t(all().settings["memory"]);
  *free = *total - std::size_t(std::min(all().in_use, all().settings["memory"]));
  return cudaSuccess;
}
cudaError_t cudaMalloc(void** p, std::size_t bytes) {
  CALLED("cudaMalloc");
  for (stream const* s : all().streams)
    if (s->capturing) problem("memory is allocated during a capture");
  if (bytes > std::size_t(all().settings["memory"] - all().in_use))
    return answer(cudaErrorMemoryAllocation);
  std::size_t const size = (bytes + 4095) / 4096 * 4096;
  void* const block = zero_pages(size);
  if (block == nullptr) return answer(cudaErrorMemoryAllocation);
  all().device[reinterpret_cast<std::uintptr_t>(block)] = bytes;
  all().in_use += long(bytes);
  *p = block;
  return cudaSuccess;
}
cudaError_t cudaFree(void* p) {
  CALLED("cudaFree");
  auto const block = all().device.find(reinterpret_cast<std::uintptr_t>(p));
  if (p == nullptr) return cudaSuccess;
  if (block == all().device.end())
    return refused("cudaFree of an address that begins no block", cudaErrorInvalidValue);
  munmap(p, (block->second + 4095) / 4096 * 4096);
  all().in_use -= long(block->second);
  all().device.erase(block);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** p, std::size_t bytes) {
  CALLED("cudaMallocHost");
  *p = std::calloc(bytes, 1);
  all().pinned[reinterpret_cast<std::uintptr_t>(*p)] = bytes;
  return *p != nullptr ? cudaSuccess : answer(cudaErrorMemoryAllocation);
}
cudaError_t cudaFreeHost(void* p) {
  CALLED("cudaFreeHost");
  all().pinned.erase(reinterpret_cast<std::uintptr_t>(p));
  std::free(p);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t) {
  CALLED("cudaMemcpyAsync");
  if (kind != cudaMemcpyHostToDevice) must_be_on_device("a copy from the device", from, bytes);
  if (kind != cudaMemcpyDeviceToHost) must_be_on_device("a copy to the device", to, bytes);
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, void const* from, std::size_t bytes, cudaMemcpyKind kind) {
  return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}
cudaError_t cudaMemsetAsync(void* p, int value, std::size_t bytes, cudaStream_t) {
  CALLED("cudaMemsetAsync");
  must_be_on_device("a memset", p, bytes);
  if (value == 0)
    clear(p, bytes);
  else
    std::memset(p, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemset(void* p, int value, std::size_t bytes) {
  return cudaMemsetAsync(p, value, bytes, nullptr);
}

// ---- streams, events, graphs
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned) {
  CALLED("cudaStreamCreate");
  auto* const fresh = new stream;
  all().streams.insert(fresh);
  *s = reinterpret_cast<cudaStream_t>(fresh);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s) {
  lock const here(all().mutex);
  all().streams.erase(reinterpret_cast<stream*>(s));
  delete reinterpret_cast<stream*>(s);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  CALLED("cudaStreamSynchronize");
  auto* const it = reinterpret_cast<stream*>(s);
  if (all().streams.count(it) > 0 && it->capturing)
    return refused("a wait for a stream that is being captured", cudaErrorStreamCaptureUnsupported);
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned) { return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) {
  CALLED("cudaEventCreate");
  *e = reinterpret_cast<cudaEvent_t>(new event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t e) {
  delete reinterpret_cast<event*>(e);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t) {
  CALLED("cudaEventRecord");
  all().clock += 1;  // a millisecond between any two, so that nothing divides by zero
  reinterpret_cast<event*>(e)->at = all().clock;
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t) {
  CALLED("cudaEventSynchronize");
  return cudaSuccess;
}
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t first, cudaEvent_t second) {
  *ms = float(reinterpret_cast<event*>(second)->at - reinterpret_cast<event*>(first)->at);
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t s, cudaStreamCaptureMode) {
  CALLED("cudaStreamBeginCapture");
  auto* const it = reinterpret_cast<stream*>(s);
  if (all().streams.count(it) == 0 || it->capturing)
    return refused("a capture of no stream, or of one that is being captured",
                   cudaErrorIllegalState);
  it->capturing = true;
  it->captured.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t* g) {
  CALLED("cudaStreamEndCapture");
  auto* const it = reinterpret_cast<stream*>(s);
  if (!it->capturing)
    return refused("the end of a capture that did not begin", cudaErrorIllegalState);
  it->capturing = false;
  *g = reinterpret_cast<cudaGraph_t>(new graph{it->captured.size()});
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* e, cudaGraph_t g, unsigned long long) {
  CALLED("cudaGraphInstantiate");
  *e = reinterpret_cast<cudaGraphExec_t>(new graph{reinterpret_cast<graph*>(g)->nodes});
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) {
  CALLED("cudaGraphLaunch");
  record("graph", {1, 1, 1}, 0, reinterpret_cast<stream*>(s),
         long(reinterpret_cast<graph*>(e)->nodes));
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t g) {
  delete reinterpret_cast<graph*>(g);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t e) {
  delete reinterpret_cast<graph*>(e);
  return cudaSuccess;
}

// ---- cuBLASLt
cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  lock const here(all().mutex);
  if (called("cublasLtCreate") != cudaSuccess) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = reinterpret_cast<cublasLtHandle_t>(new int(0));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete reinterpret_cast<int*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
char const* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "a status of cuBLASLt";
  }
}
cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t d, std::size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (size < sizeof(cublasLtMatmulDescOpaque_t) || compute != CUBLAS_COMPUTE_32F ||
      scale != CUDA_R_32F)
    problem("a product whose sums are not f32");
  data_of(d) = {CUBLAS_OP_N, CUBLAS_OP_N};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t which,
                                              void const* value, std::size_t) {
  if (which == CUBLASLT_MATMUL_DESC_TRANSA)
    data_of(d).transposed_a = *static_cast<cublasOperation_t const*>(value);
  if (which == CUBLASLT_MATMUL_DESC_TRANSB)
    data_of(d).transposed_b = *static_cast<cublasOperation_t const*>(value);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, std::size_t,
                                                 cudaDataType type, std::uint64_t rows,
                                                 std::uint64_t cols, std::int64_t ld) {
  data_of(l) = {type, rows, cols, ld};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t,
                                                    void const*, std::size_t) {
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t* found, int* count) {
  lock const here(all().mutex);
  *count = 0;
  if (called("cublasLtMatmulAlgoGetHeuristic") != cudaSuccess) return CUBLAS_STATUS_NOT_SUPPORTED;
  *found = {};
  found->state = CUBLAS_STATUS_SUCCESS;
  *count = 1;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d, void const*, void const* a,
                              cublasLtMatrixLayout_t la, void const* b, cublasLtMatrixLayout_t lb,
                              void const*, void const* c, cublasLtMatrixLayout_t, void* out,
                              cublasLtMatrixLayout_t lo, cublasLtMatmulAlgo_t const* algorithm,
                              void* workspace, std::size_t bytes, cudaStream_t on) {
  lock const here(all().mutex);
  if (called("cublasLtMatmul") != cudaSuccess) return CUBLAS_STATUS_EXECUTION_FAILED;
  layout_data const &x = data_of(la), &y = data_of(lb), &z = data_of(lo);
  record("gemm", {unsigned(z.rows), unsigned(z.cols), unsigned(x.rows)}, 0,
         reinterpret_cast<stream*>(on));
  auto const whole = [](layout_data const& l) {
    return l.cols == 0 ? 0 : ((l.cols - 1) * std::uint64_t(l.ld) + l.rows) * size_of(l.type);
  };
  if (data_of(d).transposed_a != CUBLAS_OP_T || data_of(d).transposed_b != CUBLAS_OP_N ||
      x.rows != y.rows || x.cols != z.rows || y.cols != z.cols || x.type != y.type)
    return refused("a product of matrices that do not fit", CUBLAS_STATUS_INVALID_VALUE);
  for (layout_data const* l : {&x, &y, &z})
    if (l->ld < std::int64_t(l->rows) || l->rows == 0 || l->cols == 0)
      return refused("a product whose rows overlap, or that is empty", CUBLAS_STATUS_INVALID_VALUE);
  must_be_on_device("weights of a product", a, whole(x));
  must_be_on_device("the input of a product", b, whole(y));
  must_be_on_device("the result of a product", out, whole(z));
  must_be_on_device("the workspace of a product", workspace, bytes);
  if (c != out || algorithm == nullptr) problem("a product without algorithm, or with another C");
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
