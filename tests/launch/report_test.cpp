// From results to a page: what it says, what it draws, and what becomes of results that are wrong.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <shoal/runtime/error.hpp>
#include <support/random.hpp>

#include "process.hpp"
#include "report/assemble.hpp"
#include "report/gnuplot.hpp"
#include "report/measure.hpp"
#include "report/svg.hpp"
#include "report/ticks.hpp"

namespace shoal::launch::report {
namespace {

namespace fs = std::filesystem;

// A folder of its own, the working directory meanwhile.
class Folder {
 public:
  Folder() : before_(fs::current_path()) {
    std::string pattern = (fs::temp_directory_path() / "report-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw Error("test", "no folder");
    path_ = pattern;
    fs::current_path(path_);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    fs::current_path(before_);
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(path_ / name, std::ios::binary) << text;
  }
  static std::string read(const std::string& name) {
    std::ifstream in(name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  fs::path path_, before_;
};

std::string bench_json(const std::string& rows, int ranks = 2) {
  return fmt::format(
      R"json({{"machine": {{"processor": "Pocket 1", "cores": 2, "memory_bytes": 8589934592}},
          "versions": {{"shoal": "1"}}, "ranks": {}, "results": [{}]}})json",
      ranks, rows);
}

std::string all_reduce_row(double bytes, double us, double peer_us, double bound_us) {
  return fmt::format(R"json({{"op": "all_reduce", "bytes": {}, "algorithm": "auto", "median_us": {},
      "peer": "MPI (Open MPI v4.1.4, MPI 3.1)", "peer_us": {}, "bound_us": {}, "dtype": "f32"}})json",
                     bytes, us, peer_us, bound_us);
}

std::string product_row(double n, double gflops, double peak) {
  const double us = 2 * n * n * n / gflops * 1e-3;
  return fmt::format(R"json({{"op": "gemm", "shape": "{0}x{0}x{0}", "algorithm": "shoal fp32",
      "median_us": {1}, "peer": "OpenBLAS sgemm", "peer_us": {1}, "bound_us": {2}, "gflops": {3},
      "peak_gflops": {4}, "threads": 2, "dtype": "fp32"}})json",
                     n, us, us * gflops / peak, gflops, peak);
}

std::string train_row(double tokens_per_s) {
  return fmt::format(R"json({{"op": "train", "shape": "nano", "algorithm": "dp=1,tp=1", "median_us": {},
      "tokens_per_s": {}, "dtype": "fp32"}})json",
                     768e6 / tokens_per_s, tokens_per_s);
}

std::string layer_row(double us, double bound_us) {
  return fmt::format(R"json({{"op": "layer", "shape": "width 256", "algorithm": "tp=2, whole", "median_us": {},
      "bound_us": {}, "e": 0.9, "communication_us": 10, "dtype": "fp32"}})json",
                     us, bound_us);
}

// Off by 10, 20 and 50 %; the plan takes a mesh that is 4 % slower than the quickest.
const char* check_text = R"json({"profile": "a test", "rows": [
  {"kind": "collective", "what": "all_reduce", "fitted": true, "measured_seconds": 1e-6, "predicted_seconds": 1.1e-6},
  {"kind": "product", "what": "A B", "fitted": false, "measured_seconds": 1e-3, "predicted_seconds": 0.8e-3},
  {"kind": "step", "what": "nano", "fitted": false, "measured_seconds": 1e-2, "predicted_seconds": 1.5e-2}],
  "choices": [{"model": "nano", "planned": "dp=2", "planned_seconds": 1.04, "quickest": "tp=2", "quickest_seconds": 1}]})json";

const char* equal_text = R"json({"device": "big", "device_units": 1, "node": "small", "nodes": 8,
  "model": "m", "device_watts": 100, "nodes_watts": 400,
  "figures": {"big": {"memory_bytes": {"value": 8e10, "confidence": "A", "source": "datasheet"}}},
  "measures": [
    {"measure": "memory", "type": "", "unit": "B", "device": 100, "nodes": 200, "needed": 4},
    {"measure": "decode", "type": "bf16", "unit": "tokens/s", "device": 10, "nodes": 5, "needed": null,
     "stops_helping_at": 4, "because": "exchanges",
     "curve": [{"nodes": 1, "tokens_per_second": 0}, {"nodes": 2, "tokens_per_second": 3},
               {"nodes": 4, "tokens_per_second": 4}, {"nodes": 8, "tokens_per_second": 4.2}]}]})json";

Run done(const std::string& id) {
  Run run;
  run.id = id;
  run.state = Run::State::done;
  return run;
}

