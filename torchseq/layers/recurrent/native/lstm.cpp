// The LSTM over a whole sequence. Stands behind passes.h.
//
//     c' = f * c + i * g;    h' = o * tanh(c')
//
// Gates come in the order i, f, g, o; g is by tanh. What the forward pass saves for the backward
// pass is (batch, time, 5, units): i, f, g, o, c'.

namespace {

struct Forward : Sizes {
  const float *inputs, *state, *cell, *for_inputs, *for_state, *bias;  // bias: (4, padded units)
  float *outputs, *last_cell, *saved;

  void over_time(int64_t first, int64_t last) const {
    const int64_t rows = last - first, width = padded(units);
    Buffer memory(3 * rows * width);
    float *before = memory.get(), *after = before + rows * width, *cells = after + rows * width;
    pad_rows(before, state + first * units, rows, units);
    pad_rows(cells, cell + first * units, rows, units);
    for (int64_t t = 0; t < time; ++t) {
      for (int64_t unit = 0; unit < units; unit += LANES)
        in_tiles<ROWS_OF_2>(rows, [&](auto height, int64_t i) {
          const int64_t place = i * width;
          tile<height()>(t, unit, first + i, before + place, after + place, cells + place + unit);
        });
      std::swap(before, after);
    }
    unpad_rows(last_cell + first * units, cells, rows, units);
  }

  template <int R>
  void tile(int64_t t, int64_t unit, int64_t b, const float* before, float* after,
            float* cells) const {
    const int64_t width = padded(units), count = units - unit;
    Vector input_forget[R][2], fresh_output[R][2];
    sum(input_forget, t, unit, b, before, 0);
    sum(fresh_output, t, unit, b, before, 2);
    for (int i = 0; i < R; ++i) {
      const Vector in = sigmoid(input_forget[i][0]), forget = sigmoid(input_forget[i][1]);
      const Vector fresh = tanh(fresh_output[i][0]), out = sigmoid(fresh_output[i][1]);
      const Vector next = forget * load(cells + i * width) + in * fresh;
      const Vector hidden = out * tanh(next);
      const int64_t place = (b + i) * time + t;
      store(cells + i * width, next);
      store(after + i * width + unit, hidden);
      store(outputs + place * units + unit, hidden, count);
      if (saved) {
        float* kept = saved + place * 5 * units + unit;
        store(kept, in, count);
        store(kept + units, forget, count);
        store(kept + 2 * units, fresh, count);
        store(kept + 3 * units, out, count);
        store(kept + 4 * units, next, count);
      }
    }
  }

  // The sums of two gates; their weights lie as (two gates, unit vector, column, gate, lane).
  template <int R>
  INLINE void sum(Vector (&sums)[R][2], int64_t t, int64_t unit, int64_t b, const float* before,
                  int64_t gate) const {
    const int64_t width = padded(units);
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < 2; ++c) sums[i][c] = load(bias + (gate + c) * width + unit);
    multiply(sums, inputs + (b * time + t) * features, time * features, 1,
             for_inputs + (gate * width + unit * 2) * features, features);
    multiply(sums, before, width, 1, for_state + (gate * width + unit * 2) * units, units);
  }
};

struct Lstm {
  static constexpr int GATES = 4, COMMON = 4;

  template <typename Pass>
  static INLINE void slopes(const Pass& pass, int64_t b, int64_t t, int64_t unit, Vector upstream,
                            float* carry, float* cell_carry, Vector (&found)[4]) {
    const int64_t units = pass.units, count = units - unit;
    const float* kept = pass.saved + (b * pass.time + t) * 5 * units + unit;
    const Vector in = load(kept, count), forget = load(kept + units, count);
    const Vector fresh = load(kept + 2 * units, count), out = load(kept + 3 * units, count);
    const Vector squashed = tanh(load(kept + 4 * units, count));
    const Vector before =
        load(t ? kept - units : pass.cell + b * units + unit, count);  // c' of the step before
    const Vector of_hidden = load(carry) + upstream;
    const Vector of_cell = load(cell_carry) + of_hidden * out * (1.0f - squashed * squashed);
    store(carry, Vector{});
    store(cell_carry, of_cell * forget);
    found[0] = of_cell * fresh * (in * (1.0f - in));
    found[1] = of_cell * before * (forget * (1.0f - forget));
    found[2] = of_cell * in * (1.0f - fresh * fresh);
    found[3] = of_hidden * squashed * (out * (1.0f - out));
  }
};

void pack(float* to, const float* weights, int64_t units, int64_t columns) {
  for (int64_t gate = 0; gate < 4; gate += 2)
    pack_gates<2>(to + gate * padded(units) * columns, weights + gate * units * columns, units,
                  columns);
}

}  // namespace

// --- What Python calls ---------------------------------------------------------------------------
//
// Inputs (batch, time, features), states (batch, units), biases (4 units) or null, outputs
// (batch, time, units); null are `saved` if no gradients are wanted, and `grad_inputs` if not
// wanted. `grad_cell` is of the last cell state.

extern "C" {

void torchseq_forward(
    int64_t batch, int64_t time, int64_t features, int64_t units, int64_t threads,
    const float* inputs, const float* state, const float* cell, const float* w_input,
    const float* w_state, const float* b_input, const float* b_state, float* outputs,
    float* last_cell, float* saved) {
  const int64_t width = padded(units);
  Buffer for_inputs(width * 4 * features), for_state(width * 4 * units), bias(4 * width);
  pack(for_inputs.get(), w_input, units, features);
  pack(for_state.get(), w_state, units, units);
  std::fill_n(bias.get(), 4 * width, 0.0f);
  if (b_input)
    for (int64_t j = 0; j < 4 * units; ++j)
      bias.get()[j / units * width + j % units] = b_input[j] + b_state[j];
  const Forward pass{{batch, time, features, units}, inputs, state, cell, for_inputs.get(),
                     for_state.get(), bias.get(), outputs, last_cell, saved};
  share(batch, threads, [&](int64_t, int64_t first, int64_t last) {
    if (first < last) pass.over_time(first, last);
  });
}

void torchseq_backward(
    int64_t batch, int64_t time, int64_t features, int64_t units, int64_t threads,
    const float* grad, const float* grad_cell, const float* saved, const float* outputs,
    const float* inputs, const float* state, const float* cell, const float* w_input,
    const float* w_state, float* grad_inputs, float* grad_state, float* grad_cell_before,
    float* grad_w_input, float* grad_w_state, float* grad_b_input, float* grad_b_state) {
  Buffer of_bias(4 * units);
  Backward<Lstm> pass{{batch, time, features, units},
                      {grad, grad_cell, saved, outputs, inputs, state, cell, w_input, w_state,
                       grad_inputs, grad_state, grad_cell_before, grad_w_input, grad_w_state}};
  pass.run(threads, of_bias.get());
  if (!grad_b_input) return;
  std::copy_n(of_bias.get(), 4 * units, grad_b_input);
  std::copy_n(of_bias.get(), 4 * units, grad_b_state);
}

}  // extern "C"
