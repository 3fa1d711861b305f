// What shoal_torch/__init__.py and start.py call.
#include <torch/csrc/utils/pybind.h>

#include <cstdint>
#include <string>
#include <utility>

#include <shoal/collectives/broadcast.hpp>
#include <shoal/runtime/heap.hpp>

#include "allocator.hpp"
#include "backend.hpp"

PYBIND11_MODULE(_C, m) {
  namespace backend = shoal::torch_backend;
  using backend::Session;
  m.doc() = "Shoal as a backend of torch.distributed; see shoal_torch.";
  m.def("start", [] { Session::get(); }, "Joins the run. Collective over its ranks.",
        pybind11::call_guard<pybind11::gil_scoped_release>());
  m.def("alive", &Session::alive, "True between start() and leave().");
  m.def("world_rank", [] { return Session::get().world().rank(); });
  m.def("world_size", [] { return Session::get().world().size(); });
  m.def("on_one_node", [] { return Session::get().world().on_one_node(); });
  m.def(
      "from_rank_0",
      [](std::string text) {
        return shoal::broadcast_text(Session::get().world(), std::move(text));
      },
      "The text that rank 0 passes. Collective over the run.",
      pybind11::call_guard<pybind11::gil_scoped_release>());
  m.def("share_tensors", &backend::share_tensors, "See shoal_torch.share_tensors.",
        pybind11::arg("at_least"));
  m.def("leave", &Session::leave, "The process ends; in_order: after what it has begun.",
        pybind11::arg("in_order"), pybind11::call_guard<pybind11::gil_scoped_release>());
  m.def(
      "make_group",
      [](std::vector<int> world_ranks, std::string name,
         double timeout) -> c10::intrusive_ptr<backend::Base> {
        backend::keep_book_of_tensors();
        shoal::keep_freed_pages();  // the gradients of a step then lie where the last one's lay
        return c10::make_intrusive<backend::ProcessGroupShoal>(std::make_shared<backend::Lane>(
            std::move(world_ranks), std::move(name),
            backend::Milliseconds(static_cast<std::int64_t>(timeout * 1000))));
      },
      "A process group of these ranks of the run. Collective over them.",
      pybind11::arg("world_ranks"), pybind11::arg("name"), pybind11::arg("timeout"),
      pybind11::call_guard<pybind11::gil_scoped_release>());
}
