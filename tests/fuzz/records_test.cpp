// Damaged files in which a run is recorded: what the lab knows of its hosts, and what a report is drawn from.
#include <cmath>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "fuzz.hpp"
#include "lab/state.hpp"
#include "report/assemble.hpp"
#include "report/results.hpp"

namespace shoal {
namespace {

namespace report = launch::report;
using testing::Fuzz;
using testing::Mutator;
using Json = nlohmann::ordered_json;

// What a file says is damaged more often than that it is JSON.
std::string damage_record(Mutator& mutator, const std::string& input, const std::string& other) {
  if (mutator.below(4) == 0) return mutator.damaged(input, other);
  return mutator.damaged(Json::parse(input), Json::parse(other)).dump(1);
}

// What is taken can be written down and read again, and names no process and no subnet that cannot be.
TEST_F(Fuzz, LabFiles) {
  namespace lab = launch::lab;
  lab::Lab small;
  small.name = "a";
  small.network_switch = {77, "1234"};
  small.hosts.resize(2);
  small.hosts[0].holder = {78, "1235"};
  small.hosts[1].holder = {79, "1236"};
  small.hosts[1].spec.cpu = 0.25;
  small.hosts[1].spec.link = 1000000000;
  small.hosts[1].spec.memory = Bytes{1} << 30;
  small.hosts[1].spec.latency = Seconds(1e-4);
  lab::Lab other = small;
  other.name = "lab-2";
  other.subnet = 255;
  other.hosts.resize(1);
  run(
      {lab::lab_text(small), lab::lab_text(other)},
      [](const std::string& input) {
        const lab::Lab read = lab::parse_lab(input, "fuzz");
        EXPECT_FALSE(read.hosts.empty());
        EXPECT_TRUE(read.subnet >= 0 && read.subnet < 256) << read.subnet;
        EXPECT_EQ(read.name.find('/'), std::string::npos) << read.name;
        EXPECT_GE(read.network_switch.pid, 0);
        for (const lab::Host& host : read.hosts) {
          EXPECT_GE(host.holder.pid, 0);
          EXPECT_TRUE(!host.spec.cpu || (std::isfinite(*host.spec.cpu) && *host.spec.cpu > 0));
          EXPECT_TRUE(std::isfinite(host.spec.latency.count()) && host.spec.latency.count() >= 0);
        }
        const std::string text = lab::lab_text(read);
        EXPECT_EQ(lab::lab_text(lab::parse_lab(text, "fuzz")), text);
      },
      damage_record);
}

const char* const bench_file = R"({"machine": {"host": "h", "processor": "p", "cores": 2,
 "memory_bytes": 1e9}, "versions": {"mpi": "4"}, "date": "2026", "ranks": 2, "results": [
 {"op": "all_reduce", "shape": "8x8x8", "algorithm": "node_shared", "median_us": 1.5, "peer": "mpi",
  "peer_us": 3, "bound_us": 1, "bytes": 1024, "dtype": "f32"},
 {"op": "gemm", "shape": "8x8x8", "algorithm": "onednn", "median_us": 2, "gflops": 10}]})";
const char* const check_file = R"({"profile": "p", "rows": [{"kind": "step", "what": "nano", "fitted": false,
 "measured_seconds": 0.1, "predicted_seconds": 0.2}], "choices": [{"model": "nano", "planned": "dp=2",
 "planned_seconds": 1, "quickest": "tp=2", "quickest_seconds": 1}]})";
const char* const equal_file = R"({"device": "d", "node": "n", "model": "m", "device_units": 72, "nodes": 9,
 "measures": [{"measure": "decode", "type": "bf16", "unit": "tokens/s", "device": 1, "nodes": 2,
 "needed": 4, "because": "memory", "curve": [{"nodes": 1, "tokens_per_second": 3}]}],
 "figures": {"d": {"peak": {"value": 1, "source": "s", "confidence": "A"}}}})";
const char* const prediction_file = R"({"cluster": "c", "predictions": [{"model": "m", "type": "fp32",
 "layout": "dp=2", "ranks": 2, "nodes": 1, "tokens_per_second": 10}]})";
const char* const manifest_file = R"({"date": "d", "version": "v", "runs": [
 {"id": "collectives", "title": "t", "command": "c", "state": "done", "seconds": 3},
 {"id": "train", "title": "t", "command": "c", "state": "failed", "problem": "it ended"}]})";

TEST_F(Fuzz, ReportFiles) {
  const std::string path = (folder_ / "record.json").string();
  const auto reads = [&](const char* like, const std::function<void()>& read) {
    run(
        {like},
        [&](const std::string& input) {
          testing::write(path, input);
          read();
        },
        damage_record);
  };
  reads(bench_file, [&] {
    const report::BenchFile file = report::read_bench(path);
    EXPECT_GE(file.ranks, 1);
    for (const report::BenchRow& row : file.rows) EXPECT_TRUE(row.seconds > 0) << row.seconds;
  });
  reads(check_file, [&] {
    for (const report::CheckRow& row : report::read_check(path).rows) {
      EXPECT_TRUE(std::isfinite(row.predicted / row.measured)) << row.what;
    }
  });
  reads(equal_file, [&] { EXPECT_FALSE(report::read_equal(path).measures.empty()); });
  reads(prediction_file, [&] { EXPECT_FALSE(report::read_predictions(path).points.empty()); });
  reads(manifest_file, [&] {
    for (const report::Run& each : report::read_manifest(path).runs) {
      EXPECT_EQ(each.id.find_first_of("/."), std::string::npos) << each.id;
    }
  });
}

// Any such files in a folder make a page, or a line that says which of them is wrong.
TEST_F(Fuzz, ReportPages) {
  const std::string manifest = R"({"date": "d", "version": "v", "runs": [
    {"id": "collectives", "title": "t", "command": "c", "state": "done"},
    {"id": "plan-check", "title": "t", "command": "c", "state": "done"}]})";
  testing::write(folder_ / "report.json", manifest);
  const report::Manifest runs = report::read_manifest((folder_ / "report.json").string());
  run(
      {bench_file, check_file},
      [&](const std::string& input) {
        testing::write(folder_ / "collectives.json", input);
        testing::write(folder_ / "plan-check.json", input);
        EXPECT_EQ(report::assemble(folder_.string(), runs).runs.size(), runs.runs.size());
      },
      damage_record);
}

}  // namespace
}  // namespace shoal
