// shoal report
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <CLI/CLI.hpp>
#include <shoal/runtime/error.hpp>
#include <shoal_version.h>

#include "command.hpp"
#include "local_host.hpp"
#include "report/assemble.hpp"
#include "report/measure.hpp"
#include "terminal.hpp"

namespace shoal::launch {
namespace {

namespace fs = std::filesystem;

constexpr const char* about_report =
    "Measures this machine and writes a page of charts about it.\n"
    "\n"
    "  shoal report\n"
    "  shoal report --quick --out /tmp/report\n"
    "  sudo shoal report --lab --minutes 10\n"
    "  shoal report --from shoal-report\n"
    "\n"
    "Runs the benches that fit this machine and writes report.html, one file that needs nothing "
    "else, and beside it a JSON file and a log of every measurement. What failed or is missing is "
    "told in the page. Let nothing else run meanwhile. The charts are drawn by gnuplot (Debian: "
    "gnuplot-nox). Ctrl-C ends it in order; --continue goes on.";

constexpr const char* manifest_name = "report.json";

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[40];
  std::strftime(text, sizeof text, "%Y-%m-%d, %H:%M UTC", &parts);
  return text;
}

class ReportCommand : public LocalCommand {
 public:
  void add_to(CLI::App& program) override {
    app_ = program.add_subcommand("report", about_report);
    app_->add_option("--out", out_, "folder for the page and its files, made if need be")
        ->type_name("DIR")
        ->capture_default_str();
    app_->add_option("--minutes", minutes_, "to measure for, about")
        ->check(CLI::Range(0.5, 600.0))
        ->type_name("N")
        ->capture_default_str();
    auto* quick = app_->add_flag("--quick", quick_, "the small set: about a minute");
    auto* lab = app_->add_flag("--lab", lab_, "measure between hosts of shoal lab, too; needs root");
    auto* go_on = app_->add_flag("--continue", continue_,
                                 "keep what the folder has and measure what is missing");
    app_->add_option("--from", from_, "draw the files of an earlier report again; measure nothing")
        ->type_name("DIR")
        ->excludes(quick)
        ->excludes(lab)
        ->excludes(go_on);
  }

  int run_alone() override {
    if (!from_.empty()) return redraw();
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK"}) {
      if (std::getenv(name) != nullptr) {
        throw UsageError("report", "this is a rank of an MPI job already",
                         "call shoal report by itself, without mpirun");
      }
    }
    const std::vector<report::Run> known = open_folder();
    report::SuiteOptions wish;
    wish.cores = usable_cores();
    wish.quick = quick_;
    wish.minutes = quick_ ? 1 : minutes_;
    wish.lab = lab_;
    wish.may_use_lab = geteuid() == 0;
    report::MeasureOptions options;
    options.executable = fs::read_symlink("/proc/self/exe");
    options.seconds = wish.minutes * 60;
    options.width = terminal_width();
    report::Manifest manifest{now_text(), SHOAL_VERSION " (" SHOAL_GIT_REVISION ")", {}};
    const report::Measured measured = report::carry_out(
        report::suite_for(wish), known, options, [&](const std::vector<report::Run>& runs) {
          manifest.runs = runs;
          report::write_manifest(manifest_name, manifest);
        });
    manifest.runs = measured.runs;
    return finish(manifest, measured.signal);
  }

 private:
  // Goes into the folder, so that the command lines in the page are those that were run. What an
  // earlier report has done there, if that is to be kept.
  std::vector<report::Run> open_folder() const {
    std::error_code problem;
    fs::create_directories(out_, problem);
    if (!problem) fs::current_path(out_, problem);
    if (problem || access(".", W_OK) != 0) {
      throw UsageError("--out " + out_, problem ? problem.message() : "it cannot be written",
                       "name a folder that can be made and written");
    }
    if (!fs::exists(manifest_name)) {
      // A page that others made is not to be written over.
      if (fs::exists("report.html")) {
        throw UsageError("--out " + out_, "there is a report.html without a report.json",
                         "name another folder");
      }
      return {};
    }
    if (!continue_) {
      throw UsageError("--out " + out_, "there is a report in it",
                       "go on with --continue, draw it again with --from, or name another folder");
    }
    return report::read_manifest(manifest_name).runs;
  }

  int redraw() const {
    std::error_code problem;
    fs::current_path(from_, problem);
    if (problem) {
      throw UsageError("--from " + from_, problem.message(), "name the folder of a report");
    }
    report::Manifest manifest;
    if (fs::exists(manifest_name)) {
      manifest = report::read_manifest(manifest_name);
    } else {
      manifest = report::manifest_of_files(".");
      manifest.date = now_text();
      if (manifest.runs.empty()) {
        throw UsageError("--from " + from_, "there are no files of a report in it",
                         "name the folder that an earlier shoal report has written");
      }
    }
    return finish(manifest, 0);
  }

  int finish(const report::Manifest& manifest, int signal) const {
    report::Page page = report::assemble(".", manifest);
    const bool empty = page.sections.empty();
    int missing = 0;
    for (const report::Run& run : page.runs) {
      if (run.state == report::Run::State::failed) ++missing;
    }
    const std::string undrawn = report::write_page(".", std::move(page));
    const std::string folder = fs::current_path().string();
    if (!undrawn.empty()) fmt::print(stderr, "shoal report: {}\n", undrawn);
    if (missing > 0) {
      fmt::print(stderr, "shoal report: {} measurement{} failed: the page says why\n", missing,
                 missing == 1 ? "" : "s");
    }
    fmt::print("{}/report.html\n", folder);
    if (signal != 0) {
      fmt::print(stderr, "shoal report: interrupted; go on with: shoal report --continue --out {}{}\n",
                 folder, quick_ ? " --quick" : "");
      return 128 + signal;
    }
    return empty || !undrawn.empty() ? 1 : 0;
  }

  std::string out_ = "shoal-report", from_;
  double minutes_ = 5;
  bool quick_ = false, lab_ = false, continue_ = false;
};

}  // namespace

std::unique_ptr<Command> make_report_command() { return std::make_unique<ReportCommand>(); }

}  // namespace shoal::launch
