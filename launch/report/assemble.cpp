#include "report/assemble.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>

namespace shoal::launch::report {
namespace {

// What is known by its name begins with it: "collectives", "train-2", "lab-all-reduce".
bool is_kind(const Run& run, const std::string& kind) {
  return run.id == kind || run.id.starts_with(kind + '-');
}

constexpr const char* kinds[] = {"collectives", "lab",        "kernels", "matmul", "train", "predict",
                                 "checkpoint",  "plan-check", "layer",   "equal"};

// Reads one run's file; on failure the run says why.
template <class Read>
auto file_of(const std::string& folder, Run& run, Read read)
    -> std::optional<decltype(read(std::string()))> {
  if (run.state != Run::State::done) return std::nullopt;
  try {
    return read(folder + '/' + run.id + ".json");
  } catch (const Error& error) {
    run.state = Run::State::failed;
    run.problem = error.message();
    return std::nullopt;
  }
}

void append(Findings& to, Findings from) {
  std::move(from.charts.begin(), from.charts.end(), std::back_inserter(to.charts));
  std::move(from.headlines.begin(), from.headlines.end(), std::back_inserter(to.headlines));
  std::move(from.gaps.begin(), from.gaps.end(), std::back_inserter(to.gaps));
}

void add_facts(Page& page, const BenchFile& file) {
  const MachineFacts& machine = file.machine;
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) page.facts.emplace_back(name, value);
  };
  add("Processor", machine.processor);
  if (machine.cores > 0) {
    add("Cores", std::to_string(machine.cores));
  }
  if (machine.memory_bytes > 0) add("Memory", text_with_unit(machine.memory_bytes, Unit::bytes));
  if (machine.l3_bytes > 0) {
    add("Caches", fmt::format("L2 {}, L3 {}", text_with_unit(machine.l2_bytes, Unit::bytes),
                              text_with_unit(machine.l3_bytes, Unit::bytes)));
  }
  add("Instructions", machine.features);
  const auto version = [&](const char* name) {
    const auto found = file.versions.find(name);
    return found == file.versions.end() ? std::string() : found->second;
  };
  add("MPI", version("mpi"));
  std::string products;
  for (const char* type : {"fp32", "bf16", "int8"}) {
    const std::string by = version((std::string("gemm_") + type).c_str());
    if (!by.empty()) products += fmt::format("{}{} by {}", products.empty() ? "" : ", ", type, by);
  }
  add("Products", products);
  add("Shoal", fmt::format("{} ({}, {})", version("shoal"), file.revision, version("build")));
  add("Compiler", version("compiler"));
}

}  // namespace

Manifest manifest_of_files(const std::string& folder) {
  Manifest manifest;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    Run run;
    run.id = entry.path().stem().string();
    run.state = Run::State::done;
    const bool ours = std::any_of(std::begin(kinds), std::end(kinds),
                                  [&](const char* kind) { return is_kind(run, kind); });
    const bool named = run.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789-") ==
                       std::string::npos;
    if (entry.path().extension() == ".json" && ours && named) manifest.runs.push_back(run);
  }
  std::sort(manifest.runs.begin(), manifest.runs.end(),
            [](const Run& a, const Run& b) { return a.id < b.id; });
  return manifest;
}

