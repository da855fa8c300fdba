// What kernels over time are made of, in float32: vectors, products of small matrices, threads.
//
// The products of a step are small, so that calls of a library cost as much as they compute. Here
// a tile of sums, some rows by two or three vectors of columns, stays in registers while a product
// runs over the weights, which lie packed in the order of use. Matrices are row-major.

#if !defined(__FMA__) && !defined(__ARM_FEATURE_FMA)
#error "Without fused multiply-add a library's products are faster."
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

namespace {

// How many rows of 3 and of 2 vectors the registers hold, 32 or 16 of them.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int ROWS_OF_3 = 8, ROWS_OF_2 = 8;
#else
constexpr int ROWS_OF_3 = 4, ROWS_OF_2 = 6;
#endif

typedef float Vector __attribute__((vector_size(LANES * 4)));
typedef int32_t Integers __attribute__((vector_size(LANES * 4)));
typedef float Unaligned __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

#define INLINE inline __attribute__((always_inline))

// Hold a vector in a register: GCC would load it from memory for each product.
#if defined(__x86_64__)
#define KEEP(value) asm("" : "+v"(value))
#else
#define KEEP(value) asm("" : "+w"(value))
#endif

// --- Vectors -------------------------------------------------------------------------------------

INLINE Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }

INLINE void store(float* to, Vector value) { *reinterpret_cast<Unaligned*>(to) = value; }

// Copy fewer entries than a vector has.
INLINE void copy(float* to, const float* from, int64_t count) {
  int64_t i = 0;
  if (LANES > 8 && count & 8) std::memcpy(to, from, 32), i = 8;
  if (LANES > 4 && count & 4) std::memcpy(to + i, from + i, 16), i += 4;
  if (count & 2) std::memcpy(to + i, from + i, 8), i += 2;
  if (count & 1) to[i] = from[i];
}

// The first `count` entries, and zeros.
INLINE Vector load(const float* from, int64_t count) {
  if (count >= LANES) return load(from);
  Vector value = {};
  copy(reinterpret_cast<float*>(&value), from, count);
  return value;
}

INLINE void store(float* to, Vector value, int64_t count) {
  if (count >= LANES) return store(to, value);
  copy(to, reinterpret_cast<const float*>(&value), count);
}

// Below -87.3 it stays at 1e-38, above 88.4 it is infinite; NaN remains.
// Source: the Cephes library's expf, as tanhf for tanh.
INLINE Vector exponential(Vector x) {
  const Vector least = Vector{} - 87.3f, most = Vector{} + 88.7f;
  const Vector magic = Vector{} + 12582912.0f;  // 1.5 * 2**23, which rounds what is added to it
  x = x > most ? most : x;
  x = x < least ? least : x;
  Vector shifted = x * 1.44269504088896341f + magic;
  Integers power = (Integers)shifted - (Integers)magic;
  Vector whole = shifted - magic;
  x = x - whole * 0.693359375f;
  x = x - whole * -2.12194440e-4f;
  Vector sum = x * 1.9875691500e-4f + 1.3981999507e-3f;
  sum = sum * x + 8.3334519073e-3f;
  sum = sum * x + 4.1665795894e-2f;
  sum = sum * x + 1.6666665459e-1f;
  sum = sum * x + 5.0000001201e-1f;
  sum = sum * (x * x) + x + 1.0f;
  return sum * (Vector)((power + 127) << 23);
}

INLINE Vector sigmoid(Vector x) { return 1.0f / (exponential(-x) + 1.0f); }

INLINE Vector tanh(Vector x) {
  const Integers sign = (Integers)x & INT32_MIN;
  const Vector size = (Vector)((Integers)x ^ sign);
  const Vector far = 1.0f - 2.0f / (exponential(size * 2.0f) + 1.0f);
  const Vector square = x * x;
  Vector sum = square * -5.70498872745e-3f + 2.06390887954e-2f;
  sum = sum * square + -5.37397155531e-2f;
  sum = sum * square + 1.33314422036e-1f;
  sum = sum * square + -3.33332819422e-1f;
  const Vector near = sum * square * size + size;
  return (Vector)((Integers)(size < 0.625f ? near : far) ^ sign);
}

