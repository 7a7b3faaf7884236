// A fake of libcudnn.so.9 for machines without a device: the calls of cuDNN's frontend for one plan
// of scaled dot product attention. Descriptors and plans are stored, nothing is computed. Every
// execution is recorded with its addresses, shapes and strides (fake_cudnn.hpp).
#include <support/fake_cudnn.hpp>

#include <cudnn.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

struct tensor {
  std::int64_t uid = 0;
  std::vector<std::int64_t> dims, strides;
};
struct descriptor {
  cudnnBackendDescriptorType_t type;
  std::map<int, std::vector<std::uint64_t>> attributes;  // of eight bytes each, or of fewer
  std::vector<tensor> tensors;                           // of a graph, and of what is made of it
};
descriptor& of(void const* d) {
  return *const_cast<descriptor*>(static_cast<descriptor const*>(d));
}

struct state {
  std::vector<tensor> tensors;  // of the graph that is being described
  std::vector<std::shared_ptr<test::fake_attention>> executed;
  std::map<std::string, long> counts,
      settings{{"plans", 1}, {"workspace", 256}, {"create", 0}, {"execute", 0}};
};
state& all() {
  static state* const s = new state;
  return *s;
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
      return 1;
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
    case CUDNN_TYPE_HANDLE:
      return 8;
    default:
      return 4;
  }
}
void* pointer(std::uint64_t word) { return reinterpret_cast<void*>(word); }

}  // namespace

extern "C" {

long fake_cudnn_executed() { return long(all().executed.size()); }
test::fake_attention const* fake_cudnn_execution(long i) {
  return all().executed[std::size_t(i)].get();
}
void fake_cudnn_set(char const* what, long value) { all().settings[what] = value; }
long fake_cudnn_get(char const* what) { return all().counts[what]; }

std::size_t cudnnGetVersion() { return CUDNN_VERSION; }
char const* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS ? "CUDNN_STATUS_SUCCESS" : "a status of cuDNN";
}
void cudnnGetLastErrorString(char* message, std::size_t size) {
  if (size > 0) message[0] = 0;
}
cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  ++all().counts["cudnnCreate"];
  if (all().settings["create"] != 0) return cudnnStatus_t(all().settings["create"]);
  ++all().counts["handles"];
  *handle = reinterpret_cast<cudnnHandle_t>(new cudaStream_t{});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  --all().counts["handles"];
  delete reinterpret_cast<cudaStream_t*>(handle);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  *reinterpret_cast<cudaStream_t*>(handle) = stream;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnGetStream(cudnnHandle_t handle, cudaStream_t* stream) {
  *stream = *reinterpret_cast<cudaStream_t*>(handle);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* d) {
  if (type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) ++all().counts["plans"];
  *d = reinterpret_cast<cudnnBackendDescriptor_t>(new descriptor{type, {}, {}});
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d) {
  if (of(d).type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) --all().counts["plans"];
  delete &of(d);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t n,
                                       void const* from) {
  std::vector<std::uint64_t> values(std::size_t(n), 0);
  for (std::size_t i = 0; i < values.size(); ++i)
    std::memcpy(&values[i], static_cast<char const*>(from) + i * size_of(type), size_of(type));
  of(d).attributes[name] = values;
  // What a plan's tensors are follows from the graph, by way of heuristics and configurations.
  if (name == CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH ||
      name == CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)
    of(d).tensors = of(pointer(values[0])).tensors;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, std::int64_t room,
                                       std::int64_t* count, void* to) {
  if (name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
    *count = all().settings["plans"];
    for (std::int64_t i = 0; to != nullptr && i < std::min(room, *count); ++i)
      of(static_cast<void**>(to)[i]).tensors = of(d).tensors;
    return CUDNN_STATUS_SUCCESS;
  }
  if (name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE) {
    *static_cast<std::int64_t*>(to) = all().settings["workspace"];
    return CUDNN_STATUS_SUCCESS;
  }
  // Numbers are 0; lists of notes and knobs are empty.
  bool const number = type == CUDNN_TYPE_INT64 || type == CUDNN_TYPE_INT32;
  if (count != nullptr) *count = number || name == CUDNN_ATTR_ENGINECFG_ENGINE ? 1 : 0;
  if (number && room > 0 && to != nullptr) std::memset(to, 0, size_of(type));
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d) {
  auto& a = of(d).attributes;
  auto const list = [&](int name) {
    return std::vector<std::int64_t>(a[name].begin(), a[name].end());
  };
  if (of(d).type == CUDNN_BACKEND_TENSOR_DESCRIPTOR &&
      list(CUDNN_ATTR_TENSOR_IS_VIRTUAL) != std::vector<std::int64_t>{1})
    all().tensors.push_back({list(CUDNN_ATTR_TENSOR_UNIQUE_ID)[0],
                             list(CUDNN_ATTR_TENSOR_DIMENSIONS), list(CUDNN_ATTR_TENSOR_STRIDES)});
  if (of(d).type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    of(d).tensors.swap(all().tensors);
    all().tensors.clear();
  }
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack) {
  ++all().counts["cudnnBackendExecute"];
  if (all().settings["execute"] != 0) return cudnnStatus_t(all().settings["execute"]);
  auto e = std::make_shared<test::fake_attention>();
  auto& a = of(pack).attributes;
  auto const &uids = a[CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS],
             &pointers = a[CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS];
  for (std::size_t i = 0; i < uids.size(); ++i)
    for (tensor const& t : of(plan).tensors)
      if (t.uid == std::int64_t(uids[i]) && t.uid >= 1 && t.uid <= 4 && t.dims.size() == 4) {
        test::fake_tensor& to = e->of[t.uid - 1];
        to.data = pointer(pointers[i]);
        std::copy_n(t.dims.begin(), 4, to.dims);
        std::copy_n(t.strides.begin(), 4, to.strides);
      }
  e->workspace = a[CUDNN_ATTR_VARIANT_PACK_WORKSPACE].empty()
                     ? nullptr
                     : pointer(a[CUDNN_ATTR_VARIANT_PACK_WORKSPACE][0]);
  e->stream = *reinterpret_cast<cudaStream_t*>(handle);
  all().executed.push_back(e);
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