// Everything a report can have.
Manifest whole_report(const Folder& folder) {
  folder.write("collectives.json",
               bench_json(all_reduce_row(64, 1, 4, 0.5) + "," + all_reduce_row(4096, 2, 6, 1) + "," +
                          all_reduce_row(1048576, 100, 200, 80)));
  folder.write("kernels.json", bench_json(product_row(64, 50, 100) + "," + product_row(256, 90, 100), 1));
  folder.write("train-1.json", bench_json(train_row(1000), 1));
  folder.write("train-2.json", bench_json(train_row(1900), 2));
  folder.write("layer.json", bench_json(layer_row(2000, 1500), 2));
  folder.write("plan-check.json", check_text);
  folder.write("equal-machine.json", equal_text);
  folder.write("equal-cloudmatrix.json", equal_text);
  Manifest manifest;
  for (const char* id : {"collectives", "kernels", "layer", "train-1", "train-2", "plan-check",
                         "equal-machine", "equal-cloudmatrix"}) {
    manifest.runs.push_back(done(id));
  }
  return manifest;
}

std::vector<Chart> charts_of(const Page& page) {
  std::vector<Chart> charts;
  for (const Section& section : page.sections) {
    charts.insert(charts.end(), section.findings.charts.begin(), section.findings.charts.end());
  }
  return charts;
}

const Chart& chart_called(const std::vector<Chart>& charts, const std::string& id) {
  for (const Chart& chart : charts) {
    if (chart.id == id) return chart;
  }
  throw Error("test", "there is no chart " + id);
}