// --- Products ------------------------------------------------------------------------------------

// Add to `sums` the products of R rows of `a`, whose entries lie at i * row + k * column, and C
// packed vectors of columns of `b`.
template <int R, int C>
INLINE void multiply(Vector (&sums)[R][C], const float* a, int64_t row, int64_t column,
                     const float* b, int64_t count) {
  Vector local[R][C];  // which GCC keeps in registers more readily than what the caller has
  for (int i = 0; i < R; ++i)
    for (int c = 0; c < C; ++c) local[i][c] = sums[i][c];
  for (int64_t k = 0; k < count; ++k) {
    Vector right[C];
    for (int c = 0; c < C; ++c) {
      right[c] = load(b + (k * C + c) * LANES);
      KEEP(right[c]);
    }
    for (int i = 0; i < R; ++i) {
      const float left = a[i * row + k * column];
      for (int c = 0; c < C; ++c) local[i][c] += left * right[c];
    }
  }
  for (int i = 0; i < R; ++i)
    for (int c = 0; c < C; ++c) sums[i][c] = local[i][c];
}

// Call `step(tile height, first row)` for tiles that cover the rows.
template <int Most, typename Step>
INLINE void in_tiles(int64_t rows, Step step) {
  int64_t i = 0;
  for (; i + Most <= rows; i += Most) step(std::integral_constant<int, Most>(), i);
  if (Most > 4 && i + 4 <= rows) step(std::integral_constant<int, 4>(), i), i += 4;
  if (i + 2 <= rows) step(std::integral_constant<int, 2>(), i), i += 2;
  if (i < rows) step(std::integral_constant<int, 1>(), i);
}

// Call `step(width in vectors, number of panel)` for the panels of one or two vectors of columns.
template <typename Step>
INLINE void in_panels(int64_t columns, Step step) {
  const int64_t vectors = (columns + LANES - 1) / LANES;
  for (int64_t p = 0; p < vectors / 2; ++p) step(std::integral_constant<int, 2>(), p);
  if (vectors % 2) step(std::integral_constant<int, 1>(), vectors / 2);
}

int64_t padded(int64_t size) { return (size + LANES - 1) / LANES * LANES; }

// Memory for floats; aligned, not filled.
class Buffer {
 public:
  explicit Buffer(int64_t size) : memory_(new float[size + 16]) {
    const auto place = reinterpret_cast<uintptr_t>(memory_.get());
    start_ = reinterpret_cast<float*>((place + 63) & ~uintptr_t(63));
  }
  float* get() const { return start_; }

 private:
  std::unique_ptr<float[]> memory_;
  float* start_;
};

// Copy a row of a matrix into panels of `height` rows: (panel, row, vectors).
INLINE void pack_row(float* panels, int64_t height, int64_t index, const float* row,
                     int64_t columns) {
  in_panels(columns, [&](auto width, int64_t p) {
    float* to = panels + p * 2 * LANES * height + index * width() * LANES;
    const float* from = row + p * 2 * LANES;
    for (int c = 0; c < width(); ++c)
      store(to + c * LANES, load(from + c * LANES, columns - (p * 2 + c) * LANES));
  });
}

// Run `part(thread, first row, last row)` for each thread's share of the batch.
template <typename Part>
void share(int64_t batch, int64_t threads, Part part) {
  const int64_t rows = (batch + 4 * threads - 1) / (4 * threads) * 4;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
  for (int64_t i = 0; i < threads; ++i)
    part(i, std::min(batch, i * rows), std::min(batch, (i + 1) * rows));
}

}  // namespace

extern "C" {

// y = sigmoid(x) or tanh(x), to be tested.
void torchseq_sigmoid(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES)
    store(y + i, sigmoid(load(x + i, count - i)), count - i);
}

void torchseq_tanh(const float* x, float* y, int64_t count) {
  for (int64_t i = 0; i < count; i += LANES)
    store(y + i, tanh(load(x + i, count - i)), count - i);
}

}  // extern "C"