Page assemble(const std::string& folder, Manifest manifest) {
  Page page;
  std::optional<BenchFile> first;
  const auto remember = [&](const BenchFile& file) {
    if (!first) first = file;
  };
  Section collectives{"collectives", "Collectives",
                      "What ranks do together, against the bound and against other libraries.", {}};
  Section products{"products", "Matrix products",
                   "In one process against the peak, and divided over the ranks.", {}};
  Section training{"training", "Training",
                   "GPT on 1, 2, … ranks, with what the planner expects.", {}};
  Section layers{"layers", "Layers",
                 "A transformer block divided over the ranks, forward and backward.", {}};
  Section checks{"planner", "The planner against this machine",
                 "Collectives, products, layers and training steps, predicted and measured.", {}};
  Section equals{"equal", "How many equal a device",
                 "Nodes that together do what one device does, by the planner.", {}};
  Section lab{"lab", "Between hosts",
              "A lab of hosts on this machine, whose links the kernel limits.", {}};
  Section machines{"cloudmatrix", "CloudMatrix 384 against GB200 NVL72",
                   "A cluster of weaker chips against one of stronger ones.", {}};
  std::vector<TrainingRun> trained;
  Findings checkpoint;
  std::optional<PredictionFile> predictions;
  std::string predictions_id;
  for (Run& run : manifest.runs) {
    if (is_kind(run, "collectives") || is_kind(run, "lab")) {
      const bool in_lab = is_kind(run, "lab");
      if (const auto file = file_of(folder, run, read_bench)) {
        if (!in_lab) remember(*file);
        append((in_lab ? lab : collectives).findings, collectives_findings(*file, run.id, in_lab));
      }
    } else if (is_kind(run, "kernels")) {
      if (const auto file = file_of(folder, run, read_bench)) {
        remember(*file);
        append(products.findings, kernels_findings(*file, run.id));
      }
    } else if (is_kind(run, "matmul")) {
      if (const auto file = file_of(folder, run, read_bench)) {
        remember(*file);
        append(products.findings, matmul_findings(*file, run.id));
      }
    } else if (is_kind(run, "layer")) {
      if (const auto file = file_of(folder, run, read_bench)) {
        remember(*file);
        append(layers.findings, layer_findings(*file, run.id));
      }
    } else if (is_kind(run, "plan-check")) {
      if (const auto file = file_of(folder, run, read_check)) {
        append(checks.findings, check_findings(*file, run.id));
      }
    } else if (is_kind(run, "train")) {
      if (auto file = file_of(folder, run, read_bench)) {
        remember(*file);
        trained.push_back({run.id, std::move(*file)});
      }
    } else if (is_kind(run, "predict")) {
      predictions = file_of(folder, run, read_predictions);
      predictions_id = run.id;
    } else if (is_kind(run, "checkpoint")) {
      if (const auto file = file_of(folder, run, read_bench)) {
        checkpoint = checkpoint_findings(*file, run.id);
      }
    } else if (is_kind(run, "equal-cloudmatrix")) {
      if (const auto file = file_of(folder, run, read_equal)) {
        append(machines.findings, comparison_findings(*file, run.id));
      }
    } else if (is_kind(run, "equal")) {
      if (const auto file = file_of(folder, run, read_equal)) {
        const bool here = file->cluster == "this-machine";
        append(equals.findings,
               equal_findings(*file, run.id, here ? "machines like this" : file->node + " nodes"));
      }
    }
  }
  if (!trained.empty()) {
    append(training.findings, training_findings(trained, predictions, predictions_id));
  }
  append(training.findings, std::move(checkpoint));
  for (Section* section :
       {&collectives, &products, &layers, &training, &checks, &lab, &equals, &machines}) {
    if (!section->findings.charts.empty() || !section->findings.gaps.empty()) {
      page.sections.push_back(std::move(*section));
    }
  }
  page.title = "Shoal, measured";
  if (first) {
    add_facts(page, *first);
    page.title = fmt::format("Shoal on {} core{} of {}", first->machine.cores,
                             first->machine.cores == 1 ? "" : "s",
                             first->machine.processor.empty() ? "an unknown processor"
                                                              : first->machine.processor);
  }
  page.date = manifest.date;
  page.runs = std::move(manifest.runs);
  return page;
}

std::string write_page(const std::string& folder, Page page) {
  std::vector<Chart> charts;
  for (const Section& section : page.sections) {
    charts.insert(charts.end(), section.findings.charts.begin(), section.findings.charts.end());
  }
  std::vector<Drawing> drawings;
  try {
    drawings = draw(charts);
  } catch (const Error& error) {
    page.undrawn = error.message() + ".";
  }
  const std::string path = folder + "/report.html", part = path + ".part";
  std::ofstream out(part, std::ios::binary);
  out << page_html(page, drawings);
  out.close();
  if (!out || std::rename(part.c_str(), path.c_str()) != 0) {
    throw Error("report", path + " cannot be written", "is the disk full?");
  }
  return page.undrawn;
}

}  // namespace shoal::launch::report