std::size_t count_of(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

bool gnuplot_is_there() { return capture({"gnuplot", "--version"}, std::chrono::seconds(20)).status == 0; }

TEST(Report, SaysWhatTheNumbersSay) {
  const Folder folder;
  const Page page = assemble(".", whole_report(folder));
  const std::vector<Chart> charts = charts_of(page);
  EXPECT_NE(chart_called(charts, "collectives-time").finding.find("1.25 times the bound"),
            std::string::npos);
  // Ratios 4, 3 and 2.
  EXPECT_EQ(chart_called(charts, "collectives-ratio").finding,
            "Open MPI’s all-reduce takes 2 to 4 times as long as Shoal’s, 3 in the median");
  EXPECT_NE(chart_called(charts, "kernels-squares").finding.find("256 cubed reaches 90\u00a0%"),
            std::string::npos);
  EXPECT_NE(chart_called(charts, "train-nano").finding.find("on 2 ranks at 1.9 times"),
            std::string::npos);
  const Chart& equal = chart_called(charts, "equal-machine-nodes");
  EXPECT_NE(equal.finding.find("4 small nodes equal one big in memory"), std::string::npos);
  EXPECT_NE(equal.finding.find("no number does in decode, bf16"), std::string::npos);
  // The number of nodes that the model does not fit on is no point.
  EXPECT_EQ(chart_called(charts, "equal-machine-curve").point_count(), 3U);
  EXPECT_NE(chart_called(charts, "equal-cloudmatrix-ratios").finding.find("4 times the power"),
            std::string::npos);
  EXPECT_NE(chart_called(charts, "layer").finding.find("75\u00a0% of the bound"), std::string::npos);
  const Chart& check = chart_called(charts, "plan-check");
  EXPECT_EQ(check.finding,
            "The planner is off by 20.0 % in the median of 3 configurations, 50 % at worst");
  EXPECT_NE(check.caption.find("4.0 % slower"), std::string::npos) << check.caption;
  EXPECT_EQ(page.title, "Shoal on 2 cores of Pocket 1");
}

TEST(Report, TellsWhatIsWrongOrMissing) {
  struct Case {
    const char *content, *problem;
  };
  const std::string good = bench_json(all_reduce_row(64, 1, 4, 0.5));
  const std::string negative = bench_json(all_reduce_row(64, -1, 4, 0.5));
  const std::string nothing = bench_json("");
  const std::string half = good.substr(0, good.size() / 2);
  const std::array<Case, 8> cases = {{{"", "not JSON"},
                                      {half.c_str(), "not JSON"},
                                      {"[]", "\"machine\" is missing"},
                                      {"{\"machine\": {}}", "\"versions\" is missing"},
                                      {negative.c_str(), "results[0].median_us: -1 is not positive"},
                                      {nothing.c_str(), "no results"},
                                      {"{\"machine\": 1, \"versions\": {}}", "\"ranks\" is missing"},
                                      {"{\"machine\": {\"cores\": \"two\"}}", "cores: it is no number"}}};
  for (const Case& each : cases) {
    const Folder folder;
    folder.write("collectives.json", each.content);
    folder.write("kernels.json", bench_json(product_row(64, 50, 100), 1));
    Manifest manifest;
    manifest.runs = {done("collectives"), done("kernels"), done("matmul")};
    const Page page = assemble(".", manifest);
    EXPECT_EQ(page.runs[0].state, Run::State::failed) << each.content;
    EXPECT_NE(page.runs[0].problem.find(each.problem), std::string::npos) << page.runs[0].problem;
    EXPECT_EQ(page.runs[1].state, Run::State::done);
    EXPECT_NE(page.runs[2].problem.find("there is no such file"), std::string::npos);
    // The reasons are in the page, and what is whole is shown all the same.
    const std::string html = page_html(page, {});
    EXPECT_NE(html.find(escaped_text(page.runs[0].problem)), std::string::npos);
    EXPECT_NE(html.find("kernels-squares"), std::string::npos);
  }
}

// Whatever bytes a file holds, it is read or refused.
TEST(Report, SurvivesDamagedFiles) {
  const Folder folder;
  whole_report(folder);
  std::mt19937_64 random = testing::generator();
  const std::string alphabet = "\"{}[]:,-19.e\\x\xff";
  for (int i = 0; i < 600; ++i) {
    for (const char* name : {"collectives", "equal-machine"}) {
      std::string text = Folder::read(std::string(name) + ".json");
      for (auto changes = 1 + random() % 4; changes > 0; --changes) {
        text[random() % text.size()] = alphabet[random() % alphabet.size()];
      }
      folder.write(std::string(name) + "-damaged.json", text);
      Manifest manifest;
      manifest.runs = {done(std::string(name) + "-damaged")};
      const Page page = assemble(".", manifest);
      if (page.runs[0].state == Run::State::failed) {
        EXPECT_FALSE(page.runs[0].problem.empty());
      }
      page_html(page, {});
    }
  }
}

TEST(Report, LetsNoTextOfAFileBecomeMarkup) {
  const Folder folder;
  const std::string nasty = "<script>alert(1)</script><img src=http://example.invalid/x>";
  std::string text = bench_json(all_reduce_row(64, 1, 4, 0.5));
  text.replace(text.find("Pocket 1"), 8, nasty);
  text.replace(text.find("Open MPI"), 8, nasty);
  folder.write("collectives.json", text);
  Manifest manifest;
  manifest.date = nasty;
  manifest.runs = {done("collectives")};
  manifest.runs[0].command = nasty;
  const std::string html = page_html(assemble(".", manifest), {});
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("<img"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;"), std::string::npos);
  for (const char* loads : {"src=", "url(", "@import", "<iframe", "<object", "href=\"http"}) {
    std::string markup = html;
    // What is left of the nasty text is text.
    for (auto at = markup.find("src=http://example"); at != std::string::npos;
         at = markup.find("src=http://example")) {
      markup.erase(at, 4);
    }
    EXPECT_EQ(markup.find(loads), std::string::npos) << loads;
  }
}

TEST(Report, RefusesIdsThatLeaveTheFolder) {
  const Folder folder;
  folder.write("report.json", R"json({"runs": [{"id": "../x", "state": "done"}]})json");
  EXPECT_THROW(read_manifest("report.json"), Error);
  Manifest manifest = whole_report(folder);
  manifest.runs[0].problem = "line\nand \"quotes\"";
  manifest.runs[0].state = Run::State::failed;
  write_manifest("report.json", manifest);
  const Manifest again = read_manifest("report.json");
  ASSERT_EQ(again.runs.size(), manifest.runs.size());
  EXPECT_EQ(again.runs[0].problem, manifest.runs[0].problem);
  EXPECT_EQ(again.runs[0].state, Run::State::failed);
  EXPECT_EQ(manifest_of_files(".").runs.size(), 8U);
}

// Every point is painted once in each drawing, within its frame, and nothing in it has a name that
// another drawing could have.
TEST(Report, DrawsEveryPointWithinItsFrame) {
  if (!gnuplot_is_there()) GTEST_SKIP() << "gnuplot is not installed";
  const Folder folder;
  const std::vector<Chart> charts = charts_of(assemble(".", whole_report(folder)));
  ASSERT_GE(charts.size(), 6U);
  const std::vector<Drawing> drawings = draw(charts);
  ASSERT_EQ(drawings.size(), charts.size());
  for (std::size_t i = 0; i < charts.size(); ++i) {
    std::size_t dots = charts[i].bars.size();
    for (const Curve& curve : charts[i].curves) {
      if (curve.has_dots()) dots += curve.points.size();
    }
    for (const std::string& svg : {drawings[i].wide, drawings[i].narrow}) {
      EXPECT_EQ(count_of(svg, "<circle ") + count_of(svg, "<polygon "), dots) << charts[i].id;
      EXPECT_EQ(svg.find(" id="), std::string::npos);
      EXPECT_EQ(svg.find("rgb("), std::string::npos);
      double width = 0, height = 0;
      ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("viewBox"), "viewBox=\"0 0 %lf %lf", &width, &height),
                2);
      for (auto at = svg.find("<circle "); at != std::string::npos; at = svg.find("<circle ", at + 1)) {
        double x = -1, y = -1;
        ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("cx=", at), "cx=\"%lf\" cy=\"%lf\"", &x, &y), 2);
        EXPECT_TRUE(x >= 0 && x <= width && y >= 0 && y <= height) << charts[i].id;
      }
      for (auto at = svg.find("<text "); at != std::string::npos; at = svg.find("<text ", at + 1)) {
        double x = -1, y = -1;
        ASSERT_EQ(std::sscanf(svg.c_str() + svg.find("translate(", at), "translate(%lf,%lf", &x, &y), 2);
        EXPECT_TRUE(x >= 0 && x <= width && y >= 0 && y <= height) << charts[i].id;
      }
    }
  }
}

