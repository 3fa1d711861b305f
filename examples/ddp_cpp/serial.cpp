// A training loop as one writes it by hand: a network of one hidden layer learns z = sin(x + y).
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

namespace {

constexpr int hidden = 64;
constexpr int batch = 96;

// One array holds all parameters: of each hidden unit two weights and a bias, then the output's weights.
struct Network {
  std::vector<float> values = std::vector<float>(4 * hidden);
  std::vector<float> gradients = std::vector<float>(4 * hidden);

  Network() {
    std::mt19937 numbers(1);
    std::normal_distribution<float> normal;
    for (float& value : values) value = 0.3f * normal(numbers);
  }

  // The loss of one sample; adds what it contributes to the gradients.
  float learn(float x, float y, float z) {
    float units[hidden];
    float out = 0;
    for (int h = 0; h < hidden; ++h) {
      const float* p = &values[4 * h];
      units[h] = std::tanh(p[0] * x + p[1] * y + p[2]);
      out += p[3] * units[h];
    }
    const float error = out - z;
    for (int h = 0; h < hidden; ++h) {
      float* g = &gradients[4 * h];
      const float back = error * values[4 * h + 3] * (1 - units[h] * units[h]);
      g[0] += back * x, g[1] += back * y, g[2] += back, g[3] += error * units[h];
    }
    return error * error / 2;
  }
};

int train() {
  Network network;
  std::mt19937 numbers(7);
  std::uniform_real_distribution<float> uniform(-2, 2);
  for (int step = 0; step <= 200; ++step) {
    float loss = 0;
    network.gradients.assign(network.gradients.size(), 0);
    for (int sample = 0; sample < batch; ++sample) {
      const float x = uniform(numbers);
      const float y = uniform(numbers);
      loss += network.learn(x, y, std::sin(x + y));
    }
    for (std::size_t i = 0; i < network.values.size(); ++i) {
      network.values[i] -= 0.05f * network.gradients[i] / batch;
    }
    if (step % 50 == 0) std::printf("step %3d: loss %.4f\n", step, loss / batch);
  }
  return 0;
}

}  // namespace

int main() { return train(); }
