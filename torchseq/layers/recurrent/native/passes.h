// What the passes of the recurrent kernels share. Stands behind vectors.h.
//
// A thread has rows `first` to `last` of the batch, over all time. Weights' gradients are summed
// while what they need is in the cache.

namespace {

constexpr int CHUNK = 128;  // rows, of all time steps, after which weights' gradients are summed

struct Sizes {
  int64_t batch, time, features, units;
};

// Turn up to LANES rows of up to 16 entries into vectors, every `Gates`-th of `to`.
template <int Gates>
INLINE void transpose(float* to, const float* rows, int64_t columns, int64_t height,
                      int64_t width) {
  for (int lane = 0; lane < LANES; ++lane)
    for (int k = 0; k < std::min<int64_t>(16, width); ++k)
      to[k * Gates * LANES + lane] = lane < height ? rows[lane * columns + k] : 0.0f;
}

// Lay `Gates` blocks of (units, columns) out as (unit vector, column, gate, lane).
template <int Gates>
void pack_gates(float* to, const float* weights, int64_t units, int64_t columns) {
  for (int64_t first = 0; first < units; first += LANES, to += Gates * LANES * columns)
    for (int64_t begin = 0; begin < columns; begin += 16)  // what is written stays in the cache
      for (int64_t gate = 0; gate < Gates; ++gate) {
        const float* block = weights + (gate * units + first) * columns + begin;
        float* place = to + (begin * Gates + gate) * LANES;
        if (first + LANES <= units && begin + 16 <= columns)
          transpose<Gates>(place, block, columns, LANES, 16);
        else
          transpose<Gates>(place, block, columns, units - first, columns - begin);
      }
}

// Copy rows of `units` entries to padded rows, or back.
INLINE void pad_rows(float* to, const float* from, int64_t rows, int64_t units) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < units; j += LANES)
      store(to + i * padded(units) + j, load(from + i * units + j, units - j));
}

INLINE void unpad_rows(float* to, const float* from, int64_t rows, int64_t units) {
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < units; j += LANES)
      store(to + i * units + j, load(from + i * padded(units) + j), units - j);
}

// The tensors of a backward pass, as the functions that Python calls have them.
struct Given {
  const float *grad, *grad_cell, *saved, *outputs, *inputs, *state, *cell, *w_input, *w_state;
  float *grad_inputs, *grad_state, *grad_cell_before, *grad_w_input, *grad_w_state;
};

// A backward pass. `Cell` says how many GATES it has, how many of them have one gradient for the
// sums of inputs and of states (COMMON, the first), and what happens at a step. The gradients of
// the sums are `slopes`, (rows, 4, units): those of the state first, those of the inputs last.
template <typename Cell>
struct Backward : Sizes, Given {
  const float *for_state = nullptr, *for_inputs = nullptr;  // packed weights

  // Sums over a thread's rows: (gates, units, padded columns) twice, and (4, units).
  struct Sums {
    float *of_inputs, *of_state, *of_bias;
  };