// Without gnuplot the page has the numbers, and says what to install.
TEST(Report, HasItsNumbersWithoutDrawings) {
  const Folder folder;
  const char* path = std::getenv("PATH");
  const std::string before = path != nullptr ? path : "";
  setenv("PATH", "/nowhere", 1);
  const std::string problem = write_page(".", assemble(".", whole_report(folder)));
  setenv("PATH", before.c_str(), 1);
  EXPECT_NE(problem.find("gnuplot-nox"), std::string::npos) << problem;
  const std::string html = Folder::read("report.html");
  EXPECT_NE(html.find("gnuplot-nox"), std::string::npos);
  EXPECT_NE(html.find("<details open>"), std::string::npos);
}

TEST(Report, PutsTicksOnRoundNumbersWithinTheAxis) {
  std::mt19937_64 random = testing::generator();
  std::uniform_real_distribution<double> decades(-9, 12), spread(0.01, 8);
  for (int i = 0; i < 4000; ++i) {
    for (const Unit unit : {Unit::bytes, Unit::seconds, Unit::count, Unit::ratio}) {
      for (const bool logarithmic : {true, false}) {
        const double least = std::pow(10, decades(random));
        const double most = least * std::pow(10, spread(random));
        const Scale scale = scale_for({"", unit, logarithmic}, least, most, 6);
        ASSERT_GE(scale.ticks.size(), 2U) << least << " " << most;
        ASSERT_LE(scale.ticks.size(), 12U) << least << " " << most;
        ASSERT_TRUE(std::is_sorted(scale.ticks.begin(), scale.ticks.end()));
        const double slack = 1e-9 * scale.high;
        ASSERT_GE(scale.ticks.front(), scale.low - slack);
        ASSERT_LE(scale.ticks.back(), scale.high + slack);
        ASSERT_LE(scale.low, least + slack);
        ASSERT_GE(scale.high, most - slack);
      }
    }
  }
}

TEST(Report, FitsItsBarIntoTheTerminal) {
  std::mt19937_64 random = testing::generator();
  for (int i = 0; i < 2000; ++i) {
    const int width = 1 + static_cast<int>(random() % 200);
    const double share = static_cast<double>(random() % 2000) / 1000 - 0.5;
    const std::string bar =
        bar_text(width, share, 3, 12, "The planner’s model of this machine", 100 * share);
    const auto columns = std::count_if(bar.begin(), bar.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    });
    ASSERT_LT(columns, std::max(width, 2)) << bar;
  }
}

Measurement shell(const std::string& id, const std::string& script) {
  Measurement each;
  each.id = id;
  each.title = id;
  each.commands = {{"-c", script}};
  return each;
}

MeasureOptions with_shell() {
  MeasureOptions options;
  options.executable = "/bin/sh";
  return options;
}

void ignore_runs(const std::vector<Run>&) {}

