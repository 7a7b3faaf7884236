// All kernels that models launch: compiled for every architecture that is promised, for ptxas to
// say what they take (ptxas.sh).
#include <plait/cuda.cuh>

using namespace plait;

template <precision P>
using device = exec::device<P, exec::cuda_runtime>;

// Everything v0.1 has, with rotary positions beside it.
template class plait::model<configs::jamba_v0_1, device<f32>>;
template class plait::model<configs::jamba_v0_1, device<bf16>>;
template class plait::model<configs::jamba_v0_1, device<experts_int8>>;
template class plait::model<configs::jamba_v0_1, device<int8>>;
template class plait::model<configs::mixtral_8x7b, device<f32>>;
template class plait::model<configs::mixtral_8x7b, device<bf16>>;