  // Fill all gradients, and `of_bias`, (4, units).
  void run(int64_t threads, float* of_bias) {
    const int64_t width = padded(units), depth = padded(features), rows = Cell::GATES * units;
    Buffer state_memory(rows * width), input_memory(grad_inputs ? rows * depth : 0);
    for (int64_t k = 0; k < rows; ++k) {
      pack_row(state_memory.get(), rows, k, w_state + k * units, units);
      if (grad_inputs) pack_row(input_memory.get(), rows, k, w_input + k * features, features);
    }
    for_state = state_memory.get(), for_inputs = input_memory.get();
    const int64_t size = rows * (depth + width) + 4 * width;
    Buffer memory(threads * size);
    share(batch, threads, [&](int64_t i, int64_t first, int64_t last) {
      float* mine = memory.get() + i * size;
      std::fill_n(mine, size, 0.0f);
      const Sums sums{mine, mine + rows * depth, mine + rows * (depth + width)};
      if (first < last) over_time(first, last, sums);
    });
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t k = 0; k < size; k += LANES)
      for (int64_t i = 1; i < threads; ++i)
        store(memory.get() + k, load(memory.get() + k) + load(memory.get() + i * size + k));
    unpad_rows(grad_w_input, memory.get(), rows, features);
    unpad_rows(grad_w_state, memory.get() + rows * depth, rows, units);
    std::copy_n(memory.get() + rows * (depth + width), 4 * units, of_bias);
  }

  void over_time(int64_t first, int64_t last, Sums sums) const {
    const int64_t rows = last - first, width = padded(units), depth = padded(features);
    const int64_t steps = std::max<int64_t>(1, std::min(time, CHUNK / rows));
    Buffer slope_memory(steps * rows * 4 * units), carry(rows * width), cell_carry(rows * width);
    Buffer inputs_packed(steps * rows * depth), states_packed(steps * rows * width);
    std::fill_n(carry.get(), rows * width, 0.0f);
    if (grad_cell) pad_rows(cell_carry.get(), grad_cell + first * units, rows, units);
    for (int64_t end = time; end > 0; end -= steps) {
      const int64_t begin = std::max<int64_t>(0, end - steps), height = (end - begin) * rows;
      for (int64_t t = end - 1; t >= begin; --t) {
        const int64_t index = (t - begin) * rows;
        float* slopes = slope_memory.get() + index * 4 * units;
        for (int64_t unit = 0; unit < units; unit += LANES)
          gates(t, unit, first, last, carry.get(), cell_carry.get(), slopes, sums.of_bias);
        to_state(rows, carry.get(), slopes);
        if (grad_inputs) to_inputs(t, first, rows, slopes);
        for (int64_t i = 0; i < rows; ++i) {
          const float* x = inputs + ((first + i) * time + t) * features;
          pack_row(inputs_packed.get(), height, index + i, x, features);
          pack_row(states_packed.get(), height, index + i, state_before(first + i, t), units);
        }
      }
      const float *slopes = slope_memory.get(), *x = inputs_packed.get();
      add_products(sums.of_inputs, features, slopes, Cell::COMMON * units, x, height);
      if (Cell::COMMON < Cell::GATES)
        add_products(sums.of_inputs + Cell::COMMON * units * depth, features, slopes + 3 * units,
                     units, x, height);
      add_products(sums.of_state, units, slopes, Cell::GATES * units, states_packed.get(), height);
    }
    unpad_rows(grad_state + first * units, carry.get(), rows, units);
    if (grad_cell) unpad_rows(grad_cell_before + first * units, cell_carry.get(), rows, units);
  }

  const float* state_before(int64_t b, int64_t t) const {
    return t ? outputs + (b * time + t - 1) * units : state + b * units;
  }

  // Fill the slopes of a unit vector at a step, and begin the gradient of the state before.
  void gates(int64_t t, int64_t unit, int64_t first, int64_t last, float* carry, float* cell_carry,
             float* slopes, float* of_bias) const {
    const int64_t width = padded(units), count = units - unit;
    Vector total[4] = {};
    for (int64_t b = first; b < last; ++b) {
      Vector found[4];
      const int64_t place = (b - first) * width + unit;
      const Vector upstream = load(grad + (b * time + t) * units + unit, count);
      Cell::slopes(*this, b, t, unit, upstream, carry + place, cell_carry + place, found);
      for (int gate = 0; gate < 4; ++gate) {
        store(slopes + ((b - first) * 4 + gate) * units + unit, found[gate], count);
        total[gate] += found[gate];
      }
    }
    for (int gate = 0; gate < 4; ++gate) {
      float* to = of_bias + gate * units + unit;
      store(to, load(to, count) + total[gate], count);
    }
  }

  // Add to `carry` what goes to the state before.
  void to_state(int64_t rows, float* carry, const float* slopes) const {
    const int64_t width = padded(units), count = Cell::GATES * units;
    in_panels(units, [&](auto vectors, int64_t p) {
      in_tiles<ROWS_OF_2>(rows, [&](auto height, int64_t i) {
        Vector sums[height()][vectors()];
        float* to = carry + i * width + p * 2 * LANES;
        for (int r = 0; r < height(); ++r)
          for (int c = 0; c < vectors(); ++c) sums[r][c] = load(to + r * width + c * LANES);
        multiply(sums, slopes + i * 4 * units, 4 * units, 1, for_state + p * 2 * LANES * count,
                 count);
        for (int r = 0; r < height(); ++r)
          for (int c = 0; c < vectors(); ++c) store(to + r * width + c * LANES, sums[r][c]);
      });
    });
  }

  // Write what goes to the inputs of a step.
  void to_inputs(int64_t t, int64_t first, int64_t rows, const float* slopes) const {
    const int64_t common = Cell::COMMON * units;
    in_panels(features, [&](auto vectors, int64_t p) {
      const float* weights = for_inputs + p * 2 * LANES * Cell::GATES * units;
      in_tiles<ROWS_OF_2>(rows, [&](auto height, int64_t i) {
        Vector sums[height()][vectors()] = {};
        const float* from = slopes + i * 4 * units;
        multiply(sums, from, 4 * units, 1, weights, common);
        if (Cell::COMMON < Cell::GATES)
          multiply(sums, from + 3 * units, 4 * units, 1, weights + common * vectors() * LANES,
                   units);
        for (int r = 0; r < height(); ++r) {
          float* to = grad_inputs + ((first + i + r) * time + t) * features;
          for (int c = 0; c < vectors(); ++c) {
            const int64_t column = (p * 2 + c) * LANES;
            store(to + column, sums[r][c], features - column);
          }
        }
      });
    });
  }

  // Add to (count, padded columns) the products of `count` columns of the slopes and packed rows.
  void add_products(float* to, int64_t columns, const float* slopes, int64_t count,
                    const float* panels, int64_t rows) const {
    const int64_t width = padded(columns);
    in_panels(columns, [&](auto vectors, int64_t p) {
      in_tiles<ROWS_OF_2>(count, [&](auto height, int64_t m) {
        Vector sums[height()][vectors()] = {};  // on their own: rounding grows less
        multiply(sums, slopes + m, 1, 4 * units, panels + p * 2 * LANES * rows, rows);
        for (int r = 0; r < height(); ++r)
          for (int c = 0; c < vectors(); ++c) {
            float* place = to + (m + r) * width + (p * 2 + c) * LANES;
            store(place, load(place) + sums[r][c]);
          }
      });
    });
  }
};

}  // namespace
