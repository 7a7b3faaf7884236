// Appends new keys and values to their pages, then causal grouped-query attention over the pages.
#pragma once

#include <plait/core/prologue.hpp>

#include <plait/ops/dispatch.hpp>

#include <cmath>
#include <vector>

PLAIT_NAMESPACE_BEGIN
namespace ops {

/// Grouped-query attention: `heads` query heads share `kv_heads` heads of keys and values, each
/// `dim` wide. Query head j reads key head j / (heads / kv_heads).
struct attention_shape {
  std::int64_t heads = 0, kv_heads = 0, dim = 0;
};

template <class Exec>
struct paged_attention_op {
  PLAIT_OP_MISSING(paged_attention);
};

/// Appends k and v to the pages of each sequence, as they are: a rotary embedding, if any, is in q
/// and k already.
/// Equation: for the query q of head j at absolute position p: out = sum_i softmax_i(q k_i /
///   sqrt(dim)) v_i over the keys i = 0 .. p of key head j / (heads / kv_heads). Keys are walked in
///   blocks of page_tokens at fixed absolute positions
/// Shapes: q, out [T, heads dim], heads one after the other; k, v [T, kv_heads dim]; out may be q.
///   Pages as in core/sequences.hpp; the caller has reserved those of all positions up to the last
///   new token's
/// Cost: 4 heads dim operations per query and key; keys and values of a sequence are read once per
///   run of queries. The reference allocates
/// Source: Ainslie et al., arXiv:2305.13245
/// Test: tests/unit/ops/attention/paged_attention_test.cpp
template <class Exec>
void paged_attention(Exec& exec, sequences<typename Exec::value_type> const& seqs,
                     attention_shape shape, matrix_view<typename Exec::value_type const> q,
                     matrix_view<typename Exec::value_type const> k,
                     matrix_view<typename Exec::value_type const> v,
                     matrix_view<typename Exec::value_type> out) {
  paged_attention_op<Exec>::run(exec, seqs, shape, q, k, v, out);
}

/// Writes the new keys and values of one sequence and key head to their pages, converted to Value,
/// the kv_type. Every execution policy of the host has this layout (page_layout).
template <class Value, class T>
void append_to_pages(sequences<T> const& seqs, attention_shape shape, std::int64_t s,
                     std::int64_t head, matrix_view<T const> k, matrix_view<T const> v) {
  page_layout const layout{shape.kv_heads, shape.dim};
  for (std::int64_t t = 0; t < seqs.tokens(s); ++t) {
    std::int64_t const position = seqs.length[s] + t;
    std::int64_t const slot = position % page_tokens;
    Value* const page = seqs.template page_of<Value>(s, position / page_tokens);
    T const* const key = k.row(seqs.first_row[s] + t) + head * shape.dim;
    T const* const value = v.row(seqs.first_row[s] + t) + head * shape.dim;
    for (std::int64_t d = 0; d < shape.dim; ++d)
      page[layout.key(head, d, slot)] = static_cast<Value>(key[d]);
    for (std::int64_t d = 0; d < shape.dim; ++d)
      page[layout.value(head, slot, d)] = static_cast<Value>(value[d]);
  }
}

template <>
struct paged_attention_op<exec::reference> {
  static void run(exec::reference& exec, sequences<double> const& seqs, attention_shape shape,
                  matrix_view<double const> q, matrix_view<double const> k,
                  matrix_view<double const> v, matrix_view<double> out) {
    page_layout const layout{shape.kv_heads, shape.dim};
    exec.parallel(seqs.count, [&](std::int64_t s, int) {
      for (std::int64_t head = 0; head < shape.kv_heads; ++head)
        append_to_pages<double>(seqs, shape, s, head, k, v);
      for (std::int64_t t = 0; t < seqs.tokens(s); ++t)
        for (std::int64_t j = 0; j < shape.heads; ++j) {
          std::int64_t const keys = seqs.length[s] + t + 1;
          std::int64_t const head = j / (shape.heads / shape.kv_heads);
          std::int64_t const row = seqs.first_row[s] + t;
          std::vector<double> p(static_cast<std::size_t>(keys));
          std::vector<double> sum(static_cast<std::size_t>(shape.dim));
          double max_score = -INFINITY;
          double total = 0;
          for (std::int64_t i = 0; i < keys; ++i) {
            double score = 0;
            for (std::int64_t d = 0; d < shape.dim; ++d)
              score +=
                  q(row, j * shape.dim + d) *
                  seqs.page_of<double>(s, i / page_tokens)[layout.key(head, d, i % page_tokens)];
            p[static_cast<std::size_t>(i)] = score / std::sqrt(double(shape.dim));
            max_score = std::fmax(max_score, p[static_cast<std::size_t>(i)]);
          }
          for (double& x : p) total += x = std::exp(x - max_score);
          for (std::int64_t i = 0; i < keys; ++i)
            for (std::int64_t d = 0; d < shape.dim; ++d)
              sum[static_cast<std::size_t>(d)] +=
                  p[static_cast<std::size_t>(i)] / total *
                  seqs.page_of<double>(s, i / page_tokens)[layout.value(head, i % page_tokens, d)];
          for (std::int64_t d = 0; d < shape.dim; ++d)
            out(row, j * shape.dim + d) = sum[static_cast<std::size_t>(d)];
        }
    });
  }
};

}  // namespace ops
PLAIT_NAMESPACE_END

#include <plait/core/epilogue.hpp>