TEST(Report, MeasuresOneAfterTheOtherAndTellsWhatFailed) {
  const Folder folder;
  Measurement broken = shell("broken", "echo half > broken.json; echo 'shoal: bench: no such thing' >&2; exit 3");
  broken.cleanup = {"-c", "echo clean > cleaned"};
  Measurement optional = shell("optional", "echo no > optional.json");
  optional.optional = true;
  optional.expected = 1e6;
  Measurement impossible = shell("impossible", "echo no > impossible.json");
  impossible.why_not = "it is not possible here";
  Measurement inside;
  inside.id = "inside";
  inside.inside = [] { throw Error("test", "inside out"); };
  const Measured measured =
      carry_out({shell("good", "echo {} > good.json"), broken, optional, impossible, inside}, {},
                with_shell(), ignore_runs);
  ASSERT_EQ(measured.runs.size(), 5U);
  EXPECT_EQ(measured.runs[0].state, Run::State::done);
  EXPECT_EQ(measured.runs[1].state, Run::State::failed);
  EXPECT_EQ(measured.runs[1].problem, "bench: no such thing");
  EXPECT_FALSE(fs::exists("broken.json"));
  EXPECT_TRUE(fs::exists("cleaned"));
  EXPECT_NE(Folder::read("broken.log").find("no such thing"), std::string::npos);
  EXPECT_EQ(measured.runs[2].state, Run::State::skipped);
  EXPECT_FALSE(fs::exists("optional.json"));
  EXPECT_EQ(measured.runs[3].problem, "it is not possible here");
  EXPECT_NE(measured.runs[4].problem.find("inside out"), std::string::npos);

  // What is done is not done again; what is not, is.
  const Measured again = carry_out({shell("good", "exit 1"), shell("broken", "echo {} > broken.json")},
                                   measured.runs, with_shell(), ignore_runs);
  EXPECT_EQ(again.runs[0].state, Run::State::done);
  EXPECT_EQ(again.runs[1].state, Run::State::done);
}

TEST(Report, KeepsWhatACommandStartsForTheNextOne) {
  const Folder folder;
  // As a lab's hosts are: started by one command, met by the next, ended by the clean-up.
  Measurement hosts = shell("hosts", "sleep 300 & echo $! > host");
  hosts.commands.push_back({"-c", "kill -0 $(cat host) && echo {} > hosts.json"});
  hosts.cleanup = {"-c", "true"};
  const Measured measured = carry_out({hosts}, {}, with_shell(), ignore_runs);
  EXPECT_EQ(measured.runs[0].state, Run::State::done) << measured.runs[0].problem;
  const pid_t host = static_cast<pid_t>(std::atoi(Folder::read("host").c_str()));
  ASSERT_GT(host, 0);
  EXPECT_NE(kill(host, 0), 0) << "process " << host << " is still there";
}

TEST(Report, LeavesNothingBehindWhenItIsInterrupted) {
  const Folder folder;
  // A grandchild that would outlive its parent and does not care for SIGTERM.
  Measurement endless = shell("endless",
                              "(trap '' TERM; echo $$ > pid; sleep 300 & echo $! > grandchild; wait) & "
                              "while [ ! -s grandchild ]; do sleep 0.05; done; "
                              "kill -TERM $PPID; sleep 300");
  endless.cleanup = {"-c", "echo clean > cleaned"};
  const Measured measured =
      carry_out({endless, shell("later", "echo {} > later.json")}, {}, with_shell(), ignore_runs);
  EXPECT_EQ(measured.signal, SIGTERM);
  EXPECT_EQ(measured.runs[0].state, Run::State::missing);
  EXPECT_EQ(measured.runs[0].problem, "it was interrupted");
  EXPECT_EQ(measured.runs[1].state, Run::State::missing);
  EXPECT_FALSE(fs::exists("later.json"));
  EXPECT_TRUE(fs::exists("cleaned"));
  const pid_t grandchild = static_cast<pid_t>(std::atoi(Folder::read("grandchild").c_str()));
  ASSERT_GT(grandchild, 0);
  EXPECT_NE(kill(grandchild, 0), 0) << "process " << grandchild << " is still there";
}

TEST(Report, PlansWhatFitsTheMachine) {
  for (const int cores : {1, 2, 3, 8, 48}) {
    EXPECT_EQ(rank_counts(cores).front(), 1);
    EXPECT_EQ(rank_counts(cores).back(), cores);
    for (const bool quick : {false, true}) {
      SuiteOptions options;
      options.cores = cores;
      options.quick = quick;
      std::vector<std::string> ids;
      for (const Measurement& each : suite_for(options)) {
        ids.push_back(each.id);
        EXPECT_FALSE(each.command_line().empty()) << each.id;
        EXPECT_GT(each.expected, 0) << each.id;
        // The command writes the file that the page will look for.
        if (!each.commands.empty()) {
          EXPECT_NE(each.command_line().find("--json " + each.id + ".json"), std::string::npos);
        }
      }
      std::sort(ids.begin(), ids.end());
      EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
    }
  }
}

}  // namespace
}  // namespace shoal::launch::report
