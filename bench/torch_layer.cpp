#include "torch_layer.hpp"

#include <cstdlib>

#include <fmt/format.h>
#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal/runtime/log.hpp>
#include <shoal/runtime/wait.hpp>

#include "collectives/child.hpp"
#include "peer_sources.hpp"
#include "report.hpp"

namespace shoal::bench {
namespace {

// The others wait for rank 0 while it runs.
Seconds torch_patience() { return 0.8 * wait_timeout(); }

}  // namespace

TorchLayer::TorchLayer(const Communicator& world, const OneProcess& one, const std::string& peer)
    : world_(world), one_(one) {
  if (peer != "auto" && peer != "torch" && peer != "none") {
    throw UsageError("--peers", "there is no peer '" + peer + "'", "choose of torch, auto, none");
  }
  if (peer == "none") return;
  std::string why_not;
  if (world.rank() == 0) {
    for (const char* candidate : {"python3", "/usr/bin/python3"}) {
      const ChildResult asked = run_child({candidate, "-c", "import torch\nprint(torch.__version__)"},
                                          torch_patience(), true);
      if (asked.good) {
        python_ = candidate;
        version_ = asked.output.substr(0, asked.output.find('\n'));
        break;
      }
      why_not = asked.problem;
    }
  }
  version_ = broadcast_text(world, version_);
  if (!version_.empty()) return;
  why_not = broadcast_text(world, why_not);
  if (peer == "torch") throw UsageError("--peers torch", why_not);
  log::info("bench: no torch to compare with: " + why_not);
}

std::optional<double> TorchLayer::seconds(const LayerShape& shape, double budget) const {
  if (version_.empty()) return std::nullopt;
  double seconds = 0;
  one_.run([&] {
    const ChildResult result = run_child(
        {python_, "-c", layer_peer_source, std::to_string(shape.width), std::to_string(shape.heads),
         std::to_string(shape.batch), std::to_string(shape.sequence), shape.type,
         std::to_string(one_.threads()), fmt::format("{}", budget)},
        torch_patience(), true);
    if (result.good) {
      seconds = std::strtod(result.output.c_str(), nullptr);
    } else {
      log::warning("bench: PyTorch: " + result.problem);
    }
  });
  broadcast(world_, &seconds, 1, DType::f64, 0);
  if (seconds <= 0) return std::nullopt;
  return seconds;
}

}  // namespace shoal::bench
