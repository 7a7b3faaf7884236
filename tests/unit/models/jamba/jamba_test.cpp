// The released models as types: whole, instantiated, allocated nowhere.
#include <plait/plait.hpp>

#include <doctest/doctest.h>

#include <type_traits>

template class plait::model<plait::configs::jamba_v0_1>;
template class plait::model<plait::configs::jamba_1_5_large>;
template class plait::model<plait::configs::jamba_reasoning_3b>;
template class plait::model<plait::configs::mixtral_8x7b>;

static_assert(std::is_same_v<plait::jamba_v0_1<>, plait::model<plait::configs::jamba_v0_1>>);
static_assert(std::is_same_v<plait::jamba_1_5_mini<>, plait::jamba_v0_1<>>);
static_assert(std::is_same_v<plait::jamba<8, 1, 7, 2, 16, 2>, plait::jamba_v0_1<>>);

TEST_CASE("the released models have the counted state") {
  using model = plait::jamba_v0_1<>;
  CHECK(model::layout.state_values * 4 == plait::recurrent_state_bytes(plait::configs::jamba_v0_1));
  CHECK(model::layout.page_bytes ==
        plait::kv_cache_bytes(plait::configs::jamba_v0_1, plait::page_tokens, 4));
  CHECK(plait::plan<plait::configs::jamba_v0_1>::kinds == 3);
  CHECK(plait::plan<plait::configs::jamba_reasoning_3b>::kinds == 2);
}
