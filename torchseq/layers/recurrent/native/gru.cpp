// The GRU over a whole sequence, by the formulas of gru_kernel.py. Stands behind passes.h.
//
// Gates come in the order r, z, n. What the forward pass saves for the backward pass is
// (batch, time, 4, units): r, z, h @ U_n + c_n, n.

namespace {

struct Forward : Sizes {
  const float *inputs, *state, *for_inputs, *for_state, *bias;  // bias: (4, padded units)
  float *outputs, *saved;

  void over_time(int64_t first, int64_t last) const {
    const int64_t rows = last - first, width = padded(units);
    Buffer memory(2 * rows * width);
    float *before = memory.get(), *after = before + rows * width;
    pad_rows(before, state + first * units, rows, units);
    for (int64_t t = 0; t < time; ++t) {
      for (int64_t unit = 0; unit < units; unit += LANES)
        in_tiles<ROWS_OF_3>(rows, [&](auto height, int64_t i) {
          tile<height()>(t, unit, first + i, before + i * width, after + i * width);
        });
      std::swap(before, after);
    }
  }

  template <int R>
  void tile(int64_t t, int64_t unit, int64_t b, const float* before, float* after) const {
    const int64_t width = padded(units), count = units - unit;
    Vector sums[R][3], of_input[R];
    for (int i = 0; i < R; ++i)
      for (int c = 0; c < 3; ++c) sums[i][c] = load(bias + c * width + unit);
    const float* x = inputs + (b * time + t) * features;
    multiply(sums, x, time * features, 1, for_inputs + unit * 3 * features, features);
    for (int i = 0; i < R; ++i) {
      of_input[i] = sums[i][2];
      sums[i][2] = load(bias + 3 * width + unit);
    }
    multiply(sums, before, width, 1, for_state + unit * 3 * units, units);
    for (int i = 0; i < R; ++i) {
      const Vector reset = sigmoid(sums[i][0]), update = sigmoid(sums[i][1]), hidden = sums[i][2];
      const Vector fresh = tanh(of_input[i] + reset * hidden);
      const Vector next = fresh + update * (load(before + i * width + unit) - fresh);
      const int64_t place = (b + i) * time + t;
      store(after + i * width + unit, next);
      store(outputs + place * units + unit, next, count);
      if (saved) {
        float* kept = saved + place * 4 * units + unit;
        store(kept, reset, count);
        store(kept + units, update, count);
        store(kept + 2 * units, hidden, count);
        store(kept + 3 * units, fresh, count);
      }
    }
  }
};

struct Gru {
  static constexpr int GATES = 3, COMMON = 2;

  // Slopes: r, z, h @ U_n + c_n, n.
  template <typename Pass>
  static INLINE void slopes(const Pass& pass, int64_t b, int64_t t, int64_t unit, Vector upstream,
                            float* carry, float*, Vector (&found)[4]) {
    const int64_t units = pass.units, count = units - unit;
    const float* kept = pass.saved + (b * pass.time + t) * 4 * units + unit;
    const Vector reset = load(kept, count), update = load(kept + units, count);
    const Vector hidden = load(kept + 2 * units, count), fresh = load(kept + 3 * units, count);
    const Vector before = load(pass.state_before(b, t) + unit, count);
    const Vector of_after = load(carry) + upstream;
    store(carry, of_after * update);
    found[3] = of_after * (1.0f - update) * (1.0f - fresh * fresh);
    found[2] = found[3] * reset;
    found[1] = of_after * (before - fresh) * (update * (1.0f - update));
    found[0] = found[3] * hidden * (reset * (1.0f - reset));
  }
};

}  // namespace

// --- What Python calls ---------------------------------------------------------------------------
//
// Inputs (batch, time, features), states (batch, units), biases (3 units) or null, outputs
// (batch, time, units); null are what an LSTM has besides, `saved` if no gradients are wanted, and
// `grad_inputs` if not wanted.

extern "C" {

void torchseq_forward(
    int64_t batch, int64_t time, int64_t features, int64_t units, int64_t threads,
    const float* inputs, const float* state, const float*, const float* w_input,
    const float* w_state, const float* b_input, const float* b_state, float* outputs, float*,
    float* saved) {
  const int64_t width = padded(units);
  Buffer for_inputs(width * 3 * features), for_state(width * 3 * units), bias(4 * width);
  pack_gates<3>(for_inputs.get(), w_input, units, features);
  pack_gates<3>(for_state.get(), w_state, units, units);
  std::fill_n(bias.get(), 4 * width, 0.0f);
  if (b_input)
    for (int64_t j = 0; j < units; ++j) {
      float* to = bias.get() + j;
      to[0] = b_input[j] + b_state[j];
      to[width] = b_input[units + j] + b_state[units + j];
      to[2 * width] = b_input[2 * units + j];
      to[3 * width] = b_state[2 * units + j];
    }
  const Forward pass{{batch, time, features, units}, inputs, state, for_inputs.get(),
                     for_state.get(), bias.get(), outputs, saved};
  share(batch, threads, [&](int64_t, int64_t first, int64_t last) {
    if (first < last) pass.over_time(first, last);
  });
}

void torchseq_backward(
    int64_t batch, int64_t time, int64_t features, int64_t units, int64_t threads,
    const float* grad, const float*, const float* saved, const float* outputs, const float* inputs,
    const float* state, const float*, const float* w_input, const float* w_state,
    float* grad_inputs, float* grad_state, float*, float* grad_w_input, float* grad_w_state,
    float* grad_b_input, float* grad_b_state) {
  Buffer of_bias(4 * units);
  Backward<Gru> pass{{batch, time, features, units},
                     {grad, nullptr, saved, outputs, inputs, state, nullptr, w_input, w_state,
                      grad_inputs, grad_state, nullptr, grad_w_input, grad_w_state}};
  pass.run(threads, of_bias.get());
  if (!grad_b_input) return;
  std::copy_n(of_bias.get(), 2 * units, grad_b_input);
  std::copy_n(of_bias.get() + 3 * units, units, grad_b_input + 2 * units);
  std::copy_n(of_bias.get(), 3 * units, grad_b_state);
}

}  // extern "C"
